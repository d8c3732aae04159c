//! What all parts of a run share: the stores, the weather, and what was seen.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use foldstream_model::ports::{DocumentStore, LeaseStore, ParkingLot};
use foldstream_model::{self as model, Event, OnFailure, Position, ShardId, WorkerId};
use foldstream_tests::{
    bed::CountedIds,
    memory::{events::MemoryEvents, log::MemoryLog},
};
use tokio::{sync::Notify, task::JoinSet, time::Instant};

use crate::{
    aws::Cloud,
    chance::Chance,
    less::Less,
    link::Link,
    projections::Kind,
    stores::{Bed, KnownDocuments, KnownRows, Stores},
    workload::{Action, Fails, Workload},
};

/// Of the trace this much is kept to be shown of its beginning, and as much of its end.
const SHOWN: usize = 200;
/// Set, the whole trace is printed as it is made.
const ALOUD: &str = "SIMULATION_TRACE";
/// As many as are never parked in one run.
const MANY_PARKED: usize = 10_000;
const THREE_HOURS: Duration = Duration::from_secs(3 * 3_600);
/// Half of all seeds have more faults, which are drawn apart: those that were kept before there were such are what
/// they were.
const MORE: u64 = 0x21b1_0000_0000;
/// Likewise what came after those. A number by which no seed that was kept until then draws it.
const NEWEST: u64 = 0x715c_0000_0000;
/// Likewise.
const LATEST: u64 = 0x0066_b696_0000_0000;

/// Which faults a run has, and how often: times in a thousand calls.
#[derive(Debug, Clone, Default)]
pub struct Weather {
    pub lost_request: u64,
    pub lost_answer: u64,
    /// The caller gives up, and the request is carried out afterwards.
    pub late_request: u64,
    pub duplicate: u64,
    pub throttle: u64,
    pub partial: u64,
    pub slow: u64,
    /// Milliseconds that a call takes at most on its way, there and back.
    pub latency: u64,
    /// The rest in a hundred lives of a worker.
    pub crash: u64,
    pub crash_at_call: u64,
    pub freeze: u64,
    pub stop: u64,
    /// Milliseconds that a worker's clock may be wrong.
    pub skew: u64,
    /// Workers at once.
    pub slots: usize,
    /// Each sees its own leases only, and works on everything.
    pub alone: bool,
    /// Milliseconds that a lease lasts, for the whole fleet.
    pub lease: u64,
    /// Another worker with the same id lives beside it.
    pub twin: u64,
    /// A clock jumps.
    pub jump: u64,
    /// From when on, and for how long, no store can be reached.
    pub gone: Option<(Duration, Duration)>,
    /// The code is mended by a deploy, which ends every process.
    pub deploys: bool,
    /// The change is taken over while processes of the older definition go on, and no deploy ends them.
    pub beside: bool,
    /// The older code is started after a deploy.
    pub older: u64,
    /// One is started whose configuration does not know some projection.
    pub fewer: u64,
    /// How many events may be parked.
    pub parked_events: usize,
    /// Milliseconds that a worker tries what it does after another has crashed.
    pub trial: u64,
    /// Milliseconds that a call for documents of a projection takes at most besides, where they differ.
    pub speeds: BTreeMap<Kind, u64>,
    /// Processes end by being told to, and calls only take long or are refused: then nothing is handed to a projection twice.
    pub gentle: bool,
}

impl Weather {
    pub fn draw(chance: &mut Chance) -> Self {
        let mut on = |most: u64| if chance.one_in(2) { chance.within(1..most) } else { 0 };
        let weather = Self {
            lost_request: on(100),
            lost_answer: on(100),
            late_request: on(60),
            duplicate: on(150),
            throttle: on(80),
            partial: on(200),
            slow: on(40),
            latency: on(30),
            crash: on(40),
            crash_at_call: on(50),
            freeze: on(40),
            stop: on(20),
            skew: on(5_000),
            parked_events: MANY_PARKED,
            ..Self::default()
        };
        let (slots, alone) = (chance.pick(&[1, 1, 2, 3]), chance.one_in(3));
        Self { slots, alone, lease: chance.pick(&[1_000, 4_000, 10_000]), ..weather }
    }

