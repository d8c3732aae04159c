//! The trial of one process: its marks, durable before the calls that they name.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use foldstream_model::{Clock, Error, Result, Timestamp, WorkerId, ports::Revision};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::Instant,
};

use crate::{
    metrics,
    rows::{self, Rows},
    trial::{self, Attempt, TOGETHER, Trial},
};

/// What a process leaves behind when it ends without leaving.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TrialRow {
    pub at: Timestamp,
    pub trial: Trial,
}

/// One for a process: whichever of its tasks calls users' code, one mark names what is in its hands.
pub struct Trials {
    rows: Rows,
    clock: Arc<dyn Clock>,
    me: WorkerId,
    lasts: Duration,
    is_on: AtomicBool,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    trial: Trial,
    revision: Option<Revision>,
    until: Option<Instant>,
    /// Whose work was taken over.
    predecessors: BTreeSet<WorkerId>,
}

/// The next calls may be made, until this is given back by [`Trials::came_back`].
pub struct Tried {
    /// So many of those that were named.
    pub count: usize,
    /// The one call is not to be made.
    pub guilty: Option<Error>,
    /// It is one that is suspect.
    pub is_alone: bool,
    /// Nobody else of the process is in a call meanwhile.
    mark: Option<OwnedMutexGuard<State>>,
}

impl Tried {
    /// As outside of a trial.
    pub fn all(count: usize) -> Self {
        Self { count, guilty: None, is_alone: false, mark: None }
    }
}

impl Trials {
    pub fn new(rows: Rows, clock: Arc<dyn Clock>, me: WorkerId, lasts: Duration) -> Self {
        Self { rows, clock, me, lasts, is_on: AtomicBool::new(false), state: Arc::default() }
    }

    pub fn is_on(&self) -> bool {
        self.is_on.load(Relaxed)
    }

    /// Work was taken over from one that has ended without leaving: what it had in hand comes again.
    pub async fn inherit(&self, from: &WorkerId) -> Result<()> {
        let mut state = self.state.lock().await;
        if self.lasts.is_zero() || !state.predecessors.insert(from.clone()) {
            return Ok(());
        }
        tracing::warn!(worker = %from, "a worker has ended without leaving; what it had in hand is tried for a while, to find out whether that has ended it");
        if let Some(left) = self.rows.get::<TrialRow>(&rows::trial_key(from)).await? {
            state.trial.inherit(&left.body.trial);
        }
        state.until = Some(Instant::now() + self.lasts);
        self.put(&mut state).await?;
        self.is_on.store(true, Relaxed);
        Ok(())
    }

    /// Which of the calls that come next may be made now. Outside of a trial it is all of them, and nothing is asked.
    pub async fn next(&self, number: usize, attempt: impl Fn(usize) -> Attempt) -> Result<Tried> {
        if number == 0 || !self.is_on() {
            return Ok(Tried::all(number));
        }
        let mut state = self.state.clone().lock_owned().await;
        if state.until.is_none_or(|until| Instant::now() >= until) {
            self.end(&mut state).await?;
            return Ok(Tried::all(number));
        }
        let mut attempts: Vec<Attempt> = (0..number.min(TOGETHER)).map(attempt).collect();
        let count = state.trial.together(&attempts);
        attempts.truncate(count);
        let Some(first) = attempts.first() else { return Ok(Tried::all(number)) };
        let is_alone = state.trial.is_suspect(first);
        if let Some(ends) = state.trial.guilty(first) {
            metrics::guilty();
            let guilty = trial::blame(ends, first);
            tracing::error!("{guilty}: it is not tried again");
            return Ok(Tried { count, guilty: Some(guilty), is_alone, mark: None });
        }
        state.trial.begin(attempts);
        self.put(&mut state).await?;
        Ok(Tried { count, guilty: None, is_alone, mark: Some(state) })
    }

    /// The calls have come back. Of a suspect that is said: it is not to be blamed for what ends the process later.
    pub async fn came_back(&self, tried: Tried) -> Result<()> {
        match tried.mark {
            Some(mut state) if tried.is_alone => {
                state.trial.come_back();
                self.put(&mut state).await
            }
            _ => Ok(()),
        }
    }

    /// To be called now and then: a trial ends by itself.
    pub async fn look(&self) -> Result<()> {
        match self.is_on().then(|| self.state.try_lock()) {
            Some(Ok(mut state)) if state.until.is_none_or(|until| Instant::now() >= until) => {
                self.end(&mut state).await
            }
            _ => Ok(()),
        }
    }

    /// The process ends, and has nothing in hand.
    pub async fn leave(&self) -> Result<()> {
        let mut state = self.state.lock().await;
        self.end(&mut state).await
    }

    async fn end(&self, state: &mut State) -> Result<()> {
        if state.revision.is_some() {
            self.rows.delete(&rows::trial_key(&self.me)).await?;
        }
        self.is_on.store(false, Relaxed);
        *state = State::default();
        Ok(())
    }

    async fn put(&self, state: &mut State) -> Result<()> {
        let (key, at) = (rows::trial_key(&self.me), self.clock.now());
        let row = TrialRow { at, trial: state.trial.clone() };
        loop {
            if let Some(revision) = self.rows.put(&key, state.revision, &row).await? {
                state.revision = Some(revision);
                return Ok(());
            }
            // Another process goes by the same name.
            state.revision = self.rows.get::<TrialRow>(&key).await?.map(|stored| stored.revision);
        }
    }
}
