//! The streams that a projection has parked, and the events of streams that it leaves out, as rows.
//!
//! Both are facts: once written they stay as they are, but for the place where a parked stream comes back, which is added
//! once. So whoever begins anywhere finds what is parked there.

use std::collections::BTreeMap;

use foldstream_model::{
    Epoch, Error, Lot, ParkedStream, ProjectionId, Result, Sequence, StreamHash, StreamId, Timestamp,
    ports::{RowKey, Table},
};
use serde::{Deserialize, Serialize};

use super::{Rows, control_key, cut_rows::position_key};
use crate::assembly::ProjectionSpec;

/// An event that has no effect on any document of a projection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOutEvent {
    pub stream: StreamId,
    pub sequence: Sequence,
    /// As [`foldstream_model::Event::to_envelope`] writes it.
    pub event: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    pub who: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub at: Timestamp,
}

impl Rows {
    /// The streams that are parked or were, or were to be.
    pub async fn parked_streams(&self, lot: &Lot) -> Result<Vec<ParkedStream>> {
        let rows = self.all::<ParkedStream>(Table::ParkedStreams, &lot.row_name()).await?;
        Ok(rows.into_iter().map(|(_, row)| row.body).collect())
    }

    /// How many events of a projection are discarded, of documents or of streams.
    pub async fn discarded(&self, projection: &ProjectionId, epoch: Epoch) -> Result<u64> {
        let mut discarded = 0;
        for lot in [Lot::of_documents(projection, epoch), Lot::of_streams(projection, epoch)] {
            discarded += self.keys(Table::Discarded, &lot.row_name()).await?.len() as u64;
        }
        Ok(discarded)
    }

    /// Makes it durable that a stream is parked. A row that is there already is by whoever met the event before.
    pub async fn park_stream(&self, of: &ProjectionSpec, lot: &Lot, parked: &ParkedStream) -> Result<()> {
        self.put_judged(of, &parked_key(lot, parked), parked).await
    }

    /// Makes it durable whether a stream is parked at a fork: what the first one to meet it says, counts.
    pub async fn decide_fork(
        &self,
        of: &ProjectionSpec,
        lot: &Lot,
        decision: &ParkedStream,
    ) -> Result<ParkedStream> {
        self.park_stream(of, lot, decision).await?;
        let stored = self.get::<ParkedStream>(&parked_key(lot, decision)).await?;
        Ok(stored.map_or_else(|| decision.clone(), |stored| stored.body))
    }

    /// Makes it durable that a stream came back; the first place counts.
    pub async fn end_parked(&self, lot: &Lot, ended: &ParkedStream) -> Result<()> {
        let key = parked_key(lot, ended);
        loop {
            let stored = self.get::<ParkedStream>(&key).await?;
            if stored.as_ref().is_some_and(|stored| stored.body.until.is_some()) {
                return Ok(());
            }
            let (expected, mut parked) = match stored {
                Some(stored) => (Some(stored.revision), stored.body),
                None => (None, ended.clone()),
            };
            parked.until.clone_from(&ended.until);
            if self.put(&key, expected, &parked).await?.is_some() {
                return Ok(());
            }
        }
    }

    /// The events of streams that are left out.
    pub async fn left_out(&self, lot: &Lot) -> Result<BTreeMap<(StreamHash, Sequence), LeftOutEvent>> {
        let rows = self.all::<LeftOutEvent>(Table::Discarded, &lot.row_name()).await?;
        Ok(rows.into_iter().map(|(_, row)| ((row.body.stream.hash(), row.body.sequence), row.body)).collect())
    }

    /// Makes it durable that an event is left out. A row that is there already is by whoever met it before.
    pub async fn leave_out(&self, of: &ProjectionSpec, lot: &Lot, event: &LeftOutEvent) -> Result<()> {
        let sort = format!("{}/{:020}", hash_text(&event.stream), event.sequence.0);
        let key = RowKey::new(Table::Discarded, lot.row_name(), sort);
        self.put_judged(of, &key, event).await
    }

    /// Puts once what a definition says of an event. `Fenced`, and nothing is put: the definition is no longer the one that
    /// is registered. By that one somebody may have taken the event already, and gone on.
    async fn put_judged<T: Serialize>(&self, of: &ProjectionSpec, key: &RowKey, body: &T) -> Result<()> {
        loop {
            let control = self.control(&of.id).await?;
            let Some(control) = control.filter(|control| control.body.fingerprint == of.fingerprint) else {
                return Err(Error::fenced(format!(
                    "projection={}: its definition was changed while this process ran with the older one",
                    of.id
                )));
            };
            let beside = (control_key(&of.id), control.revision);
            let is_put = self.put_beside(key, None, body, Some(&beside)).await?.is_some();
            if is_put || self.store.get(key).await?.is_some() {
                return Ok(());
            }
        }
    }
}

/// By the record or entry that released the event, and its sequence. The event that stands where another is refused may be
/// poison itself.
fn parked_key(lot: &Lot, parked: &ParkedStream) -> RowKey {
    let (stream, since) = (hash_text(&parked.stream), &parked.since);
    let (shard, position, entry) = (since.shard.0, position_key(&since.place.position), since.place.entry);
    let fork = if parked.is_fork { "/fork" } else { "" };
    let sort = format!("{stream}/{shard:010}/{position}/{entry:010}/{:020}{fork}", parked.sequence.0);
    RowKey::new(Table::ParkedStreams, lot.row_name(), sort)
}

fn hash_text(stream: &StreamId) -> String {
    let [first, second] = stream.hash().words();
    format!("{first:016x}{second:016x}")
}
