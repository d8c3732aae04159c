//! What a relay does beside moving records: it saves how far it is, claims shards, and opens those that can be begun.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use foldstream_model::{
    Error, Incarnation, Lease, LeaseKey, Result, ShardId, SourceName,
    ports::{From, LeaseStore, PutLease, ShardReader, Source},
};
use futures::future::join_all;
use tokio::time::Instant;

use super::{
    claims::Claims,
    plan::{self, Plan, ShardRow},
    rows::Rows,
    window::Standing,
};
use crate::streams::{Descent, StreamsSource};

/// How often new shards are looked for: one is four hours old when it ends.
const LISTING: Duration = Duration::from_secs(10);
/// How many shards are opened at once.
const OPENINGS: usize = 16;

/// Used by one round at a time.
pub(super) struct Keeper {
    pub source: Arc<StreamsSource>,
    pub rows: Rows,
    pub leases: Arc<dyn LeaseStore>,
    /// The name under which shards are leased.
    pub leased: SourceName,
    pub claims: Claims,
    saved: BTreeMap<ShardId, Standing>,
    plan: Plan,
    planned_at: Option<Instant>,
}

/// What a round has come to, also one that has failed in the middle.
#[derive(Default)]
pub(super) struct Outcome {
    /// Somebody else has these now.
    pub lost: Vec<ShardId>,
    /// What is said of these is saved, for ever.
    pub finished: Vec<ShardId>,
    pub opened: Vec<(ShardId, Box<dyn ShardReader>)>,
    /// There are more to be opened.
    pub has_more: bool,
}

pub(super) struct Round {
    pub keeper: Keeper,
    pub outcome: Outcome,
    pub result: Result<()>,
}

impl Keeper {
    pub(super) fn new(
        source: Arc<StreamsSource>,
        rows: Rows,
        (leases, leased): (Arc<dyn LeaseStore>, SourceName),
        claims: Claims,
    ) -> Self {
        let (saved, plan) = (BTreeMap::new(), Plan::default());
        Self { source, rows, leases, leased, claims, saved, plan, planned_at: None }
    }

    /// Of the shards that are worked on, how far each is.
    pub(super) async fn round(mut self, standings: BTreeMap<ShardId, Standing>) -> Round {
        let mut outcome = Outcome::default();
        let result = self.turn(&standings, &mut outcome).await;
        Round { keeper: self, outcome, result }
    }

    async fn turn(&mut self, standings: &BTreeMap<ShardId, Standing>, outcome: &mut Outcome) -> Result<()> {
        outcome.finished = self.save(standings).await?;
        for shard in &outcome.finished {
            self.let_go(shard).await?;
        }
        self.renew().await?;
        let is_lost = |shard: &&ShardId| !outcome.finished.contains(shard) && !self.claims.is_mine(shard);
        outcome.lost = standings.keys().filter(is_lost).cloned().collect();
        for shard in outcome.lost.iter().chain(&outcome.finished) {
            self.saved.remove(shard);
        }
        let is_old = self.planned_at.is_none_or(|at| at.elapsed() >= LISTING);
        if is_old || !outcome.finished.is_empty() {
            self.look().await?;
        }
        self.open(standings, outcome).await
    }

    /// Those whose end is saved.
    pub(super) async fn save(&mut self, standings: &BTreeMap<ShardId, Standing>) -> Result<Vec<ShardId>> {
        let mut finished = Vec::new();
        for (shard, standing) in standings {
            if self.saved.get(shard) != Some(standing) {
                let row = ShardRow { position: Some(standing.done.clone()), finished: standing.finished };
                if !self.rows.save(shard, &row).await? {
                    continue;
                }
                self.saved.insert(shard.clone(), standing.clone());
            }
            if standing.finished {
                finished.push(shard.clone());
            }
        }
        Ok(finished)
    }

    /// Learns what became of all leases, and writes those of its own.
    async fn renew(&mut self) -> Result<()> {
        self.claims.listed(self.leases.list(&self.leased).await?, Instant::now());
        for lease in self.claims.due(Instant::now()) {
            let renewed = Lease { counter: lease.counter + 1, ..lease.clone() };
            self.put(Some(&lease), renewed).await?;
        }
        Ok(())
    }

