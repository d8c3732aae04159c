//! Workers that live, crash, freeze and come back.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use foldstream_model::{
    Fingerprint, Ids, ProjectionId, Result, Sequence, SourceName, WorkerId,
    ports::{DocumentStore, EventStore, LeaseStore, Source},
};
use foldstream_runtime::{
    assembly::{NamedReducer, ProjectionSpec, Services, SourceSpec, Start},
    order::Gaps,
    settings::Settings,
    upcast::OnNewerSchema,
    worker::{Assembly, Outcome, Until, Worker},
};
use foldstream_tests::memory::leases::MemoryLeases;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    aws,
    chance::Chance,
    link::{Code, Link},
    ports::{Checkpoints, Documents, Events, Leases, Log, Parking},
    projections::{Folded, Kind, Simulated},
    records::Mapping,
    watcher::SOURCE,
    world::{Weather, World},
};

fn settings(chance: &mut Chance, weather: &Weather, parked_events: usize) -> Settings {
    let millis = |chance: &mut Chance, all: &[u64]| Duration::from_millis(chance.pick(all));
    Settings {
        lanes: chance.pick(&[1, 2, 4]),
        batch_records: chance.pick(&[1, 3, 20, 500]),
        batch_bytes: 4 << 20,
        bytes_in_flight: chance.pick(&[20_000, 200_000, 64 << 20]),
        read_ahead_bytes: chance.pick(&[5_000, 50_000, 16 << 20]),
        early_bytes: chance.pick(&[0, 2_000, 8 << 20]),
        early_events: 100_000,
        flush_interval: millis(chance, &[0, 1, 20, 200]),
        flush_documents: chance.pick(&[1, 3, 1_000]),
        cache_bytes: chance.pick(&[0, 1_000, 64 << 20]),
        checkpoint_interval: millis(chance, &[5, 50, 1_000]),
        poll_interval: millis(chance, &[20, 200]),
        control_interval: millis(chance, &[100, 500]),
        discovery_interval: millis(chance, &[100, 5_000]),
        trim_interval: millis(chance, &[100, 2_000]),
        // Its source forgets what it likes, not what is old.
        keeping_interval: Duration::from_secs(365 * 24 * 60 * 60),
        // Whoever stops has the time to end what it has begun.
        patience: millis(chance, if weather.gentle { &[60_000] } else { &[50, 500, 5_000] }),
        parked_events,
        gap_patience: millis(chance, &[10, 500, 5_000]),
        lease_duration: Duration::from_millis(weather.lease),
        trial: Duration::from_millis(weather.trial),
        // No application of another kind reads its shards.
        takeover_patience: Duration::from_secs(20),
    }
}

/// By the code that a process runs.
pub fn projection(link: &Arc<Link>, kind: Kind) -> ProjectionSpec {
    let is_amended = link.world.weather.deploys && !link.code.is_older && link.world.is_mended(kind);
    let definition = format!("{}{}", kind.name(), if is_amended { ", mended" } else { "" });
    let reducer =
        (kind == Kind::States).then(|| NamedReducer { name: "totals".into(), reducer: Folded::new(link) });
    ProjectionSpec {
        id: ProjectionId::new(kind.name(), 1),
        source: SourceName::new(SOURCE),
        ordering: kind.ordering(),
        projector: Simulated::new(kind, link),
        reducer,
        known_types: None,
        on_failure: link.world.workload.on_failure.get(&kind).copied().unwrap_or_default(),
        documents: documents(link, kind),
        definition: definition.as_str().into(),
        fingerprint: Fingerprint(definition.as_str().into()),
        allowed_lateness: link.world.workload.lateness,
    }
}

fn documents(link: &Arc<Link>, kind: Kind) -> Arc<dyn DocumentStore> {
    match &link.world.cloud {
        None => Arc::new(Documents(link.clone())),
        Some(cloud) => aws::documents(link, cloud, kind),
    }
}

fn leases(world: &World) -> Arc<dyn LeaseStore> {
    if world.weather.alone { Arc::new(MemoryLeases::default()) } else { world.leases.clone() }
}

/// What a process works with, and what it reads.
pub async fn open(link: &Arc<Link>) -> (Services, SourceSpec) {
    match &link.world.cloud {
        None => (services(link), spec(link, Arc::new(Log(link.clone())))),
        Some(cloud) => {
            let (services, source) = aws::open(link, cloud).await;
            (services, spec(link, source))
        }
    }
}

