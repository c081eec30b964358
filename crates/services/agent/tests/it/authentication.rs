//! Who has to prove who they are to an agent, and how an agent proves who it is.

use http_kit::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http_kit::{Address, Body, Client, HeaderValue, Method, Timeouts};

use crate::master::Master;
use crate::node::{Dir, Node, config};

const ADMIN: &str = "Basic YWRtaW46czNjcmV0";

async fn ask(
    node: &Node,
    method: Method,
    path: &str,
    authorization: Option<&'static str>,
) -> http_kit::Fetched {
    let mut request = http_kit::Request::new(Body::full(r#"{"type":"GET_HEALTH"}"#));
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().unwrap();
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(authorization) = authorization {
        request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_static(authorization));
    }
    let (address, patience) = (Address::Tcp(node.address), crate::node::PATIENCE);
    Client::default().fetch(&address, request, Timeouts::default(), 1 << 20, patience).await.unwrap()
}

#[tokio::test]
async fn mm46_an_agent_refuses_who_proves_nothing_and_shows_its_master_who_it_is() {
    let (dir, mut master) = (Dir::new(), Master::start().await);
    let mut config = config(&dir, &master);
    let write = |name: &str, text: &str| {
        std::fs::create_dir_all(&dir.0).unwrap();
        std::fs::write(dir.0.join(name), text).unwrap();
        Some(dir.0.join(name))
    };
    config.http_credentials = write("credentials", "admin s3cret");
    config.credential = write("credential", r#"{"principal": "agent", "secret": "x"}"#);
    (config.authenticate_http_readonly, config.authenticate_http_readwrite) = (true, true);
    let node = Node::start(config).await;
    let session = master.session().await;
    assert_eq!(session.authorization.as_deref(), Some("Basic YWdlbnQ6eA=="));

    let (get, post) = (Method::GET, Method::POST);
    let readonly =
        ["/state", "/slave(1)/state", "/flags", "/metrics/snapshot", "/containers", "/files/browse"];
    let readwrite = ["/api/v1", "/slave(1)/api/v1"];
    let asked = readonly.iter().map(|path| (&get, *path, "mesos-agent-readonly"));
    for (method, path, realm) in
        asked.chain(readwrite.iter().map(|path| (&post, *path, "mesos-agent-readwrite")))
    {
        for authorization in [None, Some("Basic YWRtaW46bm9wZQ==")] {
            let reply = ask(&node, method.clone(), path, authorization).await;
            assert_eq!(
                (reply.status().as_u16(), &reply.body()[..]),
                (401, &b"401 Unauthorized."[..]),
                "{path}"
            );
            assert_eq!(reply.headers()[WWW_AUTHENTICATE], format!("Basic realm=\"{realm}\""), "{path}");
        }
        assert_ne!(ask(&node, method.clone(), path, Some(ADMIN)).await.status(), 401, "{path}");
    }
    for path in ["/health", "/version"] {
        assert_eq!(ask(&node, get.clone(), path, None).await.status(), 200, "{path}");
    }
    node.stop().await;
}
