//! Moves data between the readers, the window and the stream, until it is stopped.

use std::{collections::BTreeMap, time::Duration};

use foldstream_model::{
    Error, ErrorKind, Result, ShardId, Timestamp,
    ports::{Batch, ReadLimit, ShardReader},
};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    Figures, Relay, heartbeat,
    keeper::{Keeper, Outcome, Round},
    sending::{self, Sent},
    window::{Outgoing, Ticket, Window},
};

/// How often is saved how far shards are.
const ROUND: Duration = Duration::from_secs(1);
/// After a read that failed.
const PAUSE: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// One answer of DynamoDB.
const READ: (usize, usize) = (1_000, 1 << 20);

/// One run. Its futures are owned by it, and end with it: dropping one that reads loses nothing, and what was sent without
/// an answer is sent again by whoever goes on.
pub(super) struct Running<'r> {
    relay: &'r Relay,
    window: Window,
    /// Shards that are worked on; a number tells one that was lost and won again.
    lives: BTreeMap<ShardId, u64>,
    won: u64,
    /// Readers that nobody uses now.
    idle: BTreeMap<ShardId, Box<dyn ShardReader>>,
    reading: FuturesUnordered<BoxFuture<'static, Read>>,
    sending: FuturesUnordered<BoxFuture<'static, Sent>>,
    /// None while a round is under way.
    keeper: Option<Keeper>,
    rounds: FuturesUnordered<BoxFuture<'static, Round>>,
    next_round: Instant,
    pause: Duration,
    send_at: Instant,
    beat_at: Instant,
    figures: Figures,
}

struct Read {
    shard: ShardId,
    life: u64,
    reader: Box<dyn ShardReader>,
    asked_at: Timestamp,
    read: Result<Batch>,
}

impl<'r> Running<'r> {
    pub(super) fn new(relay: &'r Relay, keeper: Keeper) -> Self {
        let now = Instant::now();
        Self {
            relay,
            window: Window::default(),
            lives: BTreeMap::new(),
            won: 0,
            idle: BTreeMap::new(),
            reading: FuturesUnordered::new(),
            sending: FuturesUnordered::new(),
            keeper: Some(keeper),
            rounds: FuturesUnordered::new(),
            next_round: now,
            pause: Duration::ZERO,
            send_at: now,
            beat_at: now,
            figures: Figures::default(),
        }
    }

    /// `Invalid`, `Internal`: it cannot go on.
    pub(super) async fn run(mut self, stop: impl Future<Output = ()>) -> Result<()> {
        let mut stop = std::pin::pin!(stop);
        loop {
            self.begin_round();
            self.begin_sending();
            self.begin_reading();
            let wake_at = self.wake_at();
            tokio::select! {
                biased;
                () = &mut stop => return self.leave().await,
                Some(sent) = self.sending.next() => self.settle(sent)?,
                Some(round) = self.rounds.next() => self.follow(round)?,
                Some(read) = self.reading.next() => self.take(read)?,
                () = sleep_until(wake_at) => {}
            }
        }
    }

    fn begin_round(&mut self) {
        if self.next_round > Instant::now() {
            return;
        }
        if let Some(keeper) = self.keeper.take() {
            self.rounds.push(keeper.round(self.window.standings()).boxed());
        }
    }

    fn follow(&mut self, Round { keeper, outcome, result }: Round) -> Result<()> {
        let Outcome { lost, finished, opened, has_more } = outcome;
        for shard in lost {
            tracing::info!(relay = self.relay.options.name, %shard, "another relay has taken a shard over");
            self.drop_shard(&shard);
        }
        // Their children may begin now.
        let soon = (has_more && result.is_ok()) || !finished.is_empty();
        for shard in finished {
            self.drop_shard(&shard);
        }
        for (shard, reader) in opened {
            self.won += 1;
            self.lives.insert(shard.clone(), self.won);
            self.window.begin(shard.clone(), reader.position());
            self.idle.insert(shard, reader);
        }
        self.keeper = Some(keeper);
        self.figures.works |= result.is_ok();
        self.tell();
        self.next_round = Instant::now() + if soon { Duration::ZERO } else { ROUND };
        result.or_else(|error| self.go_on("keeping leases and rows", error))
    }

    /// For whoever watches.
    fn tell(&mut self) {
        self.figures.shards = self.lives.len();
        self.figures.complete_until = self.window.complete_until();
        self.relay.figures.send_replace(self.figures.clone());
    }

    fn drop_shard(&mut self, shard: &ShardId) {
        self.lives.remove(shard);
        self.idle.remove(shard);
        self.window.give_up(shard);
    }