fn spec(link: &Arc<Link>, source: Arc<dyn Source>) -> SourceSpec {
    let world = &link.world;
    let events = world.workload.has_store.then(|| Arc::new(Events(link.clone())) as Arc<dyn EventStore>);
    SourceSpec {
        name: SourceName::new(SOURCE),
        source,
        decoder: Arc::new(Mapping(link.clone())),
        upcasters: Vec::new(),
        events,
        first: Sequence(1),
        gaps: Gaps::Refuse,
        start: Start::TrimHorizon,
        redacts: false,
        on_newer_schema: OnNewerSchema::Wait,
        types: None,
    }
}

fn services(link: &Arc<Link>) -> Services {
    let world = &link.world;
    Services {
        checkpoints: Arc::new(Checkpoints(link.clone())),
        leases: Arc::new(Leases { link: link.clone(), store: leases(world) }),
        parking: Arc::new(Parking(link.clone())),
        clock: link.clone(),
        ids: link.clone(),
    }
}

/// What is drawn for a process.
fn drawn(link: &Arc<Link>) -> (Settings, BTreeSet<WorkerId>) {
    let world = &link.world;
    let mut chance = world.chance().fork();
    let most = if world.is_calm() { 0 } else { world.weather.skew * 1_000 };
    let skew = i64::try_from(chance.within(0..most * 2 + 1)).unwrap_or(0) - i64::try_from(most).unwrap_or(0);
    link.set_skew(skew);
    if skew != 0 {
        world.count("wrong clock");
    }
    // By their leases nobody sees who has crashed.
    let dead = if world.weather.alone { world.dead() } else { BTreeSet::new() };
    (settings(&mut chance, &world.weather, world.parked_events()), dead)
}

async fn worker(link: &Arc<Link>, (settings, dead): (Settings, BTreeSet<WorkerId>)) -> Worker {
    let known = link.world.workload.kinds.iter().filter(|kind| link.code.lacks != Some(**kind));
    let projections = known.map(|kind| projection(link, *kind)).collect();
    let (services, source) = open(link).await;
    Worker::new(Assembly { services, sources: vec![source], projections, settings, dead, process: 0 })
}

/// A process that runs.
struct Process {
    _life: Arc<()>,
    link: Arc<Link>,
    stop: CancellationToken,
    running: JoinSet<Result<Outcome>>,
}

impl Process {
    /// After a deploy somebody may still start the older code: it is refused.
    fn start(world: &Arc<World>, name: String, id: String) -> Self {
        let (weather, mut code) = (&world.weather, Code::of_now(world));
        code.is_older |= weather.deploys && world.is_deployed() && world.strikes("older code", weather.older);
        let kinds = &world.workload.kinds;
        let knows_less =
            weather.fewer > 0 && kinds.len() > 1 && world.strikes("a projection less", weather.fewer);
        code.lacks = knows_less.then(|| world.chance().pick(kinds));
        let link = Link::of_process(world, name, id, code);
        world.joins(&link);
        link.saw("starts");
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        let (starting, drawn, stopping) = (link.clone(), drawn(&link), stop.clone());
        running.spawn(async move {
            let worker = tokio::select! {
                biased;
                worker = worker(&starting, drawn) => worker,
                () = stopping.cancelled() => return Ok(Outcome::default()),
            };
            worker.run(Until::Stopped, stopping).await
        });
        Self { _life: world.life(), link, stop, running }
    }

    /// Lives until it ends by itself, which it should not.
    async fn ended(&mut self) -> ! {
        self.refused().await;
        std::future::pending().await
    }

    /// Lives until it is refused.
    async fn refused(&mut self) {
        match self.running.join_next().await {
            Some(Ok(Ok(outcome))) => {
                self.link.world.break_off(format!("{} ended: {outcome:?}", self.link.name))
            }
            // It has another definition than the one that counts.
            Some(Ok(Err(error))) if self.link.is_refused(&error) => {
                self.link.world.count("refused");
                return self.link.saw(&format!("is refused: {error}"));
            }
            Some(Ok(Err(error))) => {
                self.link.world.break_off(format!("{} failed: {error:?}", self.link.name))
            }
            Some(Err(error)) => self.link.world.break_off(format!("{} panicked: {error}", self.link.name)),
            None => {}
        }
        std::future::pending().await
    }

    /// Lives so long, or until all have to end for a deploy, or an event ends it.
    async fn live(&mut self, time: Duration) {
        let link = self.link.clone();
        let _ = tokio::time::timeout(time, async {
            tokio::select! {
                biased;
                () = link.world.deploy_begins() => {}
                () = link.died() => {}
                () = self.ended() => {}
            }
        })
        .await;
    }

