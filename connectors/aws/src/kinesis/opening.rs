//! Where a reader begins.
//!
//! A position that is told must be one that can be come back to, so it is the number of a record, or the one directly in
//! front of it. An iterator tells neither: the first record that it leads to does.

use std::time::Duration;

use foldstream_model::{Error, Position, Record, Result, Timestamp, ports::From};

use super::{
    calls::{MOST_RECORDS, Refused, Start},
    cursor::Cursor,
    polling::PollingReader,
    shards::KnownShard,
    source::KinesisSource,
    stream::Described,
};
use crate::polled::{numbers, proof::Proof};

/// What is trimmed sooner than this is not begun with: who comes back to where it began would find it gone.
const MARGIN: Duration = Duration::from_secs(5 * 60);
/// Calls that find nothing, and are not at the tip either.
const PATIENCE: usize = 5;
/// So finely is the newest record searched for by instants of arrival; from there on all are read.
const FINE: i64 = 2_000_000;

/// The opening of one reader.
pub(super) struct Opening<'a> {
    pub source: &'a KinesisSource,
    pub shard: &'a KnownShard,
    pub described: &'a Described,
    pub now: Timestamp,
}

impl Opening<'_> {
    pub(super) async fn open(&self, from: From) -> Result<PollingReader> {
        match from {
            From::After(position) if [&Position::BEGINNING, &self.shard.beginning].contains(&&position) => {
                self.at_beginning(position).await
            }
            From::After(position) => self.behind(position).await,
            From::TrimHorizon => self.at_horizon().await,
            From::AtTimestamp(instant) => self.at_or_after(instant).await,
            From::Latest => self.behind_last_before(Timestamp::MAX).await,
        }
    }

    /// When the oldest record behind a position arrived; none up to the tip. Whether any was trimmed does not matter here: what
    /// is left is then as old as can be.
    pub(super) async fn oldest_behind(&self, position: &Position) -> Result<Option<Timestamp>> {
        let number = position.number();
        let starts = match [&Position::BEGINNING, &self.shard.beginning].contains(&position) {
            true => vec![Start::TrimHorizon],
            // In front of a record there is no number that Kinesis knows.
            false => {
                vec![Start::At(number.clone()), Start::At(numbers::successor(&number)), Start::TrimHorizon]
            }
        };
        for start in starts {
            let mut reader = self.reader(position.clone(), start, Proof::None);
            match first(&mut reader).await {
                Ok(oldest) => return Ok(oldest.map(|oldest| oldest.arrived_at)),
                Err(Refused::Unknown(_)) => {}
                Err(failed) => return Err(failed.into()),
            }
        }
        Ok(None)
    }

    fn reader(&self, position: Position, start: Start, proof: Proof) -> PollingReader {
        let KnownShard { id, range, .. } = self.shard.clone();
        let cursor = Cursor::new((id, range, self.described.retention), position, start, proof);
        let pace = self.source.pace(&self.shard.id);
        PollingReader::new(self.source.stream.clone(), self.source.clock.clone(), cursor, pace)
    }

    /// Before the shard's first record.
    async fn at_beginning(&self, position: Position) -> Result<PollingReader> {
        let proof = if self.is_whole().await? { Proof::None } else { Proof::Nothing };
        let mut reader = self.reader(position, Start::TrimHorizon, proof);
        reader.fetch(1).await?;
        Ok(reader)
    }

    /// No record of the shard was trimmed yet.
    async fn is_whole(&self) -> Result<bool> {
        if self.described.created_at > self.trimmed_soon() {
            return Ok(true);
        }
        Ok(!self.source.stream.was_open_at_horizon(&self.shard.id).await?)
    }

    /// Records that arrived before this may be gone in a moment.
    fn trimmed_soon(&self) -> Timestamp {
        let kept = self.described.retention.saturating_sub(MARGIN);
        self.now.plus_micros(-micros(kept))
    }

    async fn behind(&self, position: Position) -> Result<PollingReader> {
        let number = position.number();
        // In front of a record there is no number that Kinesis knows.
        let starts = [Start::At(number.clone()), Start::At(numbers::successor(&number))];
        let mut refused = None;
        for start in starts {
            let mut reader = self.reader(position.clone(), start, Proof::Meets(position.clone()));
            match reader.fetch(1).await {
                Ok(()) => return self.decided(reader, position).await,
                Err(Refused::Unknown(error)) => refused = refused.or(Some(error)),
                Err(failed) => return Err(failed.into()),
            }
        }
        let said = refused.map_or_else(String::new, |error| error.to_string());
        Err(Error::invalid(format!(
            "the shard has no such record: shard={} position={position}; it is a position of another stream, or of one that \
             was made anew under its name, or the shard is gone ({said})",
            self.shard.id
        )))
    }

    /// An iterator at a record that was trimmed may lead nowhere, call after call: then the oldest record that is kept
    /// decides.
    async fn decided(&self, mut reader: PollingReader, position: Position) -> Result<PollingReader> {
        for _ in 0..PATIENCE {
            if !reader.cursor.is_unproven() {
                return Ok(reader);
            }
            reader.fetch(1).await?;
        }
        let beginning = self.shard.beginning.clone();
        let mut oldest = self.reader(beginning, Start::TrimHorizon, Proof::None);
        match first(&mut oldest).await? {
            Some(oldest) => {
                reader.cursor.is_not_before(&oldest)?;
                Ok(reader)
            }
            None => Ok(self.reader(position, Start::TrimHorizon, Proof::None)),
        }
    }

    async fn at_horizon(&self) -> Result<PollingReader> {
        let mut reader = self.reader(self.shard.beginning.clone(), Start::TrimHorizon, Proof::None);
        match first(&mut reader).await? {
            Some(oldest) if oldest.arrived_at < self.trimmed_soon() => {
                self.at_or_after(self.trimmed_soon()).await
            }
            Some(oldest) => in_front_of(reader, &oldest),
            None => Ok(reader),
        }
    }

    async fn at_or_after(&self, instant: Timestamp) -> Result<PollingReader> {
        let instant = instant.max(self.trimmed_soon());
        let mut reader = self.reader(self.shard.beginning.clone(), Start::AtTimestamp(instant), Proof::None);
        match first(&mut reader).await? {
            Some(next) if next.arrived_at >= instant => in_front_of(reader, &next),
            // Not every server knows that nothing is there.
            Some(_) | None => self.behind_last_before(instant).await,
        }
    }

    /// Behind the newest record that arrived before an instant; at the shard's beginning if none is kept.
    async fn behind_last_before(&self, instant: Timestamp) -> Result<PollingReader> {
        match self.last_before(instant).await? {
            Some(last) => self.behind(last.position).await,
            None => {
                let mut reader = self.reader(self.shard.beginning.clone(), Start::TrimHorizon, Proof::None);
                reader.fetch(1).await?;
                Ok(reader)
            }
        }
    }

    /// Kinesis tells of no newest record: an instant is searched for at or after which there are records, and only few.
    async fn last_before(&self, instant: Timestamp) -> Result<Option<Record>> {
        let oldest = self.trimmed_soon().max(self.described.created_at.plus_micros(-micros(MARGIN)));
        let mut without = instant.min(self.now);
        let mut back = FINE;
        let mut with = None;
        while with.is_none() && without > oldest {
            let earlier = without.plus_micros(-back).max(oldest);
            match self.has_records_between(earlier, instant).await? {
                true => with = Some(earlier),
                false => without = earlier,
            }
            back = back.saturating_mul(4);
        }
        while let Some(earlier) = with.filter(|earlier| without.micros() - earlier.micros() > FINE) {
            let middle = earlier.plus_micros((without.micros() - earlier.micros()) / 2);
            match self.has_records_between(middle, instant).await? {
                true => with = Some(middle),
                false => without = middle,
            }
        }
        self.read_to(with.map_or(Start::TrimHorizon, Start::AtTimestamp), instant).await
    }

    async fn has_records_between(&self, from: Timestamp, to: Timestamp) -> Result<bool> {
        let mut reader = self.reader(self.shard.beginning.clone(), Start::AtTimestamp(from), Proof::None);
        match first(&mut reader).await {
            Ok(record) => Ok(record.is_some_and(|record| (from..to).contains(&record.arrived_at))),
            // By the clock of Kinesis this is to come.
            Err(Refused::Unknown(_)) => Ok(false),
            Err(failed) => Err(failed.into()),
        }
    }

    async fn read_to(&self, start: Start, instant: Timestamp) -> Result<Option<Record>> {
        let mut reader = self.reader(self.shard.beginning.clone(), start, Proof::None);
        let mut last = None;
        loop {
            reader.fetch(MOST_RECORDS).await?;
            while let Some(record) = reader.cursor.pop() {
                if record.arrived_at >= instant {
                    return Ok(last);
                }
                last = Some(record);
            }
            if reader.cursor.is_tip() {
                return Ok(last);
            }
        }
    }
}

/// The first record that it comes to; none up to the tip.
async fn first(reader: &mut PollingReader) -> Result<Option<Record>, Refused> {
    loop {
        reader.fetch(1).await?;
        if reader.cursor.next().is_some() || reader.cursor.is_tip() {
            return Ok(reader.cursor.next().cloned());
        }
    }
}

fn in_front_of(mut reader: PollingReader, record: &Record) -> Result<PollingReader> {
    reader.cursor.begins_at(numbers::before(&record.position)?);
    Ok(reader)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
