//! Moves the changes of a table from its stream into a Kinesis stream, in order for each aggregate.
//!
//! What arrives, as a reader sees it that drops what it has seen by sequence: every change, in order. Why that holds
//! whatever fails and however many relays believe that a shard is theirs:
//!
//! - A relay sends the next record of an aggregate only when the one before it has been acknowledged ([`window`]). It
//!   begins behind a checkpoint, up to which everything has been acknowledged, and a shard only when its parent's row says
//!   that everything in it has been. So whenever a record is sent, all that come before it are in the stream, whoever put
//!   them there.
//! - A record that is sent twice, since an answer was lost or by a relay that does not know yet that it has lost its shard,
//!   comes again, perhaps behind later ones of its aggregate: what has come *first* is in order still. A zombie repeats; it
//!   never puts anything in front of what must come before it. The reader's order stage drops repetitions by sequence.
//!
//! So leases only save work, and no safety rests on clocks. Kinesis gives a record that is put after another one was
//! acknowledged a higher number, in one shard; a key that moves to a child of a shard that was split finds its earlier
//! records in the parent.

mod options;
mod route;
mod plan;
mod rows;
mod claims;
mod window;
mod sending;
mod heartbeat;
mod keeper;
mod running;
mod inspection;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use foldstream_model::{
    Clock, Error, Ids, Record, Result, ShardId, SourceName, Timestamp, WorkerId,
    ports::{CheckpointStore, LeaseStore},
};
use tokio::sync::watch;

use self::{claims::Claims, keeper::Keeper, rows::Rows, running::Running};
pub use self::{inspection::inspect, options::RelayOptions, route::Route};
use crate::{Connection, kinesis::Stream, streams::StreamsSource};

/// The longest partition key, in characters.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecordsRequestEntry.html>
const LONGEST_KEY: usize = 256;

/// What a relay works with.
#[derive(Clone)]
pub struct RelayParts {
    /// Where checkpoints are kept, in the partition `relay/NAME` of theirs.
    pub rows: Arc<dyn CheckpointStore>,
    /// Where shards are leased, as those of a source `relay/NAME`.
    pub leases: Arc<dyn LeaseStore>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn Ids>,
}

/// Decides where a record goes. Pure: the same record has the same route each time.
pub type Router = Arc<dyn Fn(&Record) -> Route + Send + Sync>;

/// What a relay says of itself, about once a second.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// It has found the table's stream and its leases.
    pub works: bool,
    /// Shards of the table's stream that it has now.
    pub shards: usize,
    /// Every change in these that was made before is in the stream that it writes. None: that is not known yet.
    pub complete_until: Option<Timestamp>,
    /// That it has put, heartbeats included.
    pub records: u64,
    /// Calls that were throttled.
    pub throttled_reads: u64,
    pub throttled_puts: u64,
}

/// Moves the changes of a table into a Kinesis stream. Any number of them, of one name, share the shards of the table.
pub struct Relay {
    options: RelayOptions,
    source: Arc<StreamsSource>,
    target: Stream,
    route: Router,
    parts: RelayParts,
    clock: Arc<dyn Clock>,
    figures: watch::Sender<Figures>,
}

impl Relay {
    pub fn new(
        connection: &Connection,
        options: RelayOptions,
        source: Arc<StreamsSource>,
        route: Router,
        parts: RelayParts,
    ) -> Self {
        let target = Stream { client: connection.kinesis(), named: options.stream.clone() };
        let clock = parts.clock.clone();
        Self { options, source, target, route, parts, clock, figures: watch::Sender::default() }
    }

    pub fn figures(&self) -> watch::Receiver<Figures> {
        self.figures.subscribe()
    }

    /// Works until `stop` is ready; then waits for what is on its way, saves how far it came, and gives its shards back.
    ///
    /// Tries again what may pass. `Transient`, `Throttled`: it could not begin, or not save at the end, and can be run
    /// again. `Invalid`: there is no such table or stream, changes were trimmed before they were relayed, or one is larger
    /// than the stream takes.
    pub async fn run(&self, stop: impl Future<Output = ()>) -> Result<()> {
        self.target.describe().await?;
        let me = WorkerId::new(self.parts.ids.unique());
        let leased = SourceName::new(format!("relay/{}", self.options.name));
        let leases = (self.parts.leases.clone(), leased);
        let claims = Claims::new(me, self.options.lease);
        Running::new(self, Keeper::new(self.source.clone(), self.rows(), leases, claims)).run(stop).await
    }

    /// Forgets how far this relay is: it begins anew, with the oldest changes that the newest stream of the table keeps.
    /// Not while it runs. Readers see what was relayed before once more, and gaps where changes were lost.
    pub async fn forget(&self) -> Result<()> {
        self.rows().forget_all().await
    }

    fn rows(&self) -> Rows {
        Rows { store: self.parts.rows.clone(), relay: self.options.name.clone() }
    }

    /// `Invalid`: Kinesis does not take it.
    fn check(&self, shard: &ShardId, record: &Record, route: &Route) -> Result<()> {
        let what = || {
            format!(
                "table={} shard={shard} position={} stream={}",
                self.source.table(),
                record.position,
                self.options.stream
            )
        };
        if !(1..=LONGEST_KEY).contains(&route.partition_key.chars().count()) {
            return Err(Error::invalid(format!(
                "a partition key of Kinesis has 1 to {LONGEST_KEY} characters: {} partition_key={:?}; relay by another \
                 attribute",
                what(),
                route.partition_key
            )));
        }
        let bytes = record.data.len() + route.partition_key.len();
        if bytes > self.options.record_bytes {
            return Err(Error::invalid(format!(
                "a change is larger than the stream takes: {} bytes={bytes} most={}; raise the stream's largest record \
                 (UpdateMaxRecordSize, up to 10 MiB) and the setting of the relay, or give the table's stream the view \
                 type NEW_IMAGE",
                what(),
                self.options.record_bytes
            )));
        }
        Ok(())
    }
}
