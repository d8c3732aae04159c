//! Records that cannot be decoded, and forks: they are set aside for the source, with their bytes. What could not be decoded
//! comes back as an event by an entry of the journal.
//!
//! What a record is decides the order behind it for all who read the source. So it is decided once: a record is released as
//! what its first reader took it for, as the horizon does not pass it otherwise.

use std::{mem, sync::Arc};

use bytes::Bytes;
use foldstream_model::{Error, ErrorKind, Event, OnFailure, Place, Position, ReadAnew, Result};

use super::{Line, gaps};
use crate::{
    dispatch::{self, Refused},
    journal::Wish,
    metrics,
    order::{Fork, Outcome, Placed},
    parking,
    read::Undecodable,
    retry,
    rows::records::{Fate, ForkOf, RecordAside},
};

impl Line {
    /// Lets the next record of the backlog be released, and those behind it up to a position or to one that cannot be decoded.
    /// That one is set aside if anybody here goes on behind it; else why not is returned.
    pub(super) async fn admit(&mut self, last: &Position) -> Result<Option<Error>> {
        let Some(next) = self.backlog.front() else { return Ok(None) };
        if self.journal.may_release(&next.position) {
            return Ok(None);
        }
        if let Err(undecodable) = &next.event {
            let Undecodable { record, error } = &**undecodable;
            let (record, error) = (record.clone(), error.clone());
            return self.set_aside_record(record, error).await;
        }
        let events = self.backlog.iter().take_while(|next| next.position <= *last && next.event.is_ok());
        let Some(to) = events.last().map(|event| event.position.clone()) else { return Ok(None) };
        self.raise(&to).await.map(|()| None)
    }

    async fn set_aside_record(
        &mut self,
        record: foldstream_model::Record,
        error: Error,
    ) -> Result<Option<Error>> {
        let source = self.context.source.name.clone();
        let error = error.context("undecodable record");
        let fate = self.fate_of_undecodable();
        let Some(fate) = fate.filter(|_| error.kind() == ErrorKind::Poison) else { return Ok(Some(error)) };
        if !self.order.waits_for_missing() {
            return Ok(Some(error.context(
                "nobody can go on behind it, as with `gaps: allow`, or a start elsewhere than at the trim horizon, what follows in its stream would not wait for it",
            )));
        }
        if let Some(full) = self.refuse_beyond_limit(&fate).await? {
            return Ok(Some(error.context(full)));
        }
        let aside = self.record(&record.position, &record.partition_key, &error);
        let aside = RecordAside { arrived_at: record.arrived_at, fate, ..aside };
        let context = self.context.clone();
        let put = || context.rows.set_record_aside(&source, &aside, &record.data);
        retry::until_done("setting a record aside", put).await?;
        self.wish(Wish::SetAside(record.position.clone())).await?;
        if self.journal.sets_aside(&record.position) {
            tracing::warn!(source = %source, shard = %context.shard.id, position = %aside.position, partition_key = %aside.partition_key, error = %aside.error, "a record cannot be decoded: it is set aside, and what follows in its stream waits for the event that is missing there");
            self.count_set_aside();
            return Ok(None);
        }
        let forget = || context.rows.forget_record(&source, &aside);
        retry::until_done("forgetting a record", forget).await?;
        Ok(None)
    }

    /// The forks up to here, each durable if anybody goes on behind it.
    pub(super) async fn refuse_forks(&mut self) -> Result<Vec<Refused>> {
        self.compare_duplicates().await?;
        let mut forks = mem::take(&mut self.forks);
        forks.sort_by(|a, b| a.place.cmp(&b.place));
        let mut refused = Vec::with_capacity(forks.len());
        for fork in forks {
            refused.push(self.refuse_fork(fork).await?);
        }
        Ok(refused)
    }

    async fn refuse_fork(&self, fork: Fork) -> Result<Refused> {
        let (context, source) = (&self.context, &self.context.source.name);
        let error = gaps::forked(&fork.kept, &fork.refused);
        let Fork { refused: event, place, partition_key, .. } = fork;
        let raised_at = event.recorded_at;
        let placed = Placed { place, event, raised_at, partition_key };
        let mut refused = Refused { placed, error, is_kept: false, is_left_out: false };
        let aside = RecordAside {
            fork: Some(ForkOf::at(&refused.placed)),
            ..self.record(&refused.placed.place.position, &refused.placed.partition_key, &refused.error)
        };
        let fate = self.fate_of_undecodable();
        if let Some(known) = context.rows.stored_record(source, &aside).await? {
            if fate == Some(Fate::Waits) && known.fate == Fate::PassedOver {
                context.rows.decide_record(source, &aside, &Fate::Waits).await?;
            }
            refused.is_kept = true;
            refused.is_left_out = known.fate.is_decided();
            return Ok(refused);
        }
        let Some(fate) = fate else { return Ok(refused) };
        if let Some(full) = self.refuse_beyond_limit(&fate).await? {
            refused.error = refused.error.context(full);
            return Ok(refused);
        }
        let event = &refused.placed.event;
        let data = event.to_envelope().map_or_else(|_| event.payload.raw.clone(), Bytes::from);
        let aside = RecordAside { arrived_at: event.recorded_at, fate, ..aside };
        let put = || context.rows.set_record_aside(source, &aside, &data);
        retry::until_done("setting a refused event aside", put).await?;
        tracing::warn!(source = %source, shard = %context.shard.id, place = %refused.placed.place, error = %refused.error, "an event is refused");
        self.count_set_aside();
        refused.is_kept = true;
        Ok(refused)
    }