    async fn crash(mut self) {
        self.link.saw("crashes");
        self.link.world.died(&self.link.worker);
        self.running.shutdown().await;
    }

    async fn stop(mut self) {
        if self.link.is_dead() {
            return self.crash().await;
        }
        self.link.world.count("stop");
        self.link.saw("is told to stop");
        self.stop.cancel();
        let link = self.link.clone();
        let ended = tokio::select! {
            biased;
            () = link.died() => return self.crash().await,
            ended = self.running.join_next() => ended,
        };
        match ended {
            Some(Ok(Ok(_))) => self.link.saw("has stopped"),
            // It was refused before.
            None => {}
            ended => self.link.world.break_off(format!("{} stopped with {ended:?}", self.link.name)),
        }
    }
}

/// One place in the fleet: a worker, and another when it is gone.
pub async fn slot(world: Arc<World>, number: usize) {
    let mut zombies = JoinSet::new();
    for life in 0.. {
        world.deploy_ends().await;
        let process = Process::start(&world, format!("w{number}.{life}"), world.ids.unique());
        if world.is_calm() {
            until_the_end(process).await;
        } else if let Some(zombie) = one_life(&world, process).await {
            zombies.spawn(haunt(world.clone(), zombie));
        }
        while zombies.try_join_next().is_some() {}
    }
}

/// Faults have stopped: it works until the run is over. Of one that is refused, another begins after a while.
async fn until_the_end(mut process: Process) {
    process.refused().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
}

/// A worker from start to end; a frozen one comes back.
async fn one_life(world: &Arc<World>, mut process: Process) -> Option<Process> {
    let (draw, time, calls) = {
        let mut chance = world.chance();
        (chance.within(0..100), chance.pick(&[10, 300, 3_000, 30_000]), chance.pick(&[20, 200, 2_000]))
    };
    let (time, calls) = {
        let mut chance = world.chance();
        (Duration::from_millis(chance.within(0..time)), chance.within(0..calls))
    };
    let weather = &world.weather;
    let mut share = draw;
    let mut is = |times: u64| {
        let is = share < times;
        share = if is { 1_000 } else { share - times };
        is
    };
    match () {
        () if is(weather.crash) => {
            process.live(time).await;
            world.count("crash");
            process.crash().await;
        }
        () if is(weather.crash_at_call) => {
            process.link.light(calls);
            let link = process.link.clone();
            let _ = tokio::time::timeout(Duration::from_secs(60), async {
                tokio::select! { biased; () = link.burnt() => {}, () = process.live(Duration::MAX) => {} }
            })
            .await;
            world.count("crash at a call");
            process.crash().await;
        }
        () if is(weather.freeze) => {
            process.live(time).await;
            if world.is_deploying() {
                process.crash().await;
                return None;
            }
            world.count("freeze");
            process.link.saw("freezes");
            process.link.freeze(true);
            return Some(process);
        }
        () if is(weather.stop) => {
            process.live(time).await;
            process.stop().await;
        }
        () if is(weather.twin) => {
            let mut twin =
                Process::start(world, format!("{}'", process.link.name), process.link.worker.clone());
            world.count("two with one id");
            tokio::join!(process.live(time), twin.live(time + Duration::from_secs(5)));
            twin.crash().await;
            process.crash().await;
        }
        () => {
            process.live(time + Duration::from_secs(5)).await;
            if weather.gentle { process.stop().await } else { process.crash().await }
        }
    }
    None
}

/// A frozen worker wakes beside its successor, and goes on as if nothing had happened.
async fn haunt(world: Arc<World>, mut zombie: Process) {
    let frozen = Duration::from_millis(world.chance().within(1_000..60_000));
    tokio::select! {
        biased;
        () = world.deploy_begins() => return zombie.crash().await,
        () = tokio::time::sleep(frozen) => {}
    }
    zombie.link.saw("wakes");
    zombie.link.freeze(false);
    let awake = Duration::from_millis(world.chance().within(100..20_000));
    zombie.live(awake).await;
    zombie.crash().await;
}

/// A worker without any fault, at the end: what it says of the whole.
pub async fn closing(world: &Arc<World>) -> Result<Outcome> {
    let link = Link::new(world, "closing".to_owned());
    let (_complete, complete) = tokio::sync::watch::channel(true);
    let outcome =
        worker(&link, drawn(&link)).await.run(Until::CaughtUp(complete), CancellationToken::new()).await;
    // It has left: whoever follows takes over from nobody.
    world.forget_dead();
    outcome
}
