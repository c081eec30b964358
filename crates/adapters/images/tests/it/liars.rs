//! Registries that hang, lie and break off, and images that are not what they should be. After each
//! nothing is left, and the reason names what a user can do something about.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use images::{Digest, Limits};
use serde_json::json;

use crate::fake::{Reply, Request, Server, response, serve};
use crate::kit::{Built, DOCKER, Here, Packed, Tar, build, docker, gzip, noise, oci, read, web};

fn some() -> Built {
    docker(&[Tar::default().file("a", "a")])
}

fn blob_of(digest: &Digest) -> String {
    format!("/blobs/{digest}")
}

/// Pulls an image whose registry answers oddly; what is said has these words.
async fn refuse(
    image: Built,
    odd: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static,
    words: &[&str],
) {
    let server = Server::registry(image, odd).await;
    let here = Here::new().await;
    here.refuse(&format!("{}/team/app:1", server.address), words).await;
}

#[tokio::test]
async fn what_does_not_exist_is_named_with_its_registry() {
    let server =
        Server::start(|_| response("404 Not Found", "", r#"{"errors": [{"message": "unknown"}]}"#)).await;
    let name = format!("{}/team/app:1", server.address);
    let here = Here::new().await;
    here.refuse(&name, &[&name, &format!("registry {} (404)", server.address)]).await;
    assert_eq!(server.requests().len(), 1, "no reason to ask twice");
    drop(server);
    here.refuse(&name, &[&name, "the manifest", "cannot connect"]).await;
}

#[tokio::test]
async fn a_registry_that_refuses_says_whether_a_login_would_help() {
    refuse(some(), |_| Some(response("403 Forbidden", "", "")), &["(403)", "needs a login"]).await;
    let bearer = "WWW-Authenticate: Bearer realm=\"http://127.0.0.1:1/token\"\r\n";
    let token = move |_: &Request| Some(response("401 Unauthorized", bearer, ""));
    refuse(some(), token, &["a token of image", "127.0.0.1:1"]).await;
    let odd =
        |_: &Request| Some(response("401 Unauthorized", "WWW-Authenticate: Bearer realm=\"x y\"\r\n", ""));
    refuse(some(), odd, &["credentials for the registry", "no address"]).await;
}

#[tokio::test]
async fn a_registry_that_hangs_is_given_up_in_time() {
    refuse(some(), |_| Some(Reply::Hang(Vec::new())), &["the manifest", "no answer within"]).await;
    let image = some();
    let layer = blob_of(&image.layers[0]);
    let odd = move |request: &Request| {
        let size = 60;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\nabc");
        request.path.ends_with(&layer).then(|| Reply::Hang(head.into_bytes()))
    };
    let mut image = image.changed(|manifest| manifest["layers"][0]["size"] = json!(60));
    image.kind = DOCKER.to_owned();
    refuse(image, odd, &["layer sha256:", "after 3 of 60 bytes", "nothing came for"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_error_is_tried_again_and_a_limit_waited_for() {
    let image = some();
    let asked = AtomicUsize::new(0);
    let server = Server::registry(image, move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => Some(response("503 Service Unavailable", "", "")),
        1 => Some(response("429 Too Many Requests", "Retry-After: 0\r\n", "")),
        2 => Some(Reply::Close(Vec::new())),
        _ => None,
    });
    let server = server.await;
    let here = Here::new().await;
    here.pull(&format!("{}/app", server.address)).await.unwrap();
    let tired = |_: &Request| {
        Some(response(
            "429 Too Many Requests",
            "Retry-After: 0\r\n",
            r#"{"errors": [{"message": "slow down"}]}"#,
        ))
    };
    refuse(some(), tired, &["answers 429 (slow down)"]).await;
}

#[tokio::test]
async fn content_that_is_not_what_its_digest_says_is_not_kept() {
    let image = some();
    let (layer, config) = (image.layers[0].clone(), image.config.clone());
    let lie = |digest: &Digest, body: Vec<u8>| {
        let path = blob_of(digest);
        move |request: &Request| request.path.ends_with(&path).then(|| response("200 OK", "", &body))
    };
    let size = image.blobs[&layer.to_string()].len();
    let other = vec![7; size];
    let expected = format!("expected {layer}, found {}", Digest::of(&other));
    refuse(image.clone(), lie(&layer, other), &["layer sha256", &expected]).await;
    // One that unpacks well is not the right one either.
    let mut tar = gzip(&Tar::default().file("b", noise(4)).end());
    tar.resize(size, 0);
    let expected = format!("expected {layer}, found {}", Digest::of(&tar));
    refuse(image.clone(), lie(&layer, tar), &[&expected]).await;
    let expected = format!("expected {config}, found {}", Digest::of(b"{}"));
    refuse(image.clone(), lie(&config, b"{}".to_vec()), &["the configuration", &expected]).await;

    let server = Server::registry(image.clone(), |_| None).await;
    let wrong = Digest::of(b"another manifest");
    let here = Here::new().await;
    let found = format!("expected {wrong}, found {}", image.digest());
    here.refuse(&format!("{}/app@{wrong}", server.address), &["the manifest", &found]).await;
}

#[tokio::test]
async fn an_unpacked_layer_has_the_digest_that_the_configuration_names() {
    let image = some();
    let honest = Tar::default().file("a", "b").end();
    let mut other = oci(&[(honest.clone(), Packed::Gzip)], json!({}));
    // The configuration of one, the layer of the other.
    other.blobs.extend(image.blobs.clone());
    let other = other.changed(|manifest| {
        manifest["config"]["digest"] = json!(image.config);
        manifest["config"]["size"] = json!(image.blobs[&image.config.to_string()].len());
    });
    let found = format!("expected {}, found {}", image.diff_ids[0], Digest::of(&honest));
    refuse(other, |_| None, &["an unpacked layer", &found]).await;
}

#[tokio::test]
async fn lengths_are_what_was_announced() {
    let shorter = some().changed(|manifest| manifest["layers"][0]["size"] = json!(10));
    refuse(shorter, |_| None, &["announced were 10 bytes"]).await;
    let image = some();
    let longer = image.changed(|manifest| manifest["layers"][0]["size"] = json!(1_000_000));
    refuse(longer, |_| None, &["layer sha256", "announced were 1000000 bytes"]).await;
    // Two of them do not even have a sum.
    let layers = [Tar::default().file("a", "a"), Tar::default().file("b", "b")];
    let endless = docker(&layers).changed(|manifest| {
        manifest["layers"][0]["size"] = json!(u64::MAX);
        manifest["layers"][1]["size"] = json!(u64::MAX);
    });
    refuse(endless, |_| None, &["it has 18446744073709551615 bytes; allowed are"]).await;
    let huge = |request: &Request| {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n".to_owned();
        request.path.contains("/manifests/").then(|| Reply::Hang(head.into_bytes()))
    };
    refuse(some(), huge, &["longer than the 4194304 bytes allowed"]).await;
}

/// Serves a layer in parts: each connection breaks after so many bytes.
fn breaking(
    image: &Built,
    layer: &Digest,
    after: usize,
    ranges: bool,
) -> impl Fn(&Request) -> Option<Reply> + use<> {
    let (path, blob, image) = (blob_of(layer), image.blobs[&layer.to_string()].clone(), image.clone());
    let rounds = AtomicUsize::new(0);
    move |request| {
        if !request.path.ends_with(&path) {
            return None;
        }
        let round = rounds.fetch_add(1, Ordering::SeqCst) + 1;
        let mut asked = request.clone();
        if !ranges {
            asked.headers.clear();
        }
        let Reply::Close(mut whole) = serve(&image, &asked) else { unreachable!() };
        let head = whole.len() - (blob.len() - asked.from());
        let most = if ranges { after } else { after * round };
        whole.truncate(head + most);
        Some(Reply::Close(whole))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layer_that_breaks_off_goes_on_where_it_broke() {
    let content = noise(100_000);
    for ranges in [true, false] {
        let image = docker(&[Tar::default().file("noise", &content)]);
        let layer = image.layers[0].clone();
        let server = Server::registry(image.clone(), breaking(&image, &layer, 40_000, ranges)).await;
        let here = Here::new().await;
        let pulled = here.pull(&format!("{}/app", server.address)).await.unwrap();
        assert_eq!(std::fs::read(pulled.layers[0].join("noise")).unwrap(), content);
        let requests = server.requests();
        let froms: Vec<_> = requests
            .iter()
            .filter(|request| request.path.ends_with(&blob_of(&layer)))
            .map(Request::from)
            .collect();
        assert_eq!(froms, [0, 40_000, 80_000], "ranges: {ranges}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layer_that_always_breaks_off_is_given_up() {
    let image = docker(&[Tar::default().file("noise", noise(100_000))]);
    let odd = breaking(&image, &image.layers[0].clone(), 10, true);
    refuse(image, odd, &["layer sha256", "it broke off after 50 of 1", "the download broke off"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_to_another_host_gets_no_credentials() {
    let image = some();
    let blobs = image.clone();
    let store = Server::on("127.0.0.2", move |request| serve(&blobs, request)).await;
    let away = store.address.clone();
    let server = Server::registry(image, move |request| {
        if request.header("authorization").is_empty() {
            return Some(response("401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", ""));
        }
        let location = format!("Location: http://{away}{}\r\n", request.path);
        request.path.contains("/blobs/").then(|| response("307 Temporary Redirect", &location, ""))
    });
    let server = server.await;
    let here = Here::new().await;
    let credentials = Some(images::DockerConfig::basic(&server.address, "me", "secret"));
    let how = images::Pull { credentials, ..images::Pull::default() };
    let name = crate::kit::parse(&format!("{}/app", server.address));
    here.images.pull(&name, how).await.unwrap();
    assert_eq!(store.requests().len(), 2);
    assert!(store.requests().iter().all(|request| request.header("authorization").is_empty()));
}

#[tokio::test]
async fn manifests_that_cannot_be_run_are_refused_by_name() {
    let schema1 = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    let old = move |request: &Request| {
        let kind = format!("Content-Type: {schema1}\r\n");
        let body = r#"{"schemaVersion": 1, "fsLayers": []}"#;
        request.path.contains("/manifests/").then(|| response("200 OK", &kind, body))
    };
    refuse(some(), old, &["team/app:1", "schema 1"]).await;
    let foreign = some().changed(|manifest| manifest["layers"][0]["urls"] = json!(["http://127.0.0.1:1/x"]));
    refuse(foreign, |_| None, &["foreign"]).await;
    let odd = some().changed(|manifest| manifest["layers"][0]["mediaType"] = json!("application/x-lzma"));
    refuse(odd, |_| None, &["application/x-lzma", "allowed are"]).await;
    let more = some().changed(|manifest| {
        let layer = manifest["layers"][0].clone();
        manifest["layers"].as_array_mut().unwrap().push(layer);
    });
    refuse(more, |_| None, &["2 layers", "names 1"]).await;
    let windows = build(&[(Tar::default().end(), Packed::Gzip)], json!({}), "mips", DOCKER);
    refuse(windows, |_| None, &["not for this machine", "linux/mips"]).await;
    let text =
        |request: &Request| request.path.contains("/manifests/").then(|| response("200 OK", "", "<html>"));
    refuse(some(), text, &["the manifest", "cannot be used"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn layers_that_are_traps_are_refused_with_the_entry() {
    let escape = docker(&[Tar::default().file("../../evil", "x")]);
    refuse(escape, |_| None, &["cannot be unpacked", "../../evil"]).await;
    let behind = docker(&[Tar::default().symlink("link", "/tmp").entry(
        "hard",
        b'1',
        0o644,
        "/../../etc/passwd",
        b"",
    )]);
    refuse(behind, |_| None, &["cannot be unpacked", "hard"]).await;
    // 32 MiB of nothing in some KiB; the limit is 8 MiB.
    let bomb = docker(&[Tar::default().file("bomb", vec![0; 32 << 20])]);
    assert!(bomb.blobs[&bomb.layers[0].to_string()].len() < 1 << 20);
    refuse(bomb, |_| None, &["cannot be unpacked", "bomb", "8388608"]).await;
    let many = (0..1100).fold(Tar::default(), |tar, count| tar.file(&format!("f{count}"), ""));
    refuse(docker(&[many]), |_| None, &["cannot be unpacked", "more than 1000 entries"]).await;
    let mut cut = Tar::default().file("whole", noise(5000)).end();
    cut.truncate(3000);
    let image = oci(&[(cut, Packed::Gzip)], json!({}));
    refuse(image, |_| None, &["cannot be unpacked", "in the middle of"]).await;
    let odd = [0x42, 0x5a, 0x68, 0x39, 0, 0, 0, 0].to_vec();
    let image = oci(&[(odd, Packed::Plain)], json!({}));
    refuse(image, |_| None, &["gzip or zstd"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layer_behind_a_link_stays_within_the_image() {
    let outside = tempfile::tempdir().unwrap();
    let to = outside.path().to_str().unwrap();
    let inside: Vec<&str> = to[1..].split('/').collect();
    let folders = (1..=inside.len()).map(|count| inside[..count].join("/"));
    let tar = folders.fold(Tar::default(), |tar, folder| tar.dir(&folder));
    let image = docker(&[tar.symlink("link", to).file("link/evil", "x")]);
    let server = Server::registry(image, |_| None).await;
    let here = Here::new().await;
    let pulled = here.pull(&format!("{}/app", server.address)).await.unwrap();
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    assert_eq!(read(&pulled, &format!("{}/evil", &to[1..])), "x");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_may_hide_everything_and_have_a_layer_twice() {
    let (one, all) =
        (Tar::default().file("one", "1"), Tar::default().file(".wh..wh..opq", "").file("new", "n"));
    let image = docker(&[one.clone(), Tar::default().file("two", "2"), one.clone()]);
    let server = Server::registry(image, |_| None).await;
    let here = Here::new().await;
    let twice = here.pull(&format!("{}/twice", server.address)).await.unwrap();
    assert_eq!(twice.layers.len(), 2);
    assert!(twice.layers[1].join("one").exists());
    let server = Server::registry(docker(&[one, all]), |_| None).await;
    let hidden = here.pull(&format!("{}/hidden", server.address)).await.unwrap();
    assert_eq!(hidden.layers.len(), 1);
    assert!(hidden.layers[0].join("new").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_called_that() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIP a_full_disk_is_called_that: mounting needs root");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("small");
    std::fs::create_dir(&dir).unwrap();
    let size = Some(c"size=2m");
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("tmpfs", &dir, "tmpfs", flags, size).unwrap();
    let _mounted = Mounted(dir.clone());
    let image = docker(&[Tar::default().file("noise", noise(4 << 20))]);
    let server = Server::registry(image, |_| None).await;
    let here = Here::with(|config| config.dir = dir.join("images"), web()).await;
    let words = ["no space left", dir.to_str().unwrap()];
    here.refuse(&format!("{}/app", server.address), &words).await;
}

struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pulls_of_one_image_share_their_work() {
    let image = docker(&[Tar::default().file("noise", noise(50_000))]);
    let layer = image.layers[0].clone();
    let server = Server::registry(image, |_| None).await;
    let here = Here::new().await;
    let name = format!("{}/app", server.address);
    let pulls = (0..20).map(|_| here.pull(&name));
    for image in futures_util::future::join_all(pulls).await {
        image.unwrap();
    }
    assert_eq!((server.asked("/manifests/"), server.asked(&blob_of(&layer))), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layer_is_shared_but_not_the_failure_of_anothers_registry() {
    let image = docker(&[Tar::default().file("noise", noise(50_000))]);
    let layer = blob_of(&image.layers[0]);
    let asked = Arc::new(AtomicUsize::new(0));
    let (seen, path) = (asked.clone(), layer.clone());
    let bad = Server::registry(image.clone(), move |request| {
        request.path.ends_with(&path).then(|| {
            seen.fetch_add(1, Ordering::SeqCst);
            Reply::Hang(Vec::new())
        })
    });
    let (bad, good) = (bad.await, Server::registry(image, |_| None).await);
    let here = Here::new().await;
    let (name, other) = (format!("{}/app", bad.address), format!("{}/app", good.address));
    let failing = here.pull(&name);
    let waiting = async {
        crate::kit::until(|| asked.load(Ordering::SeqCst) > 0, || "the layer is not asked for".into()).await;
        here.pull(&other).await
    };
    let (failed, waited) = tokio::join!(failing, waiting);
    assert!(failed.is_err());
    assert_eq!(std::fs::read(waited.unwrap().layers[0].join("noise")).unwrap(), noise(50_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_that_is_dropped_ends_and_leaves_nothing() {
    let image = docker(&[Tar::default().file("noise", noise(1 << 20))]);
    let (layer, blob) = (blob_of(&image.layers[0]), image.blobs[&image.layers[0].to_string()].clone());
    let server = Server::registry(image, move |request| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", blob.len());
        let half = [head.as_bytes(), &blob[..blob.len() / 2]].concat();
        request.path.ends_with(&layer).then_some(Reply::Hang(half))
    });
    let server = server.await;
    let slow = web_client::Config { stall_timeout: Duration::from_secs(60), ..web() };
    let here = Here::with(|_| {}, slow).await;
    let name = format!("{}/app", server.address);
    let unpacking = || std::fs::read_dir(here.config.dir.join("incoming")).unwrap().count() > 0;
    {
        let (one, two) = (here.pull(&name), here.pull(&name));
        tokio::pin!(one);
        let started = crate::kit::until(unpacking, || "nothing is unpacked".into());
        tokio::select! {
            _ = &mut one => panic!("it cannot end"),
            _ = two => panic!("it cannot end"),
            () = started => {}
        }
        // One of two is gone; the other goes on.
        tokio::select! {
            _ = one => panic!("it cannot end"),
            () = tokio::time::sleep(Duration::from_millis(50)) => assert!(unpacking()),
        }
    }
    here.is_empty().await;
}

#[tokio::test]
async fn limits_are_the_configurations() {
    let limits = Limits { layer_bytes: 100, ..Limits::default() };
    let server = Server::registry(docker(&[Tar::default().file("a", noise(200))]), |_| None).await;
    let here = Here::with(|config| config.limits = limits, web()).await;
    here.refuse(&format!("{}/app", server.address), &["beyond 100 bytes"]).await;
}