    fn record(&self, position: &Position, partition_key: &str, error: &Error) -> RecordAside {
        let parked_at = self.context.services.clock.now();
        RecordAside {
            shard: self.context.known.number,
            position: position.clone(),
            fork: None,
            partition_key: partition_key.to_owned(),
            arrived_at: parked_at,
            error: error.to_string(),
            parked_at,
            fate: Fate::Waits,
        }
    }

    /// Why no more may wait, if so.
    async fn refuse_beyond_limit(&self, fate: &Fate) -> Result<Option<Error>> {
        if *fate != Fate::Waits {
            return Ok(None);
        }
        let limit = self.context.settings.parked_events as u64;
        let waiting = self.context.rows.records_that_wait(&self.context.source.name).await?;
        if waiting >= limit {
            return Ok(Some(parking::full(waiting, limit)));
        }
        parking::warn_before_limit(&self.context.source.name, waiting, waiting + 1, limit);
        Ok(None)
    }

    /// What becomes of a record that cannot be decoded; none where nobody goes on behind it.
    fn fate_of_undecodable(&self) -> Option<Fate> {
        let mut fate = None;
        for policy in self.policies() {
            match policy {
                OnFailure::Park => return Some(Fate::Waits),
                OnFailure::Discard => fate = Some(Fate::PassedOver),
                OnFailure::Stop => {}
            }
        }
        fate
    }

    fn policies(&self) -> impl Iterator<Item = OnFailure> + '_ {
        let present = self.subscribers.iter().filter(|known| !known.is_gone());
        present.map(|known| known.subscription.on_failure())
    }

    fn count_set_aside(&self) {
        for known in &self.subscribers {
            let name = known.subscription.projection.name();
            match known.subscription.on_failure() {
                OnFailure::Park => metrics::parked(name, 1),
                OnFailure::Discard => metrics::discarded(name, 1),
                OnFailure::Stop => {}
            }
        }
    }

    /// The place of a record that is set aside: who does not go on behind such a record stops here until it is decided what
    /// becomes of it.
    pub(super) async fn pass_set_aside(&mut self, place: &Place) -> Result<()> {
        let (context, source) = (self.context.clone(), &self.context.source.name.clone());
        let aside = self.record(&place.position, "", &Error::poison(""));
        let Some(aside) = context.rows.stored_record(source, &aside).await? else {
            return Err(Error::internal(format!(
                "a record that was set aside is not there: shard={} position={}",
                context.shard.id, place.position
            )));
        };
        self.has_set_aside |= !aside.fate.is_decided();
        let error = Error::poison(format!(
            "{}; others have gone on behind it. Let it come back with `foldstream parked redrive`, or leave it out with `foldstream parked discard`",
            aside.error
        ));
        let (mut is_parked, at) = (false, context.services.clock.now());
        for known in self.subscribers.iter_mut().filter(|known| known.from < *place) {
            match (known.subscription.on_failure(), &mut known.joining) {
                (OnFailure::Park, _) => is_parked = true,
                (OnFailure::Discard, _) => {}
                (OnFailure::Stop, _) if aside.fate.is_decided() => {}
                // It meets the record in its own line.
                (OnFailure::Stop, Some(joining)) => joining.overflow(),
                (OnFailure::Stop, None) => {
                    known.subscription.stop(dispatch::stop(place.clone(), &error, None, at))?;
                }
            }
        }
        if is_parked && aside.fate == Fate::PassedOver {
            context.rows.decide_record(source, &aside, &Fate::Waits).await?;
        }
        Ok(())
    }

    /// Takes the event of a record that was set aside, at the entry's place.
    pub(super) async fn read_anew(
        &mut self,
        anew: &ReadAnew,
        place: &Place,
        placed: &mut Vec<Placed>,
    ) -> Result<Vec<Fork>> {
        let mut event = Event::from_envelope(&Bytes::copy_from_slice(anew.event.as_bytes()))?;
        self.context.intake.prepare(&mut event)?;
        self.bring(self.order.lacking_for_record(&event)?).await?;
        let key: Arc<str> = anew.partition_key.as_str().into();
        let now = self.context.services.clock.now();
        match self.order.record_at(event.into(), place, &key, now, placed)? {
            Outcome::Released => {}
            Outcome::Early => self.search.met_gap(),
            Outcome::Duplicate(event) => {
                tracing::warn!(stream = %event.stream_id, sequence = event.sequence.0, "a record that was set aside came back as an event that came by another way, or was given up: it changes nothing");
            }
            Outcome::Fork(fork) => return Ok(vec![fork]),
        }
        Ok(Vec::new())
    }
}

/// What is said of a record that others have taken for an event, and which cannot be decoded here.
pub(super) fn decoded_by_others(error: Error) -> Error {
    error.context("undecodable record, which others have read as an event: begin with the configuration by which they do")
}
