//! write: a lane's task moves its documents between the lane and the document store.

mod aside;
mod outlet;

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc, time::Duration};

use foldstream_model::{
    Clock, DocumentKey, Error, Ordering, RefusedEvent, Result, Stop,
    ports::{Condition, DocumentStore, DocumentWrite, StoredDocument, Written},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    assembly::ProjectionSpec,
    guard::Origin,
    invariants,
    lanes::{Discard, Lane, LanePoison, LateEvent, LineId, ParkAnswer, ParkRequest},
    metrics,
    planted::{self, Bug},
    retry::{self, Verdict},
    rows::{self, Rows},
    settings::Settings,
    subscription::Subscription,
    trial::{Attempt, TOGETHER},
    trying::{Trials, Tried},
};

pub use aside::Aside;
pub use outlet::{LaneInput, Lanes, Outlet};

/// Messages that wait for a lane; each holds one batch's touches, whose bytes are in the budget.
pub const LANE_QUEUE: usize = 4;
/// Touches that a lane takes in before its writes have caught up, for each document that one write may hold.
const TOUCHES_PER_WRITE: usize = 32;
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// One lane of one projection.
pub struct LaneTask {
    pub lane: Lane,
    pub projection: ProjectionSpec,
    pub inputs: mpsc::Receiver<LaneInput>,
    pub settings: Arc<Settings>,
    pub aside: Aside,
    pub rows: Rows,
    pub clock: Arc<dyn Clock>,
    pub trials: Arc<Trials>,
}

type Operation = Pin<Box<dyn Future<Output = Answer> + Send>>;

enum Answer {
    Read(Vec<DocumentKey>, Result<Vec<Option<StoredDocument>>>),
    /// Which of these may be applied.
    Tried(Vec<(DocumentKey, Origin)>, Result<Tried>),
    /// What they have come to.
    CameBack(Vec<DocumentWrite>, Result<()>),
    Wrote(Vec<DocumentKey>, Result<Vec<Written>>, Duration),
    RecordedLate(Vec<DocumentKey>, Result<()>),
    Parked(Vec<DocumentKey>, Result<Vec<ParkAnswer>>),
    Discarded(Vec<DocumentKey>, Result<()>),
}

struct Running {
    task: LaneTask,
    subscriptions: BTreeMap<LineId, Arc<Subscription>>,
    late: Vec<LateEvent>,
    parking: Vec<ParkRequest>,
    discards: Vec<Discard>,
    operation: Option<Operation>,
    flush_at: Option<Instant>,
    pause: Duration,
    /// Who waits for the cache to be cleared, and for the operation that is under way.
    cleared: Vec<oneshot::Sender<()>>,
}

impl LaneTask {
    pub async fn run(self, cancel: CancellationToken) -> Result<()> {
        let running = Running {
            task: self,
            subscriptions: BTreeMap::new(),
            late: Vec::new(),
            parking: Vec::new(),
            discards: Vec::new(),
            operation: None,
            flush_at: None,
            pause: FIRST_PAUSE,
            cleared: Vec::new(),
        };
        tokio::select! {
            biased;
            () = cancel.cancelled() => Ok(()),
            ended = running.run() => ended,
        }
    }
}

impl Running {
    async fn run(mut self) -> Result<()> {
        let mut inputs = Vec::new();
        loop {
            self.report()?;
            self.forget_abandoned();
            self.tell_cleared();
            self.begin();
            let room = self.has_room();
            let flush_at = self.flush_at.filter(|_| self.operation.is_none());
            tokio::select! {
                biased;
                answer = poll(&mut self.operation), if self.operation.is_some() => {
                    self.operation = None;
                    self.answered(answer)?;
                }
                taken = self.task.inputs.recv_many(&mut inputs, LANE_QUEUE), if room => {
                    if taken == 0 {
                        return Ok(());
                    }
                    inputs.drain(..).for_each(|input| self.take(input));
                }
                () = sleep_until(flush_at), if flush_at.is_some() => self.flush(),
            }
        }
    }

    fn tell_cleared(&mut self) {
        if self.operation.is_none() {
            for done in self.cleared.drain(..) {
                // Whoever asked may have gone; then nobody waits.
                let _ = done.send(());
            }
        }
    }

