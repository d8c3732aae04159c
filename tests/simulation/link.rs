//! What is between a worker and a store: a network that loses, delays, doubles, and a process that crashes or freezes.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use foldstream_model::{Clock, Error, Ids, Result, Timestamp};
use tokio::sync::{Notify, oneshot};

use crate::{projections::Kind, world::World};

pub type Carried<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// What carries a request out, any number of times.
pub type Request<T> = Box<dyn Fn() -> Carried<T> + Send + Sync>;

/// What a process runs.
#[derive(Debug, Clone, Copy)]
pub struct Code {
    /// The code of before, mended or not.
    pub is_older: bool,
    /// The mapping of before, mended or not.
    pub has_older_mapping: bool,
    /// A projection that its configuration does not know yet.
    pub lacks: Option<Kind>,
}

impl Code {
    /// What is started now runs.
    pub fn of_now(world: &World) -> Self {
        Self {
            is_older: world.weather.deploys && !world.is_deployed(),
            has_older_mapping: !world.is_mapping_mended(),
            lacks: None,
        }
    }
}

/// One process's way to the world.
pub struct Link {
    pub world: Arc<World>,
    pub name: String,
    /// The id that the worker gives itself.
    pub worker: String,
    pub code: Code,
    /// It is a process that an event can end; what others run only fails.
    is_process: bool,
    worker_is_taken: AtomicBool,
    /// How many microseconds its clock is ahead.
    skew: AtomicI64,
    frozen: AtomicBool,
    /// Wakes calls in the order in which they began to wait.
    thaws: Notify,
    /// Calls left until the crash.
    fuse: Mutex<Option<u64>>,
    burnt: Notify,
    dead: AtomicBool,
    died: Notify,
}

impl Link {
    pub fn new(world: &Arc<World>, name: String) -> Arc<Self> {
        Self::with(world, name.clone(), name, Code::of_now(world), false)
    }

    pub fn of_process(world: &Arc<World>, name: String, worker: String, code: Code) -> Arc<Self> {
        Self::with(world, name, worker, code, true)
    }

    pub fn with(world: &Arc<World>, name: String, worker: String, code: Code, is_process: bool) -> Arc<Self> {
        Arc::new(Self {
            is_process,
            world: world.clone(),
            name,
            worker,
            code,
            worker_is_taken: AtomicBool::new(false),
            skew: AtomicI64::new(0),
            frozen: AtomicBool::new(false),
            thaws: Notify::new(),
            fuse: Mutex::new(None),
            burnt: Notify::new(),
            dead: AtomicBool::new(false),
            died: Notify::new(),
        })
    }

    /// Whether it reads records in the newer form.
    pub fn reads_newer(&self) -> bool {
        self.world.is_mapping_mended() && !self.code.has_older_mapping
    }

    /// Frozen, nothing leaves the process and nothing reaches it.
    pub fn freeze(&self, frozen: bool) {
        self.frozen.store(frozen, Ordering::Relaxed);
        if !frozen {
            self.thaws.notify_waiters();
        }
    }

    pub fn set_skew(&self, micros: i64) {
        self.skew.store(micros, Ordering::Relaxed);
    }

    /// The clock jumps by up to a minute, and now and then by an hour; back, too.
    fn jump(&self) {
        let world = &self.world;
        if world.weather.jump > 0 && world.strikes("clock jumps", world.weather.jump) {
            let mut chance = world.chance();
            let most = chance.pick(&[1_000_000, 60_000_000, 60_000_000, 3_600_000_000]);
            let by =
                i64::try_from(chance.within(0..2 * most)).unwrap_or(0) - i64::try_from(most).unwrap_or(0);
            self.skew.fetch_add(by, Ordering::Relaxed);
        }
    }

    pub async fn thawed(&self) {
        while self.frozen.load(Ordering::Relaxed) {
            self.thaws.notified().await;
        }
    }

    /// After so many calls the process is about to crash: that one and all others hang.
    pub fn light(&self, calls: u64) {
        *self.fuse.lock().unwrap_or_else(PoisonError::into_inner) = Some(calls);
    }

