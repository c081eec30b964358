//! Routes follow the state, by subscription.

use http_kit::{Body, Method};

use crate::cluster::{Cluster, app, echoing, request};

#[tokio::test]
async fn routes_come_and_go_with_agents_and_apps() {
    let cluster = Cluster::start().await;
    cluster.wait_for("/service/web/", 404, "no app has the label DCOS_SERVICE_NAME=web").await;
    let (one, two) = (echoing("one").await, echoing("two").await);
    cluster.add_agent("m-S0", one.address);
    cluster.wait_for("/agent/m-S0/", 200, "one GET /\n").await;
    cluster.remove_agent("m-S0");
    cluster.wait_for("/agent/m-S0/", 404, "no agent has the id 'm-S0'").await;
    cluster.set_apps(vec![app("web", &[one.address])]);
    cluster.wait_for("/service/web/", 200, "one GET /\n").await;
    cluster.set_apps(vec![app("web", &[two.address])]);
    cluster.wait_for("/service/web/", 200, "two GET /\n").await;
    cluster.set_apps(vec![]);
    cluster.wait_for("/service/web/", 404, "").await;
    cluster.stop().await;
}

#[tokio::test]
async fn many_events_cause_few_readings() {
    let cluster = Cluster::start().await;
    let web = echoing("web").await;
    cluster.set_apps(vec![app("web", &[web.address])]);
    cluster.wait_for("/service/web/", 200, "web").await;
    let before = cluster.story.readings();
    // In one go: the router is not polled in between on this single-threaded runtime.
    for _ in 0..50 {
        cluster.set_apps(vec![app("web", &[web.address])]);
    }
    cluster.set_apps(vec![]);
    cluster.wait_for("/service/web/", 404, "").await;
    let readings = cluster.story.readings() - before;
    assert!((1..10).contains(&readings), "{readings} readings");
    cluster.stop().await;
}

#[tokio::test]
async fn the_last_routes_stay_while_the_components_are_away() {
    let mut cluster = Cluster::start().await;
    let (one, two) = (echoing("one").await, echoing("two").await);
    cluster.add_agent("m-S0", one.address);
    cluster.set_apps(vec![app("web", &[one.address])]);
    cluster.wait_for("/agent/m-S0/", 200, "one").await;
    cluster.wait_for("/service/web/", 200, "one").await;

    let (master, marathon) = (cluster.master.take().unwrap(), cluster.marathon.take().unwrap());
    let addresses = (master.address, marathon.address);
    master.kill().await;
    marathon.kill().await;
    assert_eq!(cluster.get("/mesos/").await.0, 502);
    assert_eq!(cluster.get("/marathon/ping").await.0, 502);
    assert_eq!(cluster.get("/agent/m-S0/").await.0, 200);
    assert_eq!(cluster.get("/service/web/").await.0, 200);

    // What changed meanwhile is seen when they are back.
    cluster.remove_agent("m-S0");
    cluster.set_apps(vec![app("web", &[two.address])]);
    cluster.start_master(addresses.0).await;
    cluster.start_marathon(addresses.1).await;
    cluster.wait_for("/agent/m-S0/", 404, "").await;
    cluster.wait_for("/service/web/", 200, "two").await;
    assert_eq!(cluster.call(request(Method::POST, "/mesos/x", Body::full("y"))).await.0, 200);
    cluster.stop().await;
}
