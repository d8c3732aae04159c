//! How a line begins: the journal, the order state, the reader.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use foldstream_model::{
    BasePolicy, Cut, CutId, ErrorKind, LeftAt, Place, Position, Result,
    ports::{From, ShardReader},
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    Apart, Command, Line, LineEvent, LineKind, ShardContext, SharedLine, Subscriber, gaps, journaling,
};
use crate::{
    assembly::{NamedReducer, ProjectionSpec, Start},
    budget::Exemption,
    fold::Fold,
    journal::JournalView,
    lanes::LineId,
    order::{CutLog, Order, OrderOptions, Prepare},
    planted::{self, Bug},
    read::{Decoded, Reading, ReadingNames},
    report::LineGauge,
    tasks::Task,
};

/// What a line begins with.
pub struct Opening {
    pub id: LineId,
    pub kind: LineKind,
    pub subscribers: Vec<Subscriber>,
    pub beginning: Beginning,
    /// How long one of its projections may hold up the others.
    pub patience: Duration,
    pub gauge: Arc<LineGauge>,
    pub events: mpsc::Sender<LineEvent>,
    pub commands: mpsc::Receiver<Command>,
    pub shared: Option<SharedLine>,
    pub position: Option<watch::Sender<Place>>,
    pub wanted: watch::Receiver<bool>,
}

/// Where in its shard a line begins, and with which order state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beginning {
    /// At a cut of this shard, which is the last of these.
    Cut(Place, Vec<Cut>),
    /// At the shard's first record, with the union of its parents' final states.
    Parents(Vec<(foldstream_model::ShardId, CutId)>),
}

impl Line {
    pub async fn open(context: Arc<ShardContext>, opening: Opening) -> Result<Self> {
        let at = match &opening.beginning {
            Beginning::Cut(place, _) => place.clone(),
            Beginning::Parents(_) => Place::BEGINNING,
        };
        // Asked before the journal is read: a record that is decided by now has its entry there.
        let has_set_aside = context.rows.has_undecided_records(&context.source.name).await?;
        let journal = journal(&context, &at).await?;
        let options = OrderOptions {
            first: context.source.first,
            gaps: context.source.gaps,
            base: if planted::is(Bug::BaseFromFirstEvent) {
                BasePolicy::Seen
            } else {
                journal.journal().base
            },
            max_early_bytes: context.settings.early_bytes,
        };
        let intake = context.intake.clone();
        let prepare: Prepare = Arc::new(move |event| intake.prepare(event));
        let known = order(&context, &options, &prepare, &opening.beginning).await?;
        let knows_nothing = known.is_none();
        let order = known.unwrap_or_else(|| Order::new(options, prepare));
        let chain = context.new_chain();
        let mut line = Self {
            id: opening.id,
            kind: opening.kind,
            share: context.budget.share(context.settings.read_ahead_bytes),
            order,
            cuts: CutLog::new(chain.clone(), at.clone()),
            chain,
            journal,
            folds: BTreeMap::new(),
            subscribers: Vec::new(),
            delivered: at.clone(),
            hindmost: opening.subscribers.iter().map(|known| &known.from).min().unwrap_or(&at).clone(),
            at,
            knows_nothing,
            is_over: false,
            backlog: VecDeque::new(),
            backlog_bytes: 0,
            end: false,
            tip: None,
            low_watermark: None,
            patience: opening.patience,
            gauge: opening.gauge,
            events: opening.events,
            commands: opening.commands,
            shared: opening.shared,
            position: opening.position,
            wanted: opening.wanted,
            departures: context.departures.reader(),
            saving: None,
            search: gaps::Search::default(),
            has_set_aside,
            suspects: Vec::new(),
            forks: Vec::new(),
            context,
        };
        for mut subscriber in opening.subscribers {
            let (projection, is_settled) =
                (&subscriber.subscription.projection, subscriber.is_past_its_parents());
            subscriber.apart = Apart::load(&line.context, projection, &subscriber.from, is_settled).await?;
            line.add_fold(&subscriber.subscription.projection.spec);
            line.subscribers.push(subscriber);
        }
        line.make_journal().await?;
        Ok(line)
    }

    /// What lets this line read on while a merge waits for it.
    pub fn exemption(&self) -> Exemption {
        self.share.exemption()
    }

    /// One fold for each reducer, however many projections share it.
    pub(super) fn add_fold(&mut self, spec: &ProjectionSpec) {
        let Some(named) = &spec.reducer else { return };
        let context = &self.context;
        self.folds.entry(named.name.clone()).or_insert_with(|| context.fold(named));
    }