    fn draw_more(self, chance: &mut Chance) -> Self {
        let gone = chance.pick(&[None, None, None, None, None, None, None, Some(0..600_000)]);
        let gone = gone.map(|lasts| {
            let lasts =
                if chance.one_in(20) { THREE_HOURS } else { Duration::from_millis(chance.within(lasts)) };
            (Duration::from_millis(chance.within(0..10_000)), lasts)
        });
        let mut on = |most: u64| if chance.one_in(2) { chance.within(1..most) } else { 0 };
        let (twin, jump) = (on(20), on(10));
        let deploys = chance.one_in(2);
        let parked_events = chance.pick(&[self.parked_events, self.parked_events, 1, 4, 20]);
        let older = if chance.one_in(2) { chance.within(1..200) } else { 0 };
        let fewer = if chance.one_in(3) { chance.within(1..500) } else { 0 };
        let trial = chance.pick(&[0, 3_000, 60_000, 60_000]);
        Self { twin, jump, gone, deploys, older, fewer, parked_events, trial, ..self }
    }

    fn draw_latest(self, workload: &Workload, chance: &mut Chance) -> Self {
        let differ = workload.kinds.len() > 1 && chance.one_in(2);
        let speed = |chance: &mut Chance| chance.pick(&[0, 0, 20, 200, 2_000]);
        let speeds = workload.kinds.iter().filter(|_| differ).map(|kind| (*kind, speed(chance))).collect();
        if !chance.one_in(4) {
            return Self { speeds, ..self };
        }
        Self {
            gentle: true,
            latency: self.latency,
            throttle: self.throttle,
            partial: self.partial,
            duplicate: self.duplicate,
            skew: self.skew,
            slots: self.slots,
            lease: 10_000,
            parked_events: self.parked_events,
            ..Self::default()
        }
    }
}

/// Where records are.
pub type Records = Vec<(ShardId, Position)>;

pub struct World {
    pub documents: Arc<dyn DocumentStore>,
    pub known_documents: Arc<dyn KnownDocuments>,
    pub checkpoints: Arc<dyn KnownRows>,
    pub leases: Arc<dyn LeaseStore>,
    pub parking: Arc<dyn ParkingLot>,
    pub events: Arc<MemoryEvents>,
    pub log: MemoryLog,
    /// The services, where stores and source are in AWS.
    pub cloud: Option<Arc<Cloud>>,
    pub ids: Arc<CountedIds>,
    pub weather: Weather,
    pub workload: Workload,
    pub began: Instant,
    less: Less,
    aloud: bool,
    chance: Mutex<Chance>,
    /// No faults any more.
    calm: AtomicBool,
    is_over: AtomicBool,
    /// The code can take everything.
    mended: AtomicBool,
    /// Every record that is meant to be an event can be read.
    mapping_mended: AtomicBool,
    /// A deploy is under way: nobody lives.
    deploying: AtomicBool,
    /// Told when that changes. A watch channel would wake those who wait in an order that no seed decides.
    deploy_changed: Notify,
    lives: Arc<()>,
    /// The projections to which records were lost.
    lost: Mutex<BTreeSet<Kind>>,
    /// The worker that has crashed last.
    dead: Mutex<Option<WorkerId>>,
    /// Where the records of each event are: stream and sequence.
    records: Mutex<BTreeMap<(u64, u64), Records>>,
    /// Events that were given up before they came: stream and sequence.
    given_up: Mutex<BTreeSet<(u64, u64)>>,
    /// What projections were handed in a run where nothing is to be handed to one twice.
    handed: Mutex<BTreeSet<(Kind, String, u64)>>,
    /// Events of streams that an operator wanted to be left out: stream and sequence.
    unwanted: Mutex<BTreeSet<(Kind, u64, u64)>>,
    /// Parked streams that may come back for good.
    come_back: Mutex<BTreeSet<String>>,
    /// The processes that live or are frozen.
    processes: Mutex<Vec<Weak<Link>>>,
    /// Requests that are on their way, whatever has become of who sent them.
    network: Mutex<JoinSet<()>>,
    trace: Mutex<Trace>,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    broken: Mutex<Vec<String>>,
}

