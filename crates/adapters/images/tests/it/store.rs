//! What is kept, held, collected, and found again.

use images::{Images, OpenError, RemoveError};
use web_client::WebClient;

use crate::fake::Server;
use crate::kit::{Built, Here, Tar, docker, noise, parse, read, web, write};

/// An image of about this many bytes.
fn sized(name: &str, bytes: usize) -> Built {
    docker(&[Tar::default().file(name, noise(bytes))])
}

async fn serve(image: Built, name: &str) -> (Server, String) {
    let server = Server::registry(image, |_| None).await;
    let reference = format!("{}/{name}:1", server.address);
    (server, reference)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_and_holds_outlive_the_process() {
    let (server, name) = serve(docker(&[Tar::default().file("a", "a")]), "app").await;
    let here = Here::new().await;
    let image = here.pull(&name).await.unwrap();
    here.images.hold(&image, &"one".into()).await.unwrap();
    here.images.hold(&image, &"two".into()).await.unwrap();
    here.images.release(&"two".into()).await.unwrap();
    drop((server, image));

    // Nothing was written at closing: it is as after kill -9.
    let here = here.reopened().await;
    assert_eq!(here.images.holders(), ["one".into()]);
    let found = here.images.find(&parse(&name)).unwrap();
    assert_eq!(read(&found, "a"), "a");
    drop(found);
    match here.images.remove(&parse(&name)).await {
        Err(RemoveError::Held { holders, .. }) => assert_eq!(holders, ["one"]),
        other => panic!("{other:?}"),
    }
    assert!(here.images.prune(&[]).await.unwrap().references.is_empty());
    here.images.release(&"one".into()).await.unwrap();
    here.images.release(&"one".into()).await.unwrap();
    let removed = here.images.remove(&parse(&name)).await.unwrap();
    assert_eq!((removed.references, removed.layers), (vec![name.clone()], 1));
    assert!(matches!(here.images.remove(&parse(&name)).await, Err(RemoveError::NotFound { .. })));
    here.is_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_owns_the_directory() {
    let here = Here::new().await;
    let config = here.config.clone();
    let other = Images::open(config, WebClient::new(web()));
    // The same process waits until its own work is done.
    let soon = tokio::time::timeout(std::time::Duration::from_millis(100), other).await;
    assert!(soon.is_err());
    let Here { images, mut config, root } = here;
    drop(images);
    Images::open(config.clone(), WebClient::new(web())).await.unwrap();
    config.dir = root.path().join("other");
    write(&config.dir, "format", "99\n");
    let error = Images::open(config, WebClient::new(web())).await.err().unwrap();
    assert!(matches!(&error, OpenError::Format { found, .. } if found == "99\n"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ma21_beyond_the_quota_the_least_recently_used_goes_but_nothing_in_use() {
    let here = Here::with(|config| config.quota_bytes = 250_000, web()).await;
    let mut servers = Vec::new();
    let mut names = Vec::new();
    for name in ["one", "two", "three", "four"] {
        let (server, name) = serve(sized(name, 100_000), name).await;
        servers.push(server);
        names.push(name);
    }
    let there = || here.images.list().into_iter().map(|image| image.reference).collect::<Vec<_>>();
    let has = |expected: &[&String]| {
        let mut expected: Vec<String> = expected.iter().map(|name| name.to_string()).collect();
        expected.sort();
        assert_eq!(there(), expected);
    };
    let one = here.pull(&names[0]).await.unwrap();
    here.images.hold(&one, &"c1".into()).await.unwrap();
    drop(one);
    drop(here.pull(&names[1]).await.unwrap());
    has(&[&names[0], &names[1]]);
    // The first is older, but held.
    let three = here.pull(&names[2]).await.unwrap();
    has(&[&names[0], &names[2]]);
    // The third is in this test's hand; together they exceed the quota.
    drop(here.pull(&names[3]).await.unwrap());
    has(&[&names[0], &names[2], &names[3]]);
    drop(three);
    // An end of use is when room is made.
    here.images.release(&"c1".into()).await.unwrap();
    has(&[&names[2], &names[3]]);
    here.comes_to_rest(2).await;
    let kept = parse(&names[3]);
    let pruned = here.images.prune(&[kept]).await.unwrap();
    assert_eq!((pruned.references, pruned.layers), (vec![names[2].clone()], 1));
    assert!(pruned.bytes > 100_000);
    here.comes_to_rest(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_process_left_is_removed_at_open() {
    let (_server, name) = serve(docker(&[Tar::default().file("a", "a")]), "app").await;
    let here = Here::new().await;
    drop(here.pull(&name).await.unwrap());
    let dir = here.config.dir.clone();
    write(&dir, "incoming/1/fs/half/a/layer", "x");
    write(&dir, "trash/1/fs/old", "x");
    write(&dir, "layers/sha256-short/fs/a", "x");
    write(&dir, &format!("layers/sha256-{}/fs/no-record", "0".repeat(64)), "x");
    write(&dir, "holds/torn", "{");
    write(&dir, "images/torn.json", "{\"reference\"");
    let here = here.reopened().await;
    here.comes_to_rest(1).await;
    assert!(here.images.holders().is_empty());
    assert_eq!(here.images.list().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layer_that_may_not_be_on_the_disk_does_not_outlive_a_boot() {
    let (_server, name) = serve(docker(&[Tar::default().file("a", "a")]), "app").await;
    let here = Here::new().await;
    let image = here.pull(&name).await.unwrap();
    let record = image.layers[0].parent().unwrap().join("layer.json");
    drop(image);
    let text = || std::fs::read_to_string(&record).unwrap();
    crate::kit::until(|| text().contains("\"unsynced_in_boot\":null"), text).await;
    let here = here.reopened().await;
    assert_eq!(here.images.list().len(), 1);
    let other = text().replace("\"unsynced_in_boot\":null", "\"unsynced_in_boot\":\"another\"");
    std::fs::write(&record, other).unwrap();
    let here = here.reopened().await;
    here.is_empty().await;
    assert_eq!(read(&here.pull(&name).await.unwrap(), "a"), "a");
}

#[tokio::test]
async fn names_of_holders_are_file_names() {
    let (_server, name) = serve(docker(&[]), "empty").await;
    let here = Here::new().await;
    let image = here.pull(&name).await.unwrap();
    assert!(image.layers.is_empty());
    for odd in ["", ".", "..", "../x", "a/b", &"x".repeat(201)] {
        let error = here.images.hold(&image, &odd.into()).await.unwrap_err().to_string();
        assert!(error.contains("cannot hold an image"), "{odd}: {error}");
    }
    here.images.hold(&image, &"3f6ad9d2-1f0e.child_1".into()).await.unwrap();
}