    pub(super) async fn start_reading(
        &mut self,
        cancel: &CancellationToken,
    ) -> Result<(mpsc::Receiver<Result<Decoded>>, Task<()>)> {
        self.journal.refuse_if_lost(&self.at)?;
        let context = &self.context;
        let after = self.at.position.clone().max(self.journal.journal().start.clone());
        let (source, shard) = (&context.source.source, &context.shard.id);
        let reader = match source.open(shard, From::After(after)).await {
            Err(error) if error.kind() == ErrorKind::Invalid && planted::is(Bug::LossSkipped) => {
                source.open(shard, From::TrimHorizon).await?
            }
            opened => opened?,
        };
        let reading = Reading {
            reader,
            intake: context.intake.clone(),
            clock: context.services.clock.clone(),
            limit: Reading::limit(&context.settings),
            trials: context.trials.clone(),
            names: ReadingNames {
                source: context.source.name.clone(),
                shard: context.shard.id.clone(),
                reader: self.kind.as_str(),
            },
        };
        Ok(reading.start(cancel.clone()))
    }
}

impl ShardContext {
    /// A name for the cuts of one reader, which no other has.
    pub(super) fn new_chain(&self) -> String {
        format!("{}-{}", self.services.clock.now().micros(), self.services.ids.unique())
    }

    /// A fold that knows no state yet.
    pub(super) fn fold(&self, named: &NamedReducer) -> Fold {
        let intake = self.intake.clone();
        Fold::new(named, &self.source, intake, self.trials.clone(), self.settings.cache_bytes)
    }
}

/// The shard's journal, with the entries that one who begins at a place needs; or the journal that it is to begin with.
async fn journal(context: &ShardContext, at: &Place) -> Result<JournalView> {
    let stored = context.rows.journal(&context.source.name, &context.shard.id, None, &at.position).await?;
    let otherwise = match &stored {
        Some(_) => journaling::first_journal(BasePolicy::First, Position::BEGINNING),
        None => first_journal(context).await?,
    };
    Ok(JournalView::new(stored, otherwise))
}

/// What the start policy means for a shard that was never read. Children of shards that were read begin at their first
/// record, whatever the policy says.
async fn first_journal(context: &ShardContext) -> Result<foldstream_model::Journal> {
    let (base, from) = match context.source.start {
        Start::TrimHorizon => (BasePolicy::First, From::TrimHorizon),
        Start::Latest => (BasePolicy::Seen, From::Latest),
        Start::AtTimestamp(instant) => (BasePolicy::Seen, From::AtTimestamp(instant)),
        Start::LeaseTable => (BasePolicy::Seen, left_at(context)),
    };
    if let From::After(settled) = from {
        // Whether the source keeps what comes behind it, reading finds.
        return Ok(journaling::first_journal(base, settled));
    }
    if !context.known.initial {
        // If its first record is not kept any more, reading finds that, and stops those who need it.
        return Ok(journaling::first_journal(base, Position::BEGINNING));
    }
    let source = &context.source.source;
    let opened: Result<Box<dyn ShardReader>> = source.open(&context.shard.id, from).await;
    let start = match opened {
        Ok(reader) => reader.position(),
        Err(error) if error.kind() == ErrorKind::Invalid => {
            if source.shards().await?.iter().any(|listed| listed.id == context.shard.id) {
                return Err(error);
            }
            // It is gone since it was listed. Reading it finds that, and stops those who need it.
            Position::BEGINNING
        }
        Err(error) => return Err(error),
    };
    Ok(journaling::first_journal(base, start))
}

/// Where an application has left the shard. At which instant it would have begun it alone knows: at the oldest record nothing
/// is lost.
fn left_at(context: &ShardContext) -> From {
    match &context.known.left_at {
        Some(LeftAt::Behind(settled)) => From::After(settled.clone()),
        Some(LeftAt::Latest | LeftAt::End) => From::Latest,
        Some(LeftAt::TrimHorizon | LeftAt::AtTimestamp) | None => From::TrimHorizon,
    }
}

/// None: what the shard's parents ended with was removed.
async fn order(
    context: &ShardContext,
    options: &OrderOptions,
    prepare: &Prepare,
    beginning: &Beginning,
) -> Result<Option<Order>> {
    let (options, prepare) = (options.clone(), prepare.clone());
    let source = &context.source.name;
    match beginning {
        Beginning::Cut(_, cuts) => Order::restore(options, prepare, cuts).map(Some),
        Beginning::Parents(parents) => {
            let mut finals = Vec::with_capacity(parents.len());
            for (shard, id) in parents {
                let Some(cuts) = context.rows.cuts(source, shard, id).await? else { return Ok(None) };
                finals.push(Order::restore(options.clone(), prepare.clone(), &cuts)?);
            }
            let finals: Vec<&Order> = finals.iter().collect();
            let hash_key = |key: &str| context.source.source.hash_key(key);
            Ok(Some(Order::child(options, prepare, &finals, context.shard.range, &hash_key)))
        }
    }
}
