//! The loop: waits for the agent, for children and for time, and carries out what the task's state machine
//! decides.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base::{Mono, Now, Rng, Wall};
use mesos_proto::v1::executor::{Call, Event, call, event};
use mesos_proto::v1::framework_info::capability;
use mesos_proto::v1::{ExecutorId, FrameworkId, TaskStatus};
use prost::Message;
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::agent::{Agent, News};
use crate::command::Surroundings;
use crate::probes::Probes;
use crate::say;
use crate::settings::Settings;
use crate::signals::{Reaped, Signals, kill_everything, reap};
use crate::start::start_task;
use crate::task::{Effect, End, Input, Task, Which};

/// How long the loop waits for killed processes to be gone before it reports the end without them.
const LEFTOVERS_TIMEOUT: Duration = Duration::from_secs(5);
/// How often it kills what may have been forked meanwhile.
const LEFTOVERS_INTERVAL: Duration = Duration::from_millis(10);
/// The longest the loop sleeps.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// The executor at work.
pub(crate) struct Executor {
    settings: Settings,
    started: Instant,
    signals: Signals,
    agent: Agent,
    task: Task,
    probes: Probes,
    around: Surroundings,
    /// Who runs a task that names no user.
    user: Option<String>,
    command: Option<u32>,
    /// The command's end, while what it left behind is being removed.
    ended: Option<(End, Mono)>,
    /// The agent will not come back, or does not want us: end the task and leave.
    given_up: bool,
    exit: Option<u8>,
}

impl Executor {
    pub(crate) fn new(settings: Settings, seed: u64) -> io::Result<Executor> {
        let started = Instant::now();
        let mut rng = Rng::seeded(seed);
        let agent = Agent::new(&settings, Mono::default(), Rng::seeded(rng.next_u64()));
        let task = Task::new(&settings.executor_id, settings.shutdown_grace_period, rng);
        let around = Surroundings { environment: settings.environment.clone(), ..Default::default() };
        Ok(Executor {
            settings,
            started,
            signals: Signals::catch()?,
            agent,
            task,
            probes: Probes::default(),
            around,
            user: None,
            command: None,
            ended: None,
            given_up: false,
            exit: None,
        })
    }

    /// Runs until there is nothing left to do; returns the exit status.
    pub(crate) fn run(mut self) -> io::Result<u8> {
        loop {
            self.advance();
            if let Some(status) = self.exit {
                kill_everything();
                return Ok(status);
            }
            self.wait()?;
        }
    }