#[derive(Default)]
struct Trace {
    hash: u64,
    begins: Vec<String>,
    ends: VecDeque<String>,
    /// Lines between the two.
    between: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub async fn new(bed: Bed, seed: u64, less: &Less) -> Arc<Self> {
        let mut chance = Chance::new(seed);
        let mut workload = Workload::draw(&mut chance.fork());
        let mut weather = Weather::draw(&mut chance.fork());
        let mut more = Chance::new(seed ^ MORE);
        if more.one_in(2) {
            workload = workload.draw_more(&mut more.fork());
            weather = weather.draw_more(&mut more);
        }
        let mut newest = Chance::new(seed ^ NEWEST);
        if newest.one_in(2) {
            workload = workload.draw_streams(&mut newest.fork()).draw_records(&mut newest.fork());
            weather.deploys |= workload.has_untold();
            weather.beside = weather.deploys && newest.one_in(2);
        }
        let mut latest = Chance::new(seed ^ LATEST);
        if latest.one_in(3) {
            workload = workload.draw_lost(&mut latest.fork());
            weather = weather.draw_latest(&workload, &mut latest);
            if weather.gentle {
                workload = workload.gently();
            }
        }
        let (mut workload, weather) = (less.workload(workload), less.weather(weather));
        // What a definition says of a stream is said by all who run it.
        workload.failing.retain(|_, fails| *fails == Fails::Document || weather.deploys);
        if !workload.goes_on() {
            workload
                .actions
                .retain(|(_, action)| !matches!(action, Action::Fork(_) | Action::NoEvent { .. }));
        }
        let ids: Arc<CountedIds> = Arc::default();
        let stores = Stores::new(bed, seed, less, workload.shards, ids.clone()).await;
        if stores.cloud.is_some() {
            // What is trimmed, is so after a day.
            workload.actions.retain(|(_, action)| !matches!(action, Action::Forget { .. }));
            workload.forgets = false;
        }
        Arc::new(Self {
            documents: stores.documents,
            known_documents: stores.known_documents,
            checkpoints: stores.checkpoints,
            leases: stores.leases,
            parking: stores.parking,
            events: Arc::default(),
            log: stores.log,
            cloud: stores.cloud,
            ids,
            weather,
            workload,
            began: Instant::now(),
            less: less.clone(),
            aloud: std::env::var_os(ALOUD).is_some(),
            chance: Mutex::new(chance),
            calm: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            mended: AtomicBool::new(false),
            mapping_mended: AtomicBool::new(false),
            deploying: AtomicBool::default(),
            deploy_changed: Notify::default(),
            lives: Arc::default(),
            lost: Mutex::default(),
            dead: Mutex::default(),
            records: Mutex::default(),
            given_up: Mutex::default(),
            handed: Mutex::default(),
            unwanted: Mutex::default(),
            come_back: Mutex::default(),
            processes: Mutex::default(),
            network: Mutex::default(),
            trace: Mutex::default(),
            counts: Mutex::default(),
            broken: Mutex::default(),
        })
    }