    fn begin_reading(&mut self) {
        while self.window.bytes() < self.relay.options.buffer_bytes
            && let Some((shard, reader)) = self.idle.pop_first()
        {
            let Some(life) = self.lives.get(&shard).copied() else { continue };
            let (rest, asked_at) = (self.relay.options.rest, self.relay.clock.now());
            let of = Read { shard, life, reader, asked_at, read: Ok(Batch::default()) };
            self.reading.push(read(of, rest).boxed());
        }
    }

    fn take(&mut self, Read { shard, life, reader, asked_at, read }: Read) -> Result<()> {
        if self.lives.get(&shard) != Some(&life) {
            return Ok(());
        }
        let batch = match read {
            Ok(batch) => batch,
            Err(error) => {
                self.idle.insert(shard, reader);
                self.figures.throttled_reads += u64::from(error.kind() == ErrorKind::Throttled);
                return self.go_on("reading the table's stream", error);
            }
        };
        for record in &batch.records {
            let route = (self.relay.route)(record);
            self.relay.check(&shard, record, &route)?;
            self.window.add(&shard, record, route);
        }
        if batch.tip {
            self.window.read_until(&shard, asked_at);
        }
        if batch.end {
            self.window.end(&shard);
            self.next_round = Instant::now();
        } else {
            self.idle.insert(shard, reader);
        }
        Ok(())
    }

    fn begin_sending(&mut self) {
        while self.sending.len() < self.relay.options.calls && self.send_at <= Instant::now() {
            let batch = self.heartbeat().map_or_else(|| self.window.batch(), |heartbeat| vec![heartbeat]);
            if batch.is_empty() {
                return;
            }
            self.sending.push(sending::send(self.relay.target.clone(), batch).boxed());
        }
    }

    /// None: it is not time for one, or not known what to say.
    fn heartbeat(&mut self) -> Option<Outgoing> {
        if self.beat_at.elapsed() < self.relay.options.heartbeat {
            return None;
        }
        self.beat_at = Instant::now();
        let complete_until = self.window.complete_until()?;
        let (partition_key, data) = heartbeat::record(&self.relay.options.name, complete_until);
        Some(Outgoing { ticket: Ticket::NONE, partition_key, explicit_hash_key: None, data })
    }

    fn settle(&mut self, Sent { arrived, failed, error }: Sent) -> Result<()> {
        let is_mostly_refused = failed.len() > arrived.len();
        self.figures.records += arrived.len() as u64;
        arrived.into_iter().for_each(|ticket| self.window.arrived(ticket));
        failed.into_iter().for_each(|ticket| self.window.failed(ticket));
        let Some(error) = error else {
            self.pause = Duration::ZERO;
            return Ok(());
        };
        self.figures.throttled_puts += u64::from(error.kind() == ErrorKind::Throttled);
        // Those that were on their way together say the same.
        if self.send_at <= Instant::now() {
            let longer = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            self.pause = if is_mostly_refused { longer } else { FIRST_PAUSE };
            self.send_at = Instant::now() + self.pause;
        }
        self.go_on("putting records into Kinesis", error)
    }

    /// What may pass is tried again.
    fn go_on(&self, what: &str, error: Error) -> Result<()> {
        match error.kind() {
            ErrorKind::Transient | ErrorKind::Throttled => {
                tracing::warn!(relay = self.relay.options.name, %error, "{what} failed, trying again");
                Ok(())
            }
            _ => Err(error),
        }
    }

    /// When there is something to do though nothing has been answered.
    fn wake_at(&self) -> Instant {
        let now = Instant::now();
        let heartbeat = self.beat_at + self.relay.options.heartbeat;
        let times = [self.keeper.is_some().then_some(self.next_round), Some(self.send_at), Some(heartbeat)];
        let times = times.into_iter().flatten().filter(|at| *at > now);
        times.min().unwrap_or(now + ROUND)
    }

    /// Waits for what is on its way, saves how far it came, and lets others go on at once.
    async fn leave(mut self) -> Result<()> {
        self.reading.clear();
        while let Some(sent) = self.sending.next().await {
            self.settle(sent)?;
        }
        while let Some(round) = self.rounds.next().await {
            self.follow(round)?;
        }
        if let Some(mut keeper) = self.keeper {
            keeper.save(&self.window.standings()).await?;
            keeper.release().await?;
        }
        Ok(())
    }
}

/// Reads once. A read that failed is paused behind, in place of its shard alone.
async fn read(mut of: Read, wait: Duration) -> Read {
    let (records, bytes) = READ;
    of.read = of.reader.read(ReadLimit { records, bytes, wait }).await;
    if of.read.is_err() {
        sleep(PAUSE).await;
    }
    of
}
