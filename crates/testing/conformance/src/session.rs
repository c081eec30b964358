//! A framework: its stream, its offers, its calls.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::events::{kind, of};
use crate::http::{Answer, Connection};
use crate::names::Names;
use crate::run::{Ask, Run, Who, merged};
use crate::shape::Kind;
use crate::transcript::{Event, Recording, Reply, Request, header};

/// Where schedulers call.
pub(crate) const SCHEDULER: &str = "/api/v1/scheduler";
/// How long an offer or a subscription may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The framework that the recordings were made with.
pub(crate) fn framework(name: &str, more: Value) -> Value {
    let framework = json!({
        "user": "root", "name": name, "roles": ["golden"], "failover_timeout": 0, "checkpoint": true,
        "capabilities": [{"type": "MULTI_ROLE"}, {"type": "RESERVATION_REFINEMENT"}, {"type": "PARTITION_AWARE"}],
    });
    merged(framework, more)
}

/// The call that subscribes a framework.
pub(crate) fn subscribe(framework: Value) -> Value {
    json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": framework}})
}

/// A subscribed framework. Its connection ends with it.
#[derive(Debug)]
pub(crate) struct Session {
    connection: Connection,
    /// What came, without the head.
    pub(crate) events: Vec<Event>,
    seen: usize,
    /// Its id.
    pub(crate) framework: String,
    stream: String,
    used: BTreeSet<String>,
    /// How many events were looked at for updates.
    pub(crate) acknowledged: usize,
    /// How many events there were before the last call.
    pub(crate) before: usize,
}

impl Session {
    /// Subscribes with what the recording of the stream `name` says, else with `call`.
    pub(crate) fn open(run: &mut Run<'_>, name: &str, call: &Value) -> Option<Self> {
        let recording = run.pending().find(|recording| recording.name == name);
        let bytes = match recording {
            Some(recording) => run.bytes(&recording.request, Who::Master),
            None => run.own(Ask::call(Who::Master, SCHEDULER, call)),
        };
        let connection = Connection::send(run.address(Who::Master), &bytes).ok()?;
        let mut session = Self {
            connection,
            events: Vec::new(),
            seen: 0,
            framework: String::new(),
            stream: String::new(),
            used: BTreeSet::new(),
            acknowledged: 0,
            before: 0,
        };
        session.pump_until(PATIENCE, |session| !session.events.is_empty());
        let subscribed = |event: &Value| {
            event.pointer("/subscribed/framework_id/value").and_then(Value::as_str).map(str::to_owned)
        };
        session.stream = session.head().header("mesos-stream-id").unwrap_or_default().to_owned();
        session.framework =
            session.events.first().and_then(|first| subscribed(&first.event)).unwrap_or_default();
        // What the recording called the framework and the stream is known from now on.
        if let Some(Reply::Stream { head, events }) = recording.map(|recording| &recording.reply) {
            if let Some(stream) = head.header("mesos-stream-id") {
                run.names.bind(stream, &session.stream);
            }
            if let Some(framework) = events.first().and_then(|first| subscribed(&first.event)) {
                run.names.bind(&framework, &session.framework);
            }
        }
        if !session.framework.is_empty() {
            run.names.at_hand.framework = Some(session.framework.clone());
        }
        Some(session)
    }

    /// The head of the stream.
    pub(crate) fn head(&self) -> Answer {
        self.connection.answer().unwrap_or_default()
    }

    /// Whether the master ended the stream.
    pub(crate) fn closed(&self) -> bool {
        self.connection.closed || self.head().complete
    }

    /// How many events came.
    pub(crate) fn count(&self) -> usize {
        self.events.len()
    }

    /// Takes what has come.
    pub(crate) fn pump(&mut self) {
        self.connection.pump();
        if self.connection.bytes.len() == self.seen {
            return;
        }
        self.seen = self.connection.bytes.len();
        let at = self.connection.elapsed().as_secs_f64() * 1000.0;
        let new = of(&self.head().body).into_iter().skip(self.events.len());
        self.events.extend(new.map(|event| Event { at, ..event }));
    }

    /// Reads until `there`, for that long at most.
    pub(crate) fn pump_until(&mut self, patience: Duration, there: impl Fn(&Self) -> bool) -> bool {
        let end = Instant::now() + patience;
        loop {
            self.pump();
            if there(self) {
                return true;
            }
            if Instant::now() >= end || self.connection.closed {
                return false;
            }
        }
    }

    /// Reads for that long.
    pub(crate) fn pump_for(&mut self, seconds: f64) {
        self.pump_until(Duration::from_secs_f64(seconds), |_| false);
    }

