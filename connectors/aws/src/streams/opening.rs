//! Where a reader begins.
//!
//! A position that is told must be one that can be come back to, so it is the number of a record, or the one directly in
//! front of it. DynamoDB finds no instants, and tells no newest record: for these a shard is read from its trim horizon.
//! It has the changes of some four hours, when a new shard takes over.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use foldstream_model::{Error, Position, Result, Timestamp, ports::From};

use super::{
    calls::{Refused, Start},
    cursor::Cursor,
    reader::StreamsReader,
    shards::{KnownShard, Listing},
    stream::TableStream,
};
use crate::polled::{numbers, pace::Pace, proof::Proof};

/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html#Streams.DataRetention>
pub(super) const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);
/// What is trimmed sooner than this is not begun with: who comes back to where it began would find it gone.
const MARGIN: Duration = Duration::from_secs(5 * 60);

/// The opening of one reader.
pub(super) struct Opening<'a> {
    pub stream: &'a TableStream,
    pub arn: &'a str,
    pub listing: &'a Arc<Listing>,
    pub shard: &'a KnownShard,
    pub pace: Arc<Mutex<Pace>>,
    pub now: Timestamp,
}

impl Opening<'_> {
    pub(super) async fn open(&self, from: From) -> Result<StreamsReader> {
        let beginning = self.shard.beginning()?;
        match from {
            From::After(position) if [&Position::BEGINNING, &beginning].contains(&&position) => {
                self.at_beginning(position).await
            }
            From::After(position) => self.behind(position).await,
            From::TrimHorizon => self.at_horizon().await,
            From::AtTimestamp(instant) => self.at_or_after(instant).await,
            From::Latest => self.at_or_after(Timestamp::MAX).await,
        }
    }

    fn reader(&self, position: Position, start: Start, proof: Proof) -> StreamsReader {
        StreamsReader {
            stream: self.stream.clone(),
            arn: self.arn.to_owned(),
            listing: self.listing.clone(),
            cursor: Cursor::new(self.shard.clone(), position, start, proof),
            pace: self.pace.clone(),
            iterator: None,
        }
    }

    /// When the oldest change behind a position was made; none up to the tip. Whether any was trimmed does not matter here:
    /// what is left is then as old as can be.
    pub(super) async fn oldest_behind(&self, position: &Position) -> Result<Option<Timestamp>> {
        let number = position.number();
        let starts = match [&Position::BEGINNING, &self.shard.beginning()?].contains(&position) {
            true => vec![Start::TrimHorizon],
            // In front of a record there is no number that DynamoDB knows.
            false => {
                vec![Start::At(number.clone()), Start::At(numbers::successor(&number)), Start::TrimHorizon]
            }
        };
        for start in starts {
            let mut reader = self.reader(position.clone(), start, Proof::None);
            match reader.peek().await {
                Ok(oldest) => return Ok(oldest.map(|oldest| oldest.arrived_at)),
                Err(Refused::Unknown(_) | Refused::Trimmed) => {}
                Err(failed) => return Err(failed.into()),
            }
        }
        Ok(None)
    }

    fn at_trim_horizon(&self) -> Result<StreamsReader> {
        Ok(self.reader(self.shard.beginning()?, Start::TrimHorizon, Proof::None))
    }

    /// Before the shard's first record.
    async fn at_beginning(&self, position: Position) -> Result<StreamsReader> {
        let Some(first) = self.shard.first.clone() else {
            return Ok(self.reader(position, Start::TrimHorizon, Proof::None));
        };
        let mut reader = self.reader(position.clone(), Start::At(first), Proof::None);
        match reader.peek().await {
            Ok(_) => Ok(reader),
            Err(Refused::Trimmed) => self.where_nothing_came_since(position).await,
            Err(Refused::Unknown(error)) => {
                tracing::warn!(
                    shard = %self.shard.id,
                    %error,
                    "whether the first records of a shard are kept cannot be found out: it is read from the oldest one",
                );
                Ok(self.reader(position, Start::TrimHorizon, Proof::None))
            }
            Err(failed) => Err(failed.into()),
        }
    }

    async fn behind(&self, position: Position) -> Result<StreamsReader> {
        let number = position.number();
        // In front of a record there is no number that DynamoDB knows.
        let starts = [number.clone(), numbers::successor(&number)];
        let mut refused = None;
        for number in starts {
            let mut reader = self.reader(position.clone(), Start::At(number), Proof::Meets(position.clone()));
            match reader.fetch(1).await {
                Ok(()) => return Ok(reader),
                Err(Refused::Trimmed) => return self.where_nothing_came_since(position).await,
                Err(Refused::Unknown(error)) => refused = refused.or(Some(error)),
                Err(failed) => return Err(failed.into()),
            }
        }
        let said = refused.map_or_else(String::new, |error| error.to_string());
        Err(Error::invalid(format!(
            "the shard has never had such a record: table={} shard={} position={position}; it is a position of another \
             stream ({said})",
            self.stream.table, self.shard.id
        )))
    }

    /// What is at a position is trimmed. `Invalid`: something behind it is kept, and what lay between may be lost.
    async fn where_nothing_came_since(&self, position: Position) -> Result<StreamsReader> {
        let mut reader = self.reader(position, Start::TrimHorizon, Proof::Nothing);
        reader.peek().await?;
        Ok(reader)
    }

    async fn at_horizon(&self) -> Result<StreamsReader> {
        let mut reader = self.at_trim_horizon()?;
        let Some(oldest) = reader.peek().await? else { return Ok(reader) };
        if oldest.arrived_at < self.trimmed_soon() {
            return self.at_or_after(self.trimmed_soon()).await;
        }
        let position = numbers::before(&oldest.position)?;
        reader.cursor.begins_at(position);
        Ok(reader)
    }

    async fn at_or_after(&self, instant: Timestamp) -> Result<StreamsReader> {
        let instant = instant.max(self.trimmed_soon());
        let mut reader = self.at_trim_horizon()?;
        let mut last = None;
        while let Some(record) = reader.peek().await? {
            if record.arrived_at >= instant {
                last = Some(numbers::before(&record.position)?);
                break;
            }
            last = reader.cursor.pop().map(|record| record.position);
        }
        if let Some(position) = last {
            reader.cursor.begins_at(position);
        }
        Ok(reader)
    }

    /// Records that arrived before this may be gone in a moment.
    fn trimmed_soon(&self) -> Timestamp {
        let kept = (RETENTION - MARGIN).as_micros();
        self.now.plus_micros(-i64::try_from(kept).unwrap_or(i64::MAX))
    }
}
