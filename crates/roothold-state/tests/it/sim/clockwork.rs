//! Virtual time and an executor in which chance, by a seed, decides who goes next.
//!
//! Neither turmoil nor madsim: both simulate a network between hosts, and replicas talk to nobody
//! but the store. turmoil builds Tokio with its test clock, and everything upon it a second time;
//! madsim replaces Tokio. What is left to have is a clock, a queue, and seeded chance.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use roothold_state::worker::Timer;
use roothold_state::{Clock, UnixMillis};

pub(crate) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A splitmix64 generator: small, and the same everywhere.
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Whether something of this likelihood happens.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A time from nothing to `most`.
    pub(crate) fn upto(&mut self, most: Duration) -> Duration {
        Duration::from_millis(self.below(u64::try_from(most.as_millis()).unwrap() + 1))
    }
}

#[derive(Default)]
struct Inside {
    now: Duration,
    /// How far the store's clock is off, in milliseconds.
    skew: i64,
    next_timer: u64,
    timers: BTreeMap<(Duration, u64), Waker>,
    ready: Vec<usize>,
    arriving: Vec<Task>,
    /// All that was ever spawned, while nothing runs.
    tasks: Vec<Option<Task>>,
}

/// The world's clock and queue.
#[derive(Clone, Default)]
pub(crate) struct World(Arc<Mutex<Inside>>);

impl World {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.inside().arriving.push(Box::pin(task));
    }

    /// Lets the store's clock jump.
    pub(crate) fn jump(&self, millis: i64) {
        self.inside().skew += millis;
    }

    /// Runs everything until `done`, or nothing can happen any more, or it is `end`: whether it was done.
    pub(crate) fn run(&self, chance: &mut Chance, end: Duration, done: impl Fn() -> bool) -> bool {
        let mut tasks = std::mem::take(&mut self.inside().tasks);
        let was_done = self.run_tasks(&mut tasks, chance, end, done);
        self.inside().tasks = tasks;
        was_done
    }

    /// Drops all tasks, which hold the world, as it holds them.
    pub(crate) fn end(&self) {
        let inside = std::mem::take(&mut *self.inside());
        drop(inside);
    }

    fn run_tasks(
        &self,
        tasks: &mut Vec<Option<Task>>,
        chance: &mut Chance,
        end: Duration,
        done: impl Fn() -> bool,
    ) -> bool {
        loop {
            let arriving = std::mem::take(&mut self.inside().arriving);
            for task in arriving {
                self.inside().ready.push(tasks.len());
                tasks.push(Some(task));
            }
            if done() {
                return true;
            }
            let mut inside = self.inside();
            if inside.ready.is_empty() {
                let Some(((at, _), waker)) = inside.timers.pop_first() else { return false };
                inside.now = inside.now.max(at);
                if inside.now > end {
                    return false;
                }
                drop(inside);
                waker.wake();
                continue;
            }
            let pick = usize::try_from(chance.below(inside.ready.len() as u64)).unwrap();
            let id = inside.ready.swap_remove(pick);
            drop(inside);
            let Some(task) = &mut tasks[id] else { continue };
            let waker = Waker::from(Arc::new(Call { id, world: self.clone() }));
            if task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                tasks[id] = None;
            }
        }
    }
}

struct Call {
    id: usize,
    world: World,
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        let mut inside = self.world.inside();
        if !inside.ready.contains(&self.id) {
            inside.ready.push(self.id);
        }
    }
}

impl Timer for World {
    fn now(&self) -> Duration {
        self.inside().now
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send {
        Sleep { world: self.clone(), at: Timer::now(self) + duration, timer: None }
    }
}

impl Clock for World {
    fn now(&self) -> UnixMillis {
        let inside = self.inside();
        let since = i64::try_from(inside.now.as_millis()).unwrap();
        UnixMillis(1_700_000_000_000 + since + inside.skew)
    }
}

struct Sleep {
    world: World,
    at: Duration,
    timer: Option<u64>,
}

impl Sleep {
    fn forget(&mut self) {
        if let Some(timer) = self.timer.take() {
            self.world.inside().timers.remove(&(self.at, timer));
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.forget();
        let mut inside = self.world.inside();
        if inside.now >= self.at {
            return Poll::Ready(());
        }
        let timer = inside.next_timer;
        inside.next_timer += 1;
        inside.timers.insert((self.at, timer), cx.waker().clone());
        drop(inside);
        self.timer = Some(timer);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.forget();
    }
}

/// What a process is made to do from outside.
#[derive(Default)]
struct Fate {
    stopped: bool,
    killed: bool,
    waker: Option<Waker>,
}

/// The outside of a process: `kill -STOP`, `-CONT`, `-9`.
#[derive(Clone, Default)]
pub(crate) struct Signals(Arc<Mutex<Fate>>);

impl Signals {
    fn send(&self, change: impl FnOnce(&mut Fate)) {
        let mut fate = self.0.lock().unwrap();
        change(&mut fate);
        let waker = fate.waker.take();
        drop(fate);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn stop(&self) {
        self.send(|fate| fate.stopped = true);
    }

    pub(crate) fn go_on(&self) {
        self.send(|fate| fate.stopped = false);
    }

    pub(crate) fn kill(&self) {
        self.send(|fate| fate.killed = true);
    }
}

/// A process: a future that is not polled while it is stopped, and dropped when it is killed.
pub(crate) struct Process {
    inside: Option<Task>,
    signals: Signals,
}

impl Process {
    pub(crate) fn new(signals: Signals, inside: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { inside: Some(Box::pin(inside)), signals }
    }
}

impl Future for Process {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut fate = self.signals.0.lock().unwrap();
        fate.waker = Some(cx.waker().clone());
        let (killed, stopped) = (fate.killed, fate.stopped);
        drop(fate);
        if killed {
            self.inside = None;
        }
        match &mut self.inside {
            None => Poll::Ready(()),
            Some(_) if stopped => Poll::Pending,
            Some(inside) => inside.as_mut().poll(cx),
        }
    }
}
