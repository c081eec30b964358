//! Builds in the order that their requirements demand, several at one time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::Scope;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::cache::{Cache, Output};
use crate::error::BuildError;
use crate::progress::Progress;

/// How often the times on a terminal go on.
const TICK: Duration = Duration::from_millis(500);

/// One thing to be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    /// How it is called in what people see.
    pub(crate) name: String,
    /// The numbers of those that have to be built before.
    pub(crate) after: Vec<usize>,
}

/// What a build has come to.
#[derive(Debug)]
pub(crate) struct Built {
    /// How it ended, for people.
    pub(crate) how: String,
    /// What is to appear in the cache. Those who come after need not wait for it.
    pub(crate) outputs: Vec<Output>,
}

/// Tells how far a build is.
#[derive(Clone)]
pub(crate) struct Tell {
    number: usize,
    events: Sender<Event>,
}

impl Tell {
    /// What the build does now.
    pub(crate) fn phase(&self, text: impl Into<String>) {
        let _ = self.events.send(Event::Phase(self.number, text.into()));
    }

    /// What its user should know.
    pub(crate) fn line(&self, text: &str) {
        let _ = self.events.send(Event::Line(self.number, text.to_owned()));
    }
}

enum Event {
    Phase(usize, String),
    Line(usize, String),
    Built(usize, Result<Built, BuildError>),
    Published(Result<(), BuildError>),
}

/// How one thing is built.
pub(crate) type Build<'a> = dyn Fn(usize, &Tell) -> Result<Built, BuildError> + Sync + 'a;

/// Builds all works, at most `jobs` at one time, and publishes what they make. After a failure nothing new begins;
/// what runs goes on to its end.
///
/// # Errors
/// What failed, in the order in which it did.
pub(crate) fn run(
    works: &[Work],
    jobs: usize,
    cache: &Cache,
    cancelled: &watch::Receiver<bool>,
    build: &Build<'_>,
) -> Result<(), Vec<BuildError>> {
    if works.is_empty() {
        return Ok(());
    }
    let (events, told) = mpsc::channel();
    let (publish, to_publish) = mpsc::channel();
    std::thread::scope(|scope| {
        let published = events.clone();
        scope.spawn(move || publish_all(cache, &to_publish, &published));
        let progress = Progress::of_process(works.len());
        let schedule = Schedule {
            works,
            jobs,
            scope,
            build,
            cancelled,
            events,
            publish,
            waiting: works.iter().map(|work| work.after.len()).collect(),
            begun: vec![false; works.len()],
            running: 0,
            publishing: 0,
            failures: Vec::new(),
            progress,
        };
        schedule.run(&told)
    })
}

struct Schedule<'scope, 'env, W> {
    works: &'env [Work],
    jobs: usize,
    scope: &'scope Scope<'scope, 'env>,
    build: &'env Build<'env>,
    cancelled: &'env watch::Receiver<bool>,
    events: Sender<Event>,
    publish: Sender<Vec<Output>>,
    /// For each work how many it waits for.
    waiting: Vec<usize>,
    begun: Vec<bool>,
    running: usize,
    publishing: usize,
    failures: Vec<BuildError>,
    progress: Progress<W>,
}

impl<W: std::io::Write> Schedule<'_, '_, W> {
    fn run(mut self, told: &Receiver<Event>) -> Result<(), Vec<BuildError>> {
        self.begin();
        while self.running + self.publishing > 0 {
            match self.next(told) {
                Some(event) => self.take(event),
                None => self.progress.draw(Instant::now()),
            }
        }
        match self.failures.is_empty() {
            true => Ok(()),
            false => Err(self.failures),
        }
    }

    /// What happened, or nothing for a while.
    fn next(&self, told: &Receiver<Event>) -> Option<Event> {
        let never = "its sender is here";
        if !self.progress.is_alive() {
            return Some(told.recv().expect(never));
        }
        match told.recv_timeout(TICK) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => unreachable!("{never}"),
        }
    }

    fn take(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Phase(number, phase) => {
                self.progress.phase(number, &self.works[number].name, &phase, now);
            }
            Event::Line(number, text) => {
                self.progress.line(&format!("{}: {text}", self.works[number].name), now);
            }
            Event::Built(number, Ok(built)) => {
                self.running -= 1;
                self.progress.done(number, &self.works[number].name, &built.how, now);
                self.publishing += 1;
                let sent = self.publish.send(built.outputs);
                sent.expect("the publisher ends after this sender does");
                for (later, work) in self.works.iter().enumerate() {
                    self.waiting[later] -= work.after.iter().filter(|before| **before == number).count();
                }
                self.begin();
            }
            Event::Built(number, Err(error)) => {
                self.running -= 1;
                self.progress.done(number, &self.works[number].name, "failed", now);
                self.failures.push(error);
            }
            Event::Published(result) => {
                self.publishing -= 1;
                self.failures.extend(result.err());
            }
        }
    }

    /// Begins what can be.
    fn begin(&mut self) {
        for number in 0..self.works.len() {
            if !self.failures.is_empty() || self.running >= self.jobs {
                return;
            }
            if self.begun[number] || self.waiting[number] > 0 {
                continue;
            }
            if *self.cancelled.borrow() {
                return self.failures.push(BuildError::Cancelled);
            }
            self.begun[number] = true;
            self.running += 1;
            let (build, events, work) = (self.build, self.events.clone(), &self.works[number]);
            self.scope.spawn(move || {
                let tell = Tell { number, events };
                // Whoever waits for the event would wait for ever.
                let built = catch_unwind(AssertUnwindSafe(|| build(number, &tell)));
                let built = built.unwrap_or_else(|_| Err(BuildError::Lost(work.name.clone())));
                let _ = tell.events.send(Event::Built(number, built));
            });
        }
    }
}

/// Publishes what is there, all at once, then what has come meanwhile.
fn publish_all(cache: &Cache, to_publish: &Receiver<Vec<Output>>, published: &Sender<Event>) {
    while let Ok(first) = to_publish.recv() {
        let (mut builds, mut outputs) = (1, first);
        for more in to_publish.try_iter() {
            builds += 1;
            outputs.extend(more);
        }
        let mut result = cache.publish(&outputs).map_err(BuildError::from);
        for _ in 0..builds {
            // One report is enough.
            let _ = published.send(Event::Published(std::mem::replace(&mut result, Ok(()))));
        }
    }
}
