//! A little framework on the v1 scheduler API, in JSON over plain sockets.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use mesos_proto::recordio::Decoder;
use serde_json::{Value, json};
use testkit::{Cluster, Options};

use crate::table::{Table, millis};

const LAUNCHES: usize = 40;

pub(crate) fn launch_to_running(program: &Path, table: &mut Table) {
    let cluster = Cluster::start(program, Options::default());
    let mut scheduler = Scheduler::subscribe(cluster.at(1, 5050));
    let (mut running, mut finished) = (Vec::new(), Vec::new());
    for number in 0..LAUNCHES {
        let offer = scheduler.offer();
        let from = Instant::now();
        let task = format!("task-{number}");
        scheduler.launch(&offer, &task, json!({"value": "sleep 0.05"}), Value::Null);
        scheduler.await_state(&task, "TASK_RUNNING");
        running.push(millis(from.elapsed()));
        scheduler.await_state(&task, "TASK_FINISHED");
        finished.push(millis(from.elapsed()));
    }
    scheduler.call(&json!({"type": "TEARDOWN"}));
    table.samples("LAUNCH to TASK_RUNNING, full isolation", "ms", running, "<= 20 ms (real Mesos, none: 66)");
    table.samples("LAUNCH to TASK_FINISHED of `sleep 0.05`", "ms", finished, "");
}

/// From LAUNCH to TASK_RUNNING of tasks in that image, which its agent has.
pub(crate) fn launches_in_image(cluster: &Cluster, image: &str) -> Vec<Duration> {
    let mut scheduler = Scheduler::subscribe(cluster.at(1, 5050));
    let container = json!({"type": "MESOS", "mesos": {"image": {"type": "DOCKER", "docker": {"name": image}, "cached": true}}});
    let mut samples = Vec::new();
    for number in 0..LAUNCHES {
        let offer = scheduler.offer();
        let from = Instant::now();
        let task = format!("image-{number}");
        let command = json!({"shell": false, "value": "sleep", "arguments": ["sleep", "0.05"]});
        scheduler.launch(&offer, &task, command, container.clone());
        scheduler.await_state(&task, "TASK_RUNNING");
        samples.push(from.elapsed());
        scheduler.await_state(&task, "TASK_FINISHED");
    }
    scheduler.call(&json!({"type": "TEARDOWN"}));
    samples
}

struct Scheduler {
    master: SocketAddr,
    framework: Value,
    stream_id: String,
    stream: BufReader<TcpStream>,
    decoder: Decoder,
    events: VecDeque<Value>,
}

impl Scheduler {
    fn subscribe(master: SocketAddr) -> Scheduler {
        let body = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": {
            "user": "root", "name": "bench", "roles": ["*"], "capabilities": [{"type": "MULTI_ROLE"}],
        }}});
        let mut stream = BufReader::new(post(master, "", &body));
        let mut stream_id = String::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).expect("the master answers SUBSCRIBE");
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("mesos-stream-id")
            {
                stream_id = value.trim().to_owned();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let decoder = Decoder::new(16 << 20);
        let mut scheduler =
            Scheduler { master, framework: Value::Null, stream_id, stream, decoder, events: VecDeque::new() };
        let subscribed = scheduler.event(|event| event["type"] == "SUBSCRIBED");
        scheduler.framework = subscribed["subscribed"]["framework_id"].clone();
        scheduler
    }

    fn offer(&mut self) -> Value {
        let event = self.event(|event| event["type"] == "OFFERS");
        event["offers"]["offers"][0].clone()
    }

    fn launch(&mut self, offer: &Value, task: &str, command: Value, container: Value) {
        let resource =
            |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
        let mut info = json!({
            "name": task, "task_id": {"value": task}, "agent_id": offer["agent_id"],
            "resources": [resource("cpus", 0.1), resource("mem", 32.0)], "command": command,
        });
        if !container.is_null() {
            info["container"] = container;
        }
        self.call(&json!({"type": "ACCEPT", "accept": {
            "offer_ids": [offer["id"]],
            "operations": [{"type": "LAUNCH", "launch": {"task_infos": [info]}}],
            "filters": {"refuse_seconds": 0},
        }}));
    }

    fn await_state(&mut self, task: &str, state: &str) {
        let event = self.event(|event| {
            let status = &event["update"]["status"];
            status["task_id"]["value"] == task
                && (status["state"] == state || status["state"].as_str().is_some_and(is_failure))
        });
        let status = &event["update"]["status"];
        assert_eq!(status["state"], state, "{status}");
    }

    /// The next event that is wanted; updates are acknowledged on the way.
    fn event(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            while let Some(event) = self.events.pop_front() {
                let status = &event["update"]["status"];
                if !status["uuid"].is_null() {
                    let acknowledge = json!({"type": "ACKNOWLEDGE", "acknowledge": {
                        "agent_id": status["agent_id"], "task_id": status["task_id"], "uuid": status["uuid"],
                    }});
                    self.call(&acknowledge);
                }
                if wanted(&event) {
                    return event;
                }
            }
            self.read();
        }
    }

    fn read(&mut self) {
        let mut size = String::new();
        self.stream.read_line(&mut size).expect("the stream goes on");
        let size = usize::from_str_radix(size.trim(), 16).expect("a chunk");
        let mut chunk = vec![0; size + 2];
        self.stream.read_exact(&mut chunk).expect("a whole chunk");
        self.decoder.push(&chunk[..size]);
        while let Some(record) = self.decoder.next_record().expect("RecordIO") {
            self.events.push_back(serde_json::from_slice(&record).expect("JSON"));
        }
    }

    fn call(&self, call: &Value) {
        let mut call = call.clone();
        call["framework_id"] = self.framework.clone();
        let headers = format!("Mesos-Stream-Id: {}\r\nConnection: close\r\n", self.stream_id);
        let mut answer = String::new();
        let mut stream = post(self.master, &headers, &call);
        stream.read_to_string(&mut answer).expect("the master answers");
        assert!(answer.starts_with("HTTP/1.1 202"), "{call}: {answer}");
    }
}

fn is_failure(state: &str) -> bool {
    matches!(state, "TASK_FAILED" | "TASK_LOST" | "TASK_ERROR" | "TASK_DROPPED" | "TASK_KILLED")
}

fn post(to: SocketAddr, headers: &str, body: &Value) -> TcpStream {
    let body = body.to_string();
    let mut stream = TcpStream::connect(to).expect("the master listens");
    stream.set_nodelay(true).expect("a TCP socket");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a TCP socket");
    let request = format!(
        "POST /api/v1/scheduler HTTP/1.1\r\nHost: {to}\r\nContent-Type: application/json\r\n\
         Accept: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("the master reads");
    stream
}