    /// A write that is under way goes on, and its outcome is taken; nobody waits for it.
    fn forget_abandoned(&mut self) {
        let gone = |subscription: &Arc<Subscription>| subscription.is_abandoned();
        let global = self.task.projection.ordering == Ordering::Global;
        if global || !self.subscriptions.values().any(gone) {
            return;
        }
        let (abandoned, kept) =
            std::mem::take(&mut self.subscriptions).into_iter().partition(|(_, known)| gone(known));
        let abandoned: BTreeMap<LineId, Arc<Subscription>> = abandoned;
        self.subscriptions = kept;
        for line in abandoned.keys() {
            self.task.lane.abandon(*line);
        }
    }

    /// What a `global` lane holds may wait for bounds that are still in the queue; its bytes are bounded by the budget.
    fn has_room(&self) -> bool {
        let most = TOUCHES_PER_WRITE * self.task.settings.flush_documents;
        self.task.projection.ordering == Ordering::Global || self.task.lane.undone() < most
    }

    fn take(&mut self, input: LaneInput) {
        match input {
            LaneInput::Deliver { subscription, .. } if subscription.is_abandoned() => {}
            LaneInput::Deliver { subscription, deliveries } => {
                for delivery in deliveries {
                    self.task.lane.deliver(delivery);
                }
                self.subscriptions.entry(subscription.line).or_insert(subscription);
            }
            LaneInput::Merged { subscription, deliveries, bounds } => {
                self.task.lane.merged(deliveries, bounds);
                if let Some(subscription) = subscription {
                    self.subscriptions.entry(subscription.line).or_insert(subscription);
                }
            }
            LaneInput::Closed(shard) => self.task.lane.closed(shard),
            LaneInput::Leave { line } => {
                self.task.lane.abandon(line);
                self.subscriptions.remove(&line);
            }
            LaneInput::ClearCache { done } => {
                self.task.lane.clear_cache();
                self.cleared.retain(|done| !done.is_closed());
                self.cleared.push(done);
            }
        }
    }

    /// Tells subscriptions what has become settled or is poison.
    fn report(&mut self) -> Result<()> {
        for (line, batch, touches) in self.task.lane.take_settled() {
            if let Some(subscription) = self.subscriptions.get(&line) {
                subscription.settle(batch, touches)?;
            }
        }
        for (line, batch, change) in self.task.lane.take_held_up() {
            if let Some(subscription) = self.subscriptions.get(&line) {
                subscription.hold_up(batch, change);
            }
        }
        for poison in self.task.lane.take_poison() {
            self.poisoned(poison)?;
        }
        self.late.extend(self.task.lane.take_late());
        self.parking.extend(self.task.lane.take_parking());
        self.discards.extend(self.task.lane.take_discards());
        Ok(())
    }

    fn poisoned(&self, poison: LanePoison) -> Result<()> {
        let Some(subscription) = self.subscriptions.get(&poison.line) else { return Ok(()) };
        let origin = poison.origin;
        let in_words =
            || format!("stream={} sequence={} document={}", origin.stream, origin.sequence, poison.key);
        match retry::verdict(poison.error.kind()) {
            Verdict::StopProjection => {
                let event = RefusedEvent {
                    stream: origin.stream,
                    sequence: origin.sequence,
                    event_type: origin.event_type,
                    document: Some(poison.key),
                };
                let at = self.task.clock.now();
                let reason = poison.error.to_string();
                subscription.stop(Stop { place: origin.place, event: Some(event), reason, at })
            }
            Verdict::LookAnew | Verdict::Again => {
                subscription.fence(poison.error.context(in_words()));
                Ok(())
            }
            Verdict::StopWorker => Err(poison.error.context(in_words())),
        }
    }

    /// Begins what can be done now: reads first, since documents wait for them; writes when a flush is due.
    fn begin(&mut self) {
        if self.operation.is_some() {
            return;
        }
        let has_more = !self.late.is_empty() || self.has_aside();
        if self.flush_at.is_none() && (self.task.lane.has_work() || has_more) {
            self.flush_at = Some(Instant::now() + self.task.settings.flush_interval);
        }
        let paused = self.pause > FIRST_PAUSE;
        if paused || self.start_late() || self.start_aside() || self.start_read() {
            return;
        }
        let full = self.task.lane.ready() >= self.task.settings.flush_documents;
        let due = full || self.task.settings.flush_interval.is_zero();
        if due && self.task.lane.undone() > 0 {
            self.start_write();
        }
    }