    pub fn chance(&self) -> MutexGuard<'_, Chance> {
        lock(&self.chance)
    }

    pub fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// What is discarded by itself stays so: no code is mended there.
    pub fn is_mended(&self, kind: Kind) -> bool {
        let what = self.workload.on_failure.get(&kind);
        matches!(what, Some(OnFailure::Park | OnFailure::Stop)) && self.mended.load(Ordering::Relaxed)
    }

    /// What is started now runs the code that can take everything.
    pub fn is_deployed(&self) -> bool {
        self.mended.load(Ordering::Relaxed)
    }

    pub fn mend(&self) {
        self.mended.store(true, Ordering::Relaxed);
        self.saw("the code is mended");
    }

    pub fn is_mapping_mended(&self) -> bool {
        self.mapping_mended.load(Ordering::Relaxed)
    }

    /// Who runs goes on with the mapping that it has.
    pub fn mend_mapping(&self) {
        if !self.mapping_mended.swap(true, Ordering::Relaxed) {
            self.saw("the mapping is mended");
        }
    }

    /// Every process has to end.
    pub fn begin_deploy(&self) {
        self.set_deploying(true);
        self.saw("a deploy begins");
    }

    pub fn end_deploy(&self) {
        self.set_deploying(false);
    }

    fn set_deploying(&self, deploying: bool) {
        self.deploying.store(deploying, Ordering::Relaxed);
        self.deploy_changed.notify_waiters();
    }

    pub fn is_deploying(&self) -> bool {
        self.deploying.load(Ordering::Relaxed)
    }

    pub async fn deploy_begins(&self) {
        self.deploy_is(true).await;
    }

    pub async fn deploy_ends(&self) {
        self.deploy_is(false).await;
    }

    async fn deploy_is(&self, under_way: bool) {
        loop {
            let changed = self.deploy_changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.is_deploying() == under_way {
                return;
            }
            changed.await;
        }
    }

    /// What a process holds while it lives, frozen or not.
    pub fn life(&self) -> Arc<()> {
        self.lives.clone()
    }

    pub fn lives(&self) -> usize {
        Arc::strong_count(&self.lives) - 1
    }

    pub fn calm_down(&self) {
        self.calm.store(true, Ordering::Relaxed);
        self.saw("faults stop");
    }

    /// How many events may be parked. In the end the operator allows for more: where only one may, a projection gets on by
    /// one each time that it is started again, and streams come back only once it has read on to there.
    pub fn parked_events(&self) -> usize {
        if self.is_calm() { MANY_PARKED } else { self.weather.parked_events }
    }

    /// Whether no store can be reached now.
    pub fn is_gone(&self) -> bool {
        let now = self.began.elapsed();
        self.weather.gone.is_some_and(|(from, lasts)| (from..from + lasts).contains(&now))
    }

    /// When the stores can be reached again, from the beginning on.
    pub fn back_at(&self) -> Duration {
        self.weather.gone.map_or(Duration::ZERO, |(from, lasts)| from + lasts)
    }

    pub fn lose(&self, kind: Kind) {
        lock(&self.lost).insert(kind);
    }

    pub fn has_lost(&self, kind: Kind) -> bool {
        lock(&self.lost).contains(&kind)
    }

    pub fn died(&self, worker: &str) {
        *lock(&self.dead) = Some(WorkerId::new(worker));
    }

    pub fn dead(&self) -> BTreeSet<WorkerId> {
        lock(&self.dead).iter().cloned().collect()
    }

    pub fn forget_dead(&self) {
        *lock(&self.dead) = None;
    }

    pub fn has_record(&self, stream: u64, sequence: u64, at: (ShardId, Position)) {
        lock(&self.records).entry((stream, sequence)).or_default().push(at);
    }

    pub fn has_records(&self, shard: &ShardId) -> bool {
        lock(&self.records).values().flatten().any(|(of, _)| of == shard)
    }

    pub fn records_of(&self, stream: u64, sequence: u64) -> Records {
        lock(&self.records).get(&(stream, sequence)).cloned().unwrap_or_default()
    }

    pub fn gives_up(&self, stream: u64, sequences: &BTreeSet<u64>) {
        lock(&self.given_up).extend(sequences.iter().map(|sequence| (stream, *sequence)));
    }

    pub fn is_given_up(&self, stream: u64, sequence: u64) -> bool {
        lock(&self.given_up).contains(&(stream, sequence))
    }

    /// Where processes only stop, a projection is handed each event once; but for what waits for its order in a merge, which
    /// is nowhere but in memory.
    pub fn hands(&self, kind: Kind, event: &Event) {
        let is_kept = self.weather.gentle && kind.ordering() != model::Ordering::Global;
        let named = (kind, event.stream_id.to_string(), event.sequence.0);
        if is_kept && !self.is_over.load(Ordering::Relaxed) && !lock(&self.handed).insert(named) {
            self.break_off(format!("{} is handed {}#{} twice", kind.name(), event.stream_id, event.sequence));
        }
    }

    /// From now on processes end without notice.
    pub fn finish(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// An operator wants an event of a stream to be left out.
    pub fn leave_out(&self, kind: Kind, stream: u64, sequence: u64) {
        lock(&self.unwanted).insert((kind, stream, sequence));
    }

    pub fn is_unwanted(&self, kind: Kind, stream: u64, sequence: u64) -> bool {
        lock(&self.unwanted).contains(&(kind, stream, sequence))
    }

    pub fn comes_back(&self, stream: String) {
        lock(&self.come_back).insert(stream);
    }

    pub fn has_come_back(&self, stream: &str) -> bool {
        lock(&self.come_back).contains(stream)
    }

    pub fn joins(&self, process: &Arc<Link>) {
        let mut processes = lock(&self.processes);
        processes.retain(|known| known.strong_count() > 0);
        processes.push(Arc::downgrade(process));
    }

    pub fn processes_of(&self, worker: &str) -> Vec<Arc<Link>> {
        let processes = lock(&self.processes);
        processes.iter().filter_map(Weak::upgrade).filter(|process| process.worker == worker).collect()
    }

    /// A fault that happens so many times in a thousand, if there are faults now; counted.
    pub fn strikes(&self, fault: &'static str, times: u64) -> bool {
        let strikes = !self.is_calm() && self.chance().in_thousand(times) && self.less.allows(fault);
        if strikes {
            self.count(fault);
        }
        strikes
    }

    pub fn count(&self, what: &'static str) {
        self.count_times(what, 1);
    }

    pub fn count_times(&self, what: &'static str, times: u64) {
        *lock(&self.counts).entry(what).or_default() += times;
    }

    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.counts).clone()
    }

    /// How long a call is on its way in one direction.
    pub fn way(&self) -> Duration {
        let slow = self.strikes("slow", self.weather.slow);
        let most = if slow { 3_000 } else { self.weather.latency };
        Duration::from_millis(self.chance().within(0..most + 1))
    }

    pub fn send(&self, request: impl Future<Output = ()> + Send + 'static) {
        let mut network = lock(&self.network);
        while network.try_join_next().is_some() {}
        network.spawn(request);
    }

    /// Adds a line to the trace.
    pub fn saw(&self, what: &str) {
        let line = format!("{:>9} {what}", self.began.elapsed().as_millis());
        if self.aloud {
            println!("{line}");
        }
        let mut trace = lock(&self.trace);
        for byte in line.bytes() {
            trace.hash = (trace.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        if trace.begins.len() < SHOWN {
            return trace.begins.push(line);
        }
        if trace.ends.len() == SHOWN {
            trace.ends.pop_front();
            trace.between += 1;
        }
        trace.ends.push_back(line);
    }

    pub fn hash(&self) -> u64 {
        lock(&self.trace).hash
    }

    /// Something is wrong for good.
    pub fn break_off(&self, what: String) {
        self.saw(&format!("BROKEN {what}"));
        lock(&self.broken).push(what);
    }

    pub fn broken(&self) -> Option<String> {
        lock(&self.broken).first().cloned()
    }

    pub fn told(&self) -> String {
        let Trace { begins, ends, between, .. } = &*lock(&self.trace);
        let between = (*between > 0).then(|| format!("      … {between} lines"));
        let lines = begins.iter().chain(&between).chain(ends);
        lines.flat_map(|line| [line, "\n"]).collect()
    }
}
