//! Who has to prove who they are, and what those are told who do not.

use base::Auth;
use master::{Authenticate, Error};
use runtime::Ctx;

use crate::fixture::{Running, start_with};
use crate::raw::{Reply, Stream, exchange, request};
use crate::scheduler::SUBSCRIBE;

const JSON: (&str, &str) = ("Content-Type", "application/json");
const ADMIN: (&str, &str) = ("Authorization", "Basic YWRtaW46czNjcmV0");
const WRONG: (&str, &str) = ("Authorization", "Basic YWRtaW46bm9wZQ==");
const TOKEN: (&str, &str) = ("Authorization", "token=t");
const HEALTH: &str = r#"{"type":"GET_HEALTH"}"#;
const EVERYBODY: Authenticate =
    Authenticate { http_readonly: true, http_readwrite: true, http_frameworks: true, agents: true };

async fn start(token: Option<&str>) -> Running {
    start_with(|config| {
        std::fs::create_dir_all(&config.dir).unwrap();
        let path = config.dir.join("credentials");
        std::fs::write(&path, r#"{"credentials":[{"principal":"admin","secret":"s3cret"}]}"#).unwrap();
        config.credentials = Some(path);
        config.authenticate = EVERYBODY;
        config.auth = Auth::new(token.map(str::to_owned));
    })
    .await
}

async fn ask(master: &Running, path: &str, header: Option<(&str, &str)>) -> Reply {
    let is_call = path.contains("/api/v1") && !path.ends_with("agent");
    let body = if is_call { HEALTH } else { "" };
    let mut headers = vec![JSON];
    headers.extend(header);
    let method = if is_call || path == "/teardown" { "POST" } else { "GET" };
    exchange(master.address, method, path, &headers, body.as_bytes()).await
}

#[tokio::test]
async fn mm46_who_proves_nothing_is_refused_with_the_realm_of_mesos() {
    let master = start(None).await;
    let realms: [(&str, &[&str]); 4] = [
        (
            "mesos-master-readonly",
            &[
                "/state",
                "/master/state.json",
                "/state-summary",
                "/slaves",
                "/frameworks",
                "/tasks",
                "/roles",
                "/flags",
                "/metrics/snapshot",
            ],
        ),
        ("mesos-master-readwrite", &["/api/v1", "/master/api/v1", "/teardown"]),
        ("mesos-master-scheduler", &["/api/v1/scheduler", "/master/api/v1/scheduler"]),
        ("mesos-master-agent", &["/api/v1/agent"]),
    ];
    for (realm, paths) in realms {
        for path in paths {
            for header in [None, Some(WRONG), Some(TOKEN), Some(("Authorization", "Basic"))] {
                let reply = ask(&master, path, header).await;
                assert_eq!((reply.status, &*reply.body), (401, "401 Unauthorized."), "{path} {header:?}");
                let challenge = format!("Basic realm=\"{realm}\"");
                assert_eq!(reply.header("WWW-Authenticate"), Some(&*challenge), "{path}");
                assert_eq!(reply.header("Content-Type"), Some("text/plain; charset=utf-8"));
            }
            assert_ne!(ask(&master, path, Some(ADMIN)).await.status, 401, "{path}");
        }
    }
    for path in ["/health", "/version", "/redirect", "/", "/help", "/nope"] {
        for header in [None, Some(WRONG), Some(ADMIN)] {
            assert_ne!(ask(&master, path, header).await.status, 401, "{path} {header:?}");
        }
    }
    let healthy = ask(&master, "/api/v1", Some(ADMIN)).await;
    assert_eq!(&*healthy.body, r#"{"type":"GET_HEALTH","get_health":{"healthy":true}}"#);
}

#[tokio::test]
async fn mm46_a_framework_is_its_principal() {
    let master = start(None).await;
    let subscribe = async |principal: Option<&str>| {
        let mut body: serde_json::Value = serde_json::from_str(SUBSCRIBE).unwrap();
        if let Some(principal) = principal {
            body["subscribe"]["framework_info"]["principal"] = principal.into();
        }
        let bytes = request(
            master.address,
            "POST",
            "/api/v1/scheduler",
            &[JSON, ("Accept", "application/json"), ADMIN],
            body.to_string().as_bytes(),
        );
        Stream::open(master.address, &bytes).await
    };
    let mut other = subscribe(Some("other")).await;
    let text = "Failed to validate scheduler::Call: Authenticated principal 'admin' does not match principal \
                'other' set in `FrameworkInfo`";
    assert_eq!((other.status, other.rest().await), (400, text.as_bytes().to_vec()));
    for principal in [None, Some("admin")] {
        let mut stream = subscribe(principal).await;
        assert_eq!(stream.status, 200, "{principal:?}");
        assert_eq!(stream.record().await.unwrap()["type"], "SUBSCRIBED");
    }
}

#[tokio::test]
async fn mm46_the_clusters_token_opens_every_realm_and_credentials_stand_beside_it() {
    let master = start(Some("t")).await;
    for path in ["/state", "/api/v1", "/health", "/flags"] {
        for (header, passes) in
            [(None, false), (Some(WRONG), false), (Some(ADMIN), true), (Some(TOKEN), true)]
        {
            assert_eq!(ask(&master, path, header).await.status == 200, passes, "{path} {header:?}");
        }
    }
    let reply = ask(&master, "/health", None).await;
    assert_eq!(reply.body, "Expecting 'Authorization: token=<the cluster's token>'");
}

#[tokio::test]
async fn mm46_a_master_without_credentials_to_tell_clients_by_does_not_start() {
    let dir = std::env::temp_dir().join(format!("dcos-master-credentials-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let start = async |file: Option<&str>| {
        let mut config = master::Config::new([127, 0, 0, 1].into(), dir.clone());
        config.port = 0;
        config.authenticate.http_readonly = true;
        config.credentials = file.map(|text| {
            std::fs::write(dir.join("credentials"), text).unwrap();
            dir.join("credentials")
        });
        let (ctx, _stop, _readiness) = Ctx::for_tests();
        master::run(config, ctx).await.unwrap_err()
    };
    assert!(matches!(start(None).await, Error::NoCredentials(_)));
    let refused = start(Some("admin s3cret more")).await;
    assert!(matches!(refused, Error::Credentials { .. }) && !format!("{refused:?}").contains("s3cret"));
    std::fs::remove_dir_all(&dir).unwrap();
}