    /// The flush is due, or the pause after a failure is over.
    fn flush(&mut self) {
        self.flush_at = None;
        if !self.start_late() && !self.start_aside() && !self.start_read() {
            self.start_write();
        }
    }

    /// Late events are durable before their documents move on.
    fn start_late(&mut self) -> bool {
        if self.late.is_empty() {
            return false;
        }
        let late = std::mem::take(&mut self.late);
        metrics::late(self.task.projection.id.name.as_str(), late.len());
        let (rows, projection) = (self.task.rows.clone(), self.task.projection.id.clone());
        self.operation = Some(Box::pin(async move {
            let recorded = record_late(&rows, &projection, &late).await;
            Answer::RecordedLate(late.into_iter().map(|late| late.key).collect(), recorded)
        }));
        true
    }

    fn start_read(&mut self) -> bool {
        let keys = self.task.lane.to_read(self.task.settings.flush_documents);
        if keys.is_empty() {
            return false;
        }
        let (documents, model) = self.store();
        self.operation = Some(Box::pin(async move {
            let answer = retry::until_done("reading documents", || documents.read(&model, &keys)).await;
            Answer::Read(keys, answer)
        }));
        true
    }

    fn start_write(&mut self) {
        let limit = self.task.settings.flush_documents;
        let writes = match self.task.trials.is_on() {
            true => self.start_trial(limit.min(TOGETHER)),
            false => self.task.lane.to_write(limit),
        };
        self.write(writes);
    }

    /// Asks which events may be applied, unless there is something to be written that applies none.
    fn start_trial(&mut self, limit: usize) -> Vec<DocumentWrite> {
        let (due, writes) = self.task.lane.to_try(limit);
        if !writes.is_empty() || due.is_empty() {
            due.iter().rev().for_each(|(key, _)| self.task.lane.untried(key));
            return writes;
        }
        let (trials, projection) = (self.task.trials.clone(), self.task.projection.id.clone());
        self.operation = Some(Box::pin(async move {
            let attempt = |index: usize| Attempt::Change {
                projection: projection.clone(),
                document: due[index].0.clone(),
                stream: due[index].1.stream.clone(),
                sequence: due[index].1.sequence,
            };
            let tried = trials.next(due.len(), attempt).await;
            Answer::Tried(due, tried)
        }));
        writes
    }

    /// Makes the calls that are tried, and nobody else of the process any meanwhile.
    fn tried(&mut self, mut due: Vec<(DocumentKey, Origin)>, tried: Tried) {
        due.drain(tried.count..).rev().for_each(|(key, _)| self.task.lane.untried(&key));
        let mut writes = Vec::new();
        for (key, origin) in &due {
            let guilty = tried.guilty.as_ref().map(|error| (origin, error));
            writes.extend(self.task.lane.tried(key, tried.is_alone, guilty));
        }
        let trials = self.task.trials.clone();
        self.operation =
            Some(Box::pin(async move { Answer::CameBack(writes, trials.came_back(tried).await) }));
    }

    fn write(&mut self, writes: Vec<DocumentWrite>) {
        if writes.is_empty() {
            return;
        }
        self.flush_at = None;
        for write in &writes {
            // Too dear for each document of a service that runs: it grows with the shards that were closed.
            if cfg!(debug_assertions)
                && let Condition::GuardIs(before) = &write.condition
            {
                let after = &write.put.guard;
                metrics::watch("guard_moves_on", invariants::guard_moves_on(before, after));
                let is_kept = invariants::nothing_shrinks_under_a_mark(before, after);
                metrics::watch("nothing_shrinks_under_a_mark", is_kept);
            }
        }
        let (documents, model) = self.store();
        self.operation = Some(Box::pin(write(documents, model, writes)));
    }