    /// True: it is stored now. The lease lasts from before it was sent.
    async fn put(&mut self, expected: Option<&Lease>, lease: Lease) -> Result<bool> {
        let asked_at = Instant::now();
        match self.leases.put(&self.leased, expected, &lease).await? {
            PutLease::Done => {
                self.claims.written(lease, asked_at);
                Ok(true)
            }
            PutLease::Conflict(stored) => {
                if let Some(stored) = stored {
                    self.claims.written(stored, asked_at);
                }
                Ok(false)
            }
        }
    }

    async fn let_go(&mut self, shard: &ShardId) -> Result<()> {
        for lease in self.claims.mine() {
            if lease.key == LeaseKey::Shard(shard.clone()) {
                // One that was taken meanwhile is let go by whoever took it.
                self.leases.delete(&self.leased, &lease).await?;
                self.claims.removed(shard);
            }
        }
        Ok(())
    }

    /// Others may begin at once.
    pub(super) async fn release(&mut self) -> Result<()> {
        for lease in self.claims.mine() {
            let released = Lease { owner: None, counter: lease.counter + 1, ..lease.clone() };
            self.put(Some(&lease), released).await?;
        }
        Ok(())
    }

    async fn look(&mut self) -> Result<()> {
        let incarnation = self.source.describe().await?.incarnation;
        match self.rows.stream().await? {
            Some(before) if before == incarnation => {}
            Some(before) => return Err(another_stream(self.source.table(), &before, &incarnation)),
            None => self.begin(&incarnation).await?,
        }
        let before = self.rows.shards().await?;
        let descents = self.source.descents().await?;
        let after = self.rows.shards().await?;
        self.plan = plan::plan(&descents, &before, &after)?;
        self.planned_at = Some(Instant::now());
        for shard in &self.plan.forgotten {
            self.rows.forget(shard).await?;
        }
        Ok(())
    }

    async fn begin(&self, incarnation: &Incarnation) -> Result<()> {
        let descents = self.source.descents().await?;
        let shards: Vec<ShardId> = descents.into_iter().map(|Descent { shard, .. }| shard).collect();
        tracing::info!(
            relay = self.rows.relay,
            table = self.source.table(),
            shards = shards.len(),
            "the relay begins with the oldest changes that are kept",
        );
        self.rows.begin(incarnation, &shards).await
    }

    /// Opens some together, and the others in rounds to come: leases must be written meanwhile.
    async fn open(&mut self, standings: &BTreeMap<ShardId, Standing>, outcome: &mut Outcome) -> Result<()> {
        let wanted = self.plan.open.clone().into_iter().filter(|shard| !standings.contains_key(shard));
        let mut openings = Vec::new();
        for shard in wanted {
            if openings.len() == OPENINGS {
                outcome.has_more = true;
                break;
            }
            if let Some(from) = self.start(&shard).await? {
                openings.push(open(self.source.clone(), shard, from));
            }
        }
        let mut result = Ok(());
        for opened in join_all(openings).await {
            match opened {
                Ok((shard, reader)) => {
                    tracing::info!(relay = self.rows.relay, %shard, position = %reader.position(), "relaying a shard");
                    outcome.opened.push((shard, reader));
                }
                Err(error) => result = Err(error),
            }
        }
        result
    }

    /// Where a shard is to be begun; none: it is another relay's, or finished.
    async fn start(&mut self, shard: &ShardId) -> Result<Option<From>> {
        if !self.claim(shard).await? {
            return Ok(None);
        }
        // Whoever had it last may have moved on until it was taken.
        let row = self.rows.shard(shard).await?;
        if row.finished {
            self.plan.open.retain(|open| open != shard);
            self.let_go(shard).await?;
            return Ok(None);
        }
        Ok(Some(row.start()))
    }

    async fn claim(&mut self, shard: &ShardId) -> Result<bool> {
        if self.claims.is_mine(shard) {
            return Ok(true);
        }
        match self.claims.take(shard, Instant::now()) {
            Some((expected, lease)) => self.put(expected.as_ref(), lease).await,
            None => Ok(false),
        }
    }
}

fn another_stream(table: &str, before: &Incarnation, now: &Incarnation) -> Error {
    Error::invalid(format!(
        "the table's stream was switched off and on again, or the table made anew: table={table} relayed={before} \
         now={now}; changes that were not relayed before are not in it. Begin the relay anew, with what the new stream \
         keeps: readers then see gaps, which are filled from the table"
    ))
}

async fn open(
    source: Arc<StreamsSource>,
    shard: ShardId,
    from: From,
) -> Result<(ShardId, Box<dyn ShardReader>)> {
    let reader = source.open(&shard, from).await?;
    Ok((shard, reader))
}
