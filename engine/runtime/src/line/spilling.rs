//! Early events beyond the bound on memory: rows of the checkpoint store until their turn comes.

use foldstream_model::{EarlyEvent, Error, ErrorKind, Place, Result};
use futures::future::try_join_all;
use tokio_util::sync::CancellationToken;

use super::Line;
use crate::{invariants, metrics, order::Placed, retry};

/// Rows that are written or read at once; of a run that is let go, no more are in memory before they are delivered.
const AT_ONCE: usize = 16;

impl Line {
    /// Writes rows until memory is within its bound.
    pub(super) async fn spill(&mut self) -> Result<()> {
        let context = self.context.clone();
        loop {
            let spills = self.order.next_spills(&context.shard.id, AT_ONCE)?;
            if spills.is_empty() {
                let bounded =
                    invariants::early_is_bounded(self.order.early_bytes(), context.settings.early_bytes);
                metrics::watch("early_is_bounded", bounded);
                return Ok(());
            }
            let rows = spills.iter().map(|spill| {
                let put =
                    || context.rows.spill(&context.source.name, &spill.name, &spill.at, &spill.envelope);
                retry::until_done("spilling an early event", put)
            });
            try_join_all(rows).await?;
            spills.iter().for_each(|spill| self.order.spilled(&spill.name));
        }
    }

    /// Reads back what the order stage needs next. Poison: an event cannot be read any more.
    pub(super) async fn bring(&mut self, lacking: Vec<EarlyEvent>) -> Result<()> {
        if lacking.is_empty() {
            return Ok(());
        }
        let context = self.context.clone();
        for lacking in lacking.chunks(AT_ONCE) {
            let envelopes = lacking.iter().map(async |early| match early {
                EarlyEvent::Envelope(envelope) => Ok(envelope.clone()),
                EarlyEvent::Spilled(spilled) => context.rows.spilled(&context.source.name, spilled).await,
            });
            for envelope in try_join_all(envelopes).await? {
                self.order.bring(&envelope)?;
                self.backlog_bytes += envelope.len();
            }
        }
        Ok(())
    }

    /// Lets go the spilled events behind what was released, each piece of them delivered before the next is read. Poison:
    /// one cannot be read any more.
    pub(super) async fn go_on(&mut self, placed: &mut Vec<Placed>) -> Result<Option<(Place, Error)>> {
        while let Some(next) = self.order.unfinished().cloned() {
            let lacking = self.order.lacking_to_go_on(AT_ONCE)?;
            if let Some(last) = placed.last() {
                self.at = self.at.clone().max(last.place.clone());
                metrics::ordered(self.context.source.name.as_str(), placed.len(), 0, 0);
                self.deliver(std::mem::take(placed)).await?;
            }
            match self.bring(lacking).await {
                Err(error) if error.kind() == ErrorKind::Poison => return Ok(Some((next, error))),
                brought => brought?,
            }
            self.order.go_on(placed);
        }
        Ok(None)
    }

    /// Nobody goes on while more events wait than a shard keeps, each of which costs memory and a place in every whole cut;
    /// the event store is asked first. Who is behind the horizon comes to where others have gone on.
    pub(super) async fn bound_waiting(&mut self, drain: &CancellationToken) -> Result<()> {
        let limit = self.context.settings.early_events;
        if self.order.early_events() <= limit {
            return Ok(());
        }
        self.reload_journal().await?;
        if !self.journal.is_at_horizon(&self.at.position) {
            return Ok(());
        }
        self.fill_all_gaps(drain).await?;
        let gap = self.order.gaps().into_iter().next();
        let Some(gap) = gap.filter(|_| self.order.early_events() > limit && !drain.is_cancelled()) else {
            return Ok(());
        };
        let error = Error::poison(format!(
            "shard={}: {} events wait for missing ones, more than are kept; one of the gaps: stream={} from={} to={}. Find out why the source lacks them; once the event store has them, start again",
            self.context.shard.id,
            self.order.early_events(),
            gap.stream,
            gap.first_missing,
            gap.last_missing
        ));
        self.stop_all(&Place::end(self.at.position.clone(), u32::MAX), &error).await
    }
}