    fn now(&self) -> Now {
        let mono = Mono(self.started.elapsed().as_nanos() as u64);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono, wall: Wall(wall.as_nanos() as u64) }
    }

    /// Everything that time alone brings.
    fn advance(&mut self) {
        let now = self.now();
        self.handle(Input::Tick);
        let mut done = Vec::new();
        self.probes.expire(now.mono, &mut done);
        self.probed(done);
        if let Some(news) = self.agent.tick(now.mono) {
            self.heard(news);
        }
        self.finish_ending();
        self.check_absence(now.mono);
        if self.given_up {
            return;
        }
        if self.agent.wants_subscription(now.mono) {
            let call = self.subscription();
            // Those made from now on are not in it and are sent by themselves.
            self.task.updates.all_sent(now.mono);
            if let Some(news) = self.agent.subscribe(now.mono, &call) {
                self.heard(news);
            }
        }
        self.send_update(now.mono);
    }

    fn send_update(&mut self, now: Mono) {
        if !self.agent.takes_call() {
            return;
        }
        let Some(status) = self.task.updates.take_due(now) else { return };
        let mut call = empty_call(&self.settings, call::Type::Update);
        call.update = Some(call::Update { status: status.clone() });
        if let Some(news) = self.agent.call(now, &call.encode_to_vec()) {
            self.heard(news);
        }
    }

    fn subscription(&self) -> Vec<u8> {
        let update = |status: &TaskStatus| call::Update { status: status.clone() };
        let mut call = empty_call(&self.settings, call::Type::Subscribe);
        call.subscribe = Some(call::Subscribe {
            unacknowledged_tasks: self.task.unacknowledged().cloned().into_iter().collect(),
            unacknowledged_updates: self.task.updates.statuses().map(update).collect(),
        });
        call.encode_to_vec()
    }

    /// An agent that stays away too long is given up, and with it the task (Mesos: recovery timeout).
    fn check_absence(&mut self, now: Mono) {
        let Some(since) = self.agent.away_since else { return };
        if !self.given_up && now.since(since) >= self.settings.recovery_timeout {
            self.give_up("the agent did not come back in time");
        }
    }

    fn give_up(&mut self, why: &str) {
        say(format_args!("{why}; ending the task"));
        self.given_up = true;
        self.handle(Input::Shutdown);
        self.leave_if_done();
    }

    /// With no agent to report to, the task's end is the executor's.
    fn leave_if_done(&mut self) {
        if self.given_up && self.command.is_none() && self.ended.is_none() {
            self.exit.get_or_insert(1);
        }
    }

    fn handle(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.task.handle(self.now(), input, &mut effects);
        for effect in effects {
            match effect {
                Effect::Start => self.start(),
                Effect::Terminate => {
                    self.probes.stop();
                    containers::signal_descendants(rustix::process::Signal::TERM);
                }
                Effect::KillAll => kill_everything(),
                Effect::Probe(which) => self.probe(which),
                Effect::Log(text) => say(format_args!("{text}")),
                Effect::Exit(status) => self.exit = Some(status),
            }
        }
    }

    fn start(&mut self) {
        let started = match self.task.info() {
            Some(info) => start_task(info, self.user.as_deref(), &self.settings, &mut self.around),
            None => return,
        };
        let result = started.map(|pid| self.command = Some(pid));
        if let Err(why) = &result {
            say(format_args!("{why}"));
        }
        self.handle(Input::Started(result));
    }

    fn probe(&mut self, which: Which) {
        let Some(checker) = self.task.checker(which) else { return };
        if let Some(outcome) = self.probes.start(self.now().mono, which, checker, &self.around) {
            self.handle(Input::Probed(which, outcome));
        }
    }

    fn probed(&mut self, done: Vec<(Which, crate::checks::Outcome)>) {
        for (which, outcome) in done {
            self.handle(Input::Probed(which, outcome));
        }
    }

    fn wait(&mut self) -> io::Result<()> {
        let timeout = self.timeout();
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() };
        let interests = self.agent.interests();
        let agent = interests.each_ref().map(Option::is_some);
        let mut fds = vec![PollFd::from_borrowed_fd(self.signals.fd(), PollFlags::IN)];
        let all = interests.into_iter().flatten().chain(self.probes.interests());
        fds.extend(all.map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags)));
        match rustix::event::poll(&mut fds, Some(&timeout)) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        let mut ready = ready.into_iter();
        if ready.next() == Some(true) && self.signals.drain() {
            self.handle(Input::Shutdown);
        }
        let mut news = VecDeque::new();
        let now = self.now().mono;
        let [stream, calls] = agent.map(|there| there && ready.next() == Some(true));
        if stream {
            self.agent.stream_ready(now, &mut news);
        }
        if calls {
            self.agent.calls_ready(now, &mut news);
        }
        let mut done = Vec::new();
        self.probes.ready(&ready.collect::<Vec<_>>(), &mut done);
        self.probed(done);
        while let Some(item) = news.pop_front() {
            self.heard(item);
        }
        self.reap_all();
        Ok(())
    }

    fn timeout(&self) -> Duration {
        let now = self.now().mono;
        let absence = self.agent.away_since.filter(|_| !self.given_up);
        let agent = if self.given_up { None } else { self.agent.next_due() };
        let update = if self.agent.takes_call() { self.task.updates.next_due() } else { None };
        let due = [
            self.task.next_due(),
            self.probes.next_deadline(),
            absence.map(|since| since + self.settings.recovery_timeout),
            agent,
            update,
        ];
        let due = due.into_iter().flatten().min().map_or(LONGEST_WAIT, |due| due.since(now));
        let ending = if self.ended.is_some() { LEFTOVERS_INTERVAL } else { LONGEST_WAIT };
        due.min(ending)
    }

    fn reap_all(&mut self) {
        loop {
            match reap() {
                Reaped::Child(pid, end) if self.command == Some(pid) => {
                    self.command = None;
                    self.ended = Some((end, self.now().mono + LEFTOVERS_TIMEOUT));
                    self.probes.stop();
                    kill_everything();
                }
                Reaped::Child(pid, end) => {
                    if let Some((which, outcome)) = self.probes.reaped(pid, end) {
                        self.handle(Input::Probed(which, outcome));
                    }
                }
                Reaped::NoneYet => break,
                Reaped::NoChildren => {
                    if let Some((end, _)) = self.ended.take() {
                        self.handle(Input::Ended(end));
                        self.leave_if_done();
                    }
                    break;
                }
            }
        }
    }

    /// Kills once more what the command left behind; at last reports its end all the same.
    fn finish_ending(&mut self) {
        let Some((end, deadline)) = self.ended else { return };
        if self.now().mono < deadline {
            kill_everything();
            return;
        }
        self.ended = None;
        say(format_args!("processes of the task survive SIGKILL"));
        self.handle(Input::Ended(end));
        self.leave_if_done();
    }

    fn heard(&mut self, news: News) {
        match news {
            News::Event(event) => self.event(*event),
            News::Lost(why) => {
                self.task.disconnected();
                if !self.settings.checkpoint && self.task.info().is_some() && !self.given_up {
                    self.give_up(&format!("the agent is gone ({why}) and the framework does not checkpoint"));
                }
            }
            News::Refused(status) => {
                if !self.given_up {
                    self.give_up(&format!("the agent refuses this executor ({status})"));
                }
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event.r#type() {
            event::Type::Subscribed => {
                let Some(subscribed) = event.subscribed else { return };
                self.agent.subscribed();
                let killing = capability::Type::TaskKillingState;
                let framework = &subscribed.framework_info;
                let killing_state = framework.capabilities.iter().any(|found| found.r#type() == killing);
                let command = subscribed.executor_info.command.as_ref();
                let user = command.and_then(|command| command.user.as_deref());
                self.user = Some(user.unwrap_or(&framework.user).to_owned()).filter(|user| !user.is_empty());
                self.handle(Input::Subscribed { killing_state });
            }
            event::Type::Launch => {
                if let Some(launch) = event.launch {
                    self.handle(Input::Launch(Box::new(launch.task)));
                }
            }
            event::Type::Kill => {
                self.handle(Input::Kill(event.kill.and_then(|kill| kill.kill_policy)));
            }
            event::Type::Acknowledged => {
                if let Some(acknowledged) = event.acknowledged {
                    self.handle(Input::Acknowledged(acknowledged.uuid));
                }
            }
            event::Type::Shutdown => self.handle(Input::Shutdown),
            event::Type::LaunchGroup => {
                // Only ever meant for an executor that runs task groups.
                say(format_args!("LAUNCH_GROUP is not for a command executor"));
                self.handle(Input::Shutdown);
            }
            event::Type::Error => {
                say(format_args!("the agent says: {}", event.error.unwrap_or_default().message));
            }
            event::Type::Message | event::Type::Heartbeat | event::Type::Unknown => {}
        }
    }
}

fn empty_call(settings: &Settings, kind: call::Type) -> Call {
    Call {
        executor_id: ExecutorId { value: settings.executor_id.clone() },
        framework_id: FrameworkId { value: settings.framework_id.clone() },
        r#type: Some(kind as i32),
        ..Default::default()
    }
}
