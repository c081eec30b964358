//! A scheduler that does what a test says.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::raw::{Reply, Stream, exchange, request};

const PATH: &str = "/api/v1/scheduler";

/// The SUBSCRIBE of a framework with one role and no failover timeout.
pub(crate) const SUBSCRIBE: &str = r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"root","name":"golden","roles":["golden"],"capabilities":[{"type":"MULTI_ROLE"},{"type":"RESERVATION_REFINEMENT"},{"type":"PARTITION_AWARE"}],"failover_timeout":0,"checkpoint":true}}}"#;

/// A subscribed framework.
pub(crate) struct Scheduler {
    address: SocketAddr,
    stream: Option<Stream>,
    pub(crate) framework_id: String,
    pub(crate) stream_id: String,
}

/// Sends a SUBSCRIBE and gives its stream back, whatever comes on it.
pub(crate) async fn open(address: SocketAddr, body: &str) -> Stream {
    let headers = [("Content-Type", "application/json"), ("Accept", "application/json")];
    Stream::open(address, &request(address, "POST", PATH, &headers, body.as_bytes())).await
}

impl Scheduler {
    pub(crate) async fn subscribe(address: SocketAddr) -> Scheduler {
        Scheduler::subscribe_as(address, SUBSCRIBE).await
    }

    pub(crate) async fn subscribe_as(address: SocketAddr, body: &str) -> Scheduler {
        let mut stream = open(address, body).await;
        assert_eq!(stream.status, 200);
        let stream_id = stream.header("Mesos-Stream-Id").expect("a stream id").to_owned();
        let first = stream.record().await.expect("an event");
        assert_eq!(first["type"], "SUBSCRIBED", "{first}");
        let framework_id = first["subscribed"]["framework_id"]["value"].as_str().unwrap().to_owned();
        Scheduler { address, stream: Some(stream), framework_id, stream_id }
    }

    /// The next event of this type; others are passed over.
    pub(crate) async fn event(&mut self, kind: &str) -> Value {
        let stream = self.stream.as_mut().expect("connected");
        loop {
            let event = stream.record().await.unwrap_or_else(|| panic!("the stream ended before {kind}"));
            if event["type"] == kind {
                return event;
            }
        }
    }

    /// The next event, None at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        self.stream.as_mut().expect("connected").record().await
    }

    /// Makes a call of this type; `member` is what it carries.
    pub(crate) async fn call(&self, kind: &str, member: Value) -> Reply {
        let mut body = json!({"type": kind, "framework_id": {"value": self.framework_id}});
        if !member.is_null() {
            body[kind.to_lowercase()] = member;
        }
        let headers = [("Content-Type", "application/json"), ("Mesos-Stream-Id", &*self.stream_id)];
        exchange(self.address, "POST", PATH, &headers, body.to_string().as_bytes()).await
    }

    /// Accepts an offer for one command task.
    pub(crate) async fn launch(&self, offer: &Value, task_id: &str, cpus: f64) -> Reply {
        let role = offer["allocation_info"]["role"].clone();
        let resource = |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}, "allocation_info": {"role": role}});
        let task = json!({
            "name": task_id, "task_id": {"value": task_id}, "agent_id": offer["agent_id"],
            "resources": [resource("cpus", cpus), resource("mem", 32.0)],
            "command": {"shell": true, "value": "sleep 1000"},
        });
        let accept = json!({
            "offer_ids": [offer["id"]],
            "operations": [{"type": "LAUNCH", "launch": {"task_infos": [task]}}],
            "filters": {"refuse_seconds": 0.0},
        });
        self.call("ACCEPT", accept).await
    }

    /// Closes its connection.
    pub(crate) fn disconnect(&mut self) {
        self.stream = None;
    }
}