    /// Waits for an event of that type after the first `from`.
    pub(crate) fn wait(&mut self, wanted: &str, seconds: f64, from: usize) -> bool {
        self.pump_until(Duration::from_secs_f64(seconds), |session| {
            session.events[from..].iter().any(|event| kind(&event.event) == wanted)
        })
    }

    /// The offers that are neither used nor taken back.
    pub(crate) fn live(&self) -> Vec<Value> {
        let mut live: Vec<Value> = Vec::new();
        let id =
            |offer: &Value| offer.pointer("/id/value").and_then(Value::as_str).unwrap_or_default().to_owned();
        for Event { event, .. } in &self.events {
            let offers = event.pointer("/offers/offers").and_then(Value::as_array);
            live.extend(offers.into_iter().flatten().cloned());
            if let Some(gone) = event.pointer("/rescind/offer_id/value").and_then(Value::as_str) {
                live.retain(|offer| id(offer) != gone);
            }
        }
        live.retain(|offer| !self.used.contains(&id(offer)));
        live
    }

    /// Whether what is on offer is as much as it ever was.
    fn whole(&self) -> bool {
        let cpus = |offer: &Value| -> f64 {
            let resources = offer["resources"].as_array();
            let cpus = resources.into_iter().flatten().filter(|resource| resource["name"] == "cpus");
            cpus.filter_map(|resource| resource.pointer("/scalar/value")?.as_f64()).sum()
        };
        let all = self
            .events
            .iter()
            .filter_map(|event| event.event.pointer("/offers/offers")?.as_array())
            .flatten();
        let most = all.map(cpus).fold(0.0, f64::max);
        most > 0.0 && self.live().iter().map(cpus).sum::<f64>() + 1e-6 >= most
    }

    /// The ids of all live offers, which count as used from now on. Asks for offers if there are none.
    pub(crate) fn offers(&mut self, run: &mut Run<'_>) -> Vec<Value> {
        // What ended tasks had comes back in pieces; with all of it there is one offer, as in the recordings.
        self.pump_until(Duration::from_secs(3), |session| session.whole());
        for _ in 0..3 {
            if !self.live().is_empty() {
                break;
            }
            self.call(run, "", json!({"type": "REVIVE"}));
            self.pump_until(Duration::from_secs(4), |session| !session.live().is_empty());
        }
        let ids: Vec<Value> = self.live().iter().filter_map(|offer| offer.get("id").cloned()).collect();
        self.used.extend(ids.iter().filter_map(|id| id["value"].as_str().map(str::to_owned)));
        run.names.at_hand.offer = ids.first().and_then(|id| id["value"].as_str()).map(str::to_owned);
        ids
    }

    /// Calls as the framework: what was recorded under `name`, else `call` with the framework's id.
    pub(crate) fn call(&mut self, run: &mut Run<'_>, name: &str, call: Value) -> Answer {
        self.call_with(run, name, call, true)
    }

    /// Calls as recorded. Where the recording was refused, its headers are what they are on purpose.
    pub(crate) fn again(&mut self, run: &mut Run<'_>, recording: &Recording) {
        let refused = recording.head().is_some_and(|head| head.status() == 400);
        self.call_with(run, &recording.name, Value::Null, !refused);
    }

    /// Calls with the headers of the recording as they are: they are wrong on purpose. Without a recording
    /// nothing is asked.
    pub(crate) fn wrong_call(&mut self, run: &mut Run<'_>, name: &str) {
        if run.has(name) {
            self.call_with(run, name, Value::Null, false);
        }
    }

    fn call_with(&mut self, run: &mut Run<'_>, name: &str, call: Value, own_stream: bool) -> Answer {
        let ask = self.ask(call.clone());
        let Some(recording) = run.take_same(name, &ask) else {
            let call = self.with_live(run, call);
            let ask = self.ask(call);
            self.pump();
            self.before = self.count();
            return Connection::send(run.address(Who::Master), &run.own(ask))
                .map(|mut connection| connection.answer_within(PATIENCE))
                .unwrap_or_default();
        };
        let mut request = recording.request.clone();
        self.at_hand(run);
        if let Request::Parts { headers, body, .. } = &mut request {
            match headers.iter_mut().find(|(name, _)| name.eq_ignore_ascii_case("mesos-stream-id")) {
                Some((_, stream)) if own_stream && !run.names.knows(stream) => *stream = self.stream.clone(),
                None if own_stream => headers.push(("Mesos-Stream-Id".to_owned(), self.stream.clone())),
                _ => {}
            }
            if let Some(changed) = body.as_ref().and_then(|body| self.with_offers(run, body)) {
                let length = headers.iter_mut().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
                if let Some((_, length)) = length {
                    *length = changed.len().to_string();
                }
                *body = Some(changed);
            }
        }
        let bytes = run.bytes(&request, Who::Master);
        self.pump();
        self.before = self.count();
        run.exchange(recording, &bytes)
    }