    /// An event has ended the process: no call of it is carried out any more.
    pub fn die(&self) {
        if self.is_process && !self.dead.swap(true, Ordering::Relaxed) {
            self.light(0);
            self.world.count("an event ends the process");
            self.saw("dies of an event");
            self.died.notify_one();
        }
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    pub async fn died(&self) {
        self.died.notified().await;
    }

    pub async fn burnt(&self) {
        self.burnt.notified().await;
    }

    pub async fn step(&self) {
        let is_burnt = {
            let mut fuse = self.fuse.lock().unwrap_or_else(PoisonError::into_inner);
            match &mut *fuse {
                None => false,
                Some(0) => true,
                Some(left) => {
                    *left -= 1;
                    false
                }
            }
        };
        if is_burnt {
            self.burnt.notify_one();
            std::future::pending::<()>().await;
        }
        self.jump();
        self.thawed().await;
    }

    /// Without a network a call ends after some time, with an error.
    pub async fn reach(&self) -> Result<()> {
        if !self.world.is_gone() {
            return Ok(());
        }
        self.world.count("stores are gone");
        let time = Duration::from_millis(self.world.chance().within(0..10_000));
        tokio::time::sleep(time).await;
        Err(Error::transient("nothing can be reached"))
    }

    /// Whether an error says that the process runs another definition than the one that counts.
    pub fn is_refused(&self, error: &Error) -> bool {
        let (world, message) = (&self.world, error.message());
        world.weather.deploys && world.is_deployed() && message.contains("its definition was changed")
    }

    /// A call that changes nothing.
    pub async fn read<T>(&self, what: &str, call: impl Future<Output = Result<T>>) -> Result<T> {
        self.step().await;
        self.reach().await?;
        pause(self.world.way()).await;
        self.fails(what)?;
        let answer = call.await;
        self.saw(what);
        pause(self.world.way()).await;
        self.thawed().await;
        answer
    }

    pub fn fails(&self, what: &str) -> Result<()> {
        let weather = &self.world.weather;
        if self.world.strikes("throttled", weather.throttle) {
            self.saw(&format!("{what}: throttled"));
            return Err(Error::throttled("less, please"));
        }
        if self.world.strikes("lost request", weather.lost_request) {
            self.saw(&format!("{what}: request lost"));
            return Err(Error::transient("the request was lost"));
        }
        Ok(())
    }

    /// A call that changes something: it is carried out by the network, even if its caller is no more.
    pub async fn write<T: Send + 'static>(&self, what: String, request: Request<T>) -> Result<T> {
        self.step().await;
        self.reach().await?;
        self.fails(&what)?;
        let (world, weather) = (&self.world, &self.world.weather);
        let late = world.strikes("late request", weather.late_request);
        let mut way = world.way();
        if late {
            way += Duration::from_millis(world.chance().within(1..90_000));
        }
        let doubled = world.strikes("doubled request", weather.duplicate);
        let again = doubled.then(|| Duration::from_millis(world.chance().within(1..90_000)));
        let (answer, answered) = oneshot::channel();
        let (telling, name) = (world.clone(), self.name.clone());
        self.saw(&format!("{what}: sent, way={way:?} again={again:?}"));
        world.send(async move {
            pause(way).await;
            telling.saw(&format!("{name} {what}: carried out"));
            // Who asked may be gone.
            let _ = answer.send(request().await);
            if let Some(again) = again {
                tokio::time::sleep(again).await;
                telling.saw(&format!("{name} {what}: carried out again"));
                let _ = request().await;
            }
        });
        if late {
            return Err(Error::transient("no answer in time"));
        }
        let answer = answered.await.unwrap_or_else(|_| Err(Error::transient("the network is gone")));
        pause(world.way()).await;
        self.thawed().await;
        if world.strikes("lost answer", weather.lost_answer) {
            return Err(Error::transient("the answer was lost"));
        }
        answer
    }

    /// Some projections are slower than others.
    pub async fn dawdle(&self, kind: Kind) {
        let speeds = &self.world.weather.speeds;
        if let Some(most) = speeds.get(&kind).filter(|_| !self.world.is_calm()) {
            let time = self.world.chance().within(0..most + 1);
            pause(Duration::from_millis(time)).await;
        }
    }

    pub fn saw(&self, what: &str) {
        self.world.saw(&format!("{} {what}", self.name));
    }
}

impl Clock for Link {
    fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.world.began.elapsed().as_micros()).unwrap_or(0);
        Timestamp::from_micros(passed + self.skew.load(Ordering::Relaxed))
    }
}

/// The first id that a worker asks for is its own.
impl Ids for Link {
    fn unique(&self) -> String {
        match self.worker_is_taken.swap(true, Ordering::Relaxed) {
            false => self.worker.clone(),
            true => self.world.ids.unique(),
        }
    }
}

pub async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}