    fn store(&self) -> (Arc<dyn DocumentStore>, foldstream_model::ReadModel) {
        let spec = &self.task.projection;
        (spec.documents.clone(), spec.id.clone())
    }

    fn answered(&mut self, answer: Answer) -> Result<()> {
        match answer {
            Answer::Read(keys, Ok(stored)) => {
                for (key, stored) in keys.into_iter().zip(stored) {
                    self.task.lane.loaded(&key, stored);
                }
                self.succeeded();
            }
            Answer::Tried(due, Ok(tried)) => self.tried(due, tried),
            Answer::CameBack(writes, Ok(())) => self.write(writes),
            Answer::Wrote(keys, Ok(mut outcomes), took) => {
                if planted::is(Bug::PartTakenForWhole) && matches!(outcomes.first(), Some(Written::Done)) {
                    outcomes.fill(Written::Done);
                }
                let conflicts =
                    outcomes.iter().filter(|outcome| matches!(outcome, Written::Conflict(_))).count();
                metrics::written(
                    self.task.projection.id.name.as_str(),
                    keys.len() - conflicts,
                    conflicts,
                    took,
                );
                for (key, outcome) in keys.into_iter().zip(outcomes) {
                    self.task.lane.written(&key, outcome);
                }
                self.succeeded();
            }
            Answer::RecordedLate(keys, Ok(())) => {
                keys.iter().for_each(|key| self.task.lane.late_recorded(key));
                self.succeeded();
            }
            Answer::Parked(keys, Ok(answers)) => {
                self.parked(&keys, answers);
                self.succeeded();
            }
            Answer::Discarded(keys, Ok(())) => {
                keys.iter().for_each(|key| self.task.lane.discarded(key));
                self.succeeded();
            }
            Answer::Read(_, Err(error))
            | Answer::Tried(_, Err(error))
            | Answer::CameBack(_, Err(error))
            | Answer::RecordedLate(_, Err(error))
            | Answer::Parked(_, Err(error))
            | Answer::Discarded(_, Err(error)) => return Err(error),
            Answer::Wrote(keys, Err(error), _) => {
                self.task.lane.unknown(&keys);
                return self.failed(&error);
            }
        }
        Ok(())
    }

    fn succeeded(&mut self) {
        self.pause = FIRST_PAUSE;
    }

    fn failed(&mut self, error: &Error) -> Result<()> {
        match retry::verdict(error.kind()) {
            Verdict::Again => {
                tracing::warn!(projection = %self.task.projection.id, %error, "the document store failed, trying again");
            }
            Verdict::LookAnew => {
                self.subscriptions.values().for_each(|subscription| subscription.fence(error.clone()));
            }
            Verdict::StopProjection | Verdict::StopWorker => return Err(error.clone()),
        }
        self.flush_at = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}

async fn write(
    documents: Arc<dyn DocumentStore>,
    model: foldstream_model::ReadModel,
    mut writes: Vec<DocumentWrite>,
) -> Answer {
    planted::loosen(&*documents, &model, &mut writes).await;
    let keys = writes.iter().map(|write| write.key.clone()).collect();
    let started = Instant::now();
    let answer = documents.write(&model, writes).await;
    Answer::Wrote(keys, answer, started.elapsed())
}

async fn poll(operation: &mut Option<Operation>) -> Answer {
    match operation {
        Some(operation) => operation.await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// A late event as it is kept: what came, and where its document stood.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct LateRow {
    pub stream: foldstream_model::StreamId,
    pub sequence: foldstream_model::Sequence,
    pub recorded_at: foldstream_model::Timestamp,
    pub behind: foldstream_model::OrderKey,
}

pub(crate) async fn record_late(
    rows: &Rows,
    projection: &foldstream_model::ProjectionId,
    late: &[LateEvent],
) -> Result<()> {
    for event in late {
        let origin = &event.origin;
        let key = rows::late_key(projection, event.epoch, &event.key, origin);
        let row = LateRow {
            stream: origin.stream.clone(),
            sequence: origin.sequence,
            recorded_at: origin.recorded_at,
            behind: event.behind.clone(),
        };
        // A row that is there already was recorded by whoever met the event before.
        retry::until_done("recording a late event", || rows.put(&key, None, &row)).await?;
    }
    Ok(())
}