    /// A call of our own that names no offers with all that are live.
    fn with_live(&mut self, run: &mut Run<'_>, mut call: Value) -> Value {
        for kind in ["accept", "decline"] {
            let path = format!("/{kind}/offer_ids");
            if call.pointer(&path).and_then(Value::as_array).is_some_and(Vec::is_empty) {
                call[kind]["offer_ids"] = Value::Array(self.offers(run));
            }
        }
        call
    }

    /// A call of this framework.
    fn ask(&self, call: Value) -> Ask {
        let call = merged(call, json!({"framework_id": {"value": self.framework}}));
        let mut ask = Ask::call(Who::Master, SCHEDULER, &call);
        ask.headers.push(("Mesos-Stream-Id".to_owned(), self.stream.clone()));
        ask
    }

    /// This framework is what unknown names mean.
    fn at_hand(&self, run: &mut Run<'_>) {
        run.names.at_hand.framework = Some(self.framework.clone());
    }

    /// The call with offers of ours in the place of recorded ones: all there are, as resources may be split
    /// over other numbers of offers. `None` if it names none that have to be found.
    fn with_offers(&mut self, run: &mut Run<'_>, body: &[u8]) -> Option<Vec<u8>> {
        let mut call: Value = serde_json::from_slice(body).ok()?;
        let named: Vec<String> = Names::offers(&call)?
            .iter()
            .filter_map(|id| id["value"].as_str().map(str::to_owned))
            .filter(|id| run.mesos.ids(id).iter().any(|(_, kind, _)| *kind == Kind::Offer))
            .filter(|id| !run.names.knows(id) && !self.used.contains(id))
            .collect();
        named.first()?;
        let found = self.offers(run);
        let ours = found.first()?["value"].as_str()?.to_owned();
        for id in &named {
            run.names.bind(id, &ours);
        }
        // Ours stay what they are when the call is put into our names.
        for id in found.iter().filter_map(|id| id["value"].as_str()) {
            run.names.bind(id, id);
        }
        for kind in ["accept", "decline"] {
            if let Some(ids) = call.pointer_mut(&format!("/{kind}/offer_ids")) {
                *ids = Value::Array(found.clone());
            }
        }
        serde_json::to_vec(&call).ok()
    }

    /// Takes and acknowledges updates after the first `from` events until `there` or the time is over.
    /// Gives back the states in their order, with their tasks.
    pub(crate) fn updates(
        &mut self,
        run: &mut Run<'_>,
        from: usize,
        seconds: f64,
        there: impl Fn(&[(String, String)]) -> bool,
    ) -> Vec<(String, String)> {
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        let (mut at, mut found) = (from, Vec::new());
        while Instant::now() < end && !self.connection.closed {
            self.pump();
            while at < self.events.len() {
                let status = self.events[at].event.pointer("/update/status").cloned();
                at += 1;
                self.acknowledged = at;
                let Some(status) = status else { continue };
                if status.get("uuid").is_some() {
                    let acknowledge = json!({"agent_id": status["agent_id"], "task_id": status["task_id"], "uuid": status["uuid"]});
                    self.call(run, "", json!({"type": "ACKNOWLEDGE", "acknowledge": acknowledge}));
                }
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                found.push((text(&status["task_id"]["value"]), text(&status["state"])));
                if there(&found) {
                    return found;
                }
            }
        }
        found
    }

    /// Compares the stream with its recording.
    pub(crate) fn save(&mut self, run: &mut Run<'_>, name: &str) {
        self.pump();
        if let Some(recording) = run.take(name) {
            run.stream(recording, &self.head(), &self.events);
        }
    }

    /// The value of a header of the recording of that name.
    pub(crate) fn recorded_header(run: &Run<'_>, name: &str, wanted: &str) -> Option<String> {
        let recording = run.pending().find(|recording| recording.name == name)?;
        let Request::Parts { headers, .. } = &recording.request else { return None };
        header(headers, wanted).map(str::to_owned)
    }
}

/// Whether the last update has one of these states.
pub(crate) fn ends_in<'s>(states: &'s [&'s str]) -> impl Fn(&[(String, String)]) -> bool + 's {
    |updates| updates.last().is_some_and(|(_, state)| states.contains(&state.as_str()))
}
