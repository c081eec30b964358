//! Images in files and behind addresses: docker save, OCI layouts.

use std::path::{Path, PathBuf};

use images::{Digest, Pull};
use serde_json::json;

use crate::fake::{Reply, Server, response};
use crate::kit::{Built, Here, Packed, Tar, docker, gzip, noise, oci, parse, read, write};

fn image() -> Built {
    let layers = [
        (Tar::default().file("a", "lower").end(), Packed::Plain),
        (Tar::default().file("a", "upper").end(), Packed::Plain),
    ];
    oci(&layers, json!({"Cmd": ["/a"]}))
}

/// As docker wrote it until version 24: a folder per layer, the second one's a link.
fn saved(image: &Built) -> Tar {
    let hex = image.config.hex();
    let blob = |digest: &Digest| &image.blobs[&digest.to_string()][..];
    let manifest = json!([{"Config": format!("{hex}.json"), "RepoTags": ["app:1"], "Layers": ["1/layer.tar", "2/layer.tar"]}]);
    Tar::default()
        .dir("1/")
        .file("1/layer.tar", blob(&image.layers[0]))
        .symlink("2/layer.tar", "../3/layer.tar")
        .file("3/layer.tar", blob(&image.layers[1]))
        .file(&format!("{hex}.json"), blob(&image.config))
        .file("manifest.json", manifest.to_string())
}

/// The files of an OCI layout.
fn layout(image: &Built) -> Vec<(String, Vec<u8>)> {
    let entry = json!({"mediaType": image.kind, "digest": image.digest(), "size": image.manifest.len()});
    let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
    let blobs = image.blobs.iter().map(|(digest, blob)| (blob_name(digest), blob.clone()));
    let manifest = (blob_name(&image.digest().to_string()), image.manifest.clone());
    let fixed = [
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion": "1.0.0"}"#.to_vec()),
        ("index.json".to_owned(), index.into_bytes()),
        manifest,
    ];
    fixed.into_iter().chain(blobs).collect()
}

fn blob_name(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

fn layout_tar(image: &Built) -> Tar {
    layout(image).iter().fold(Tar::default(), |tar, (name, content)| tar.file(name, content))
}

fn layout_dir(image: &Built, dir: &Path) -> PathBuf {
    for (name, content) in layout(image) {
        write(dir, &name, content);
    }
    dir.to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ma20_docker_save_and_layouts_are_the_same_image_however_they_are_packed() {
    let image = image();
    let dir = tempfile::tempdir().unwrap();
    let tars = [
        ("saved.tar", saved(&image).end(), None),
        ("saved.tgz", gzip(&saved(&image).end()), None),
        ("layout.tar", layout_tar(&image).end(), Some(image.digest())),
        ("layout.tar.gz", gzip(&layout_tar(&image).end()), Some(image.digest())),
        ("layout.tar.zst", zstd::encode_all(&layout_tar(&image).end()[..], 1).unwrap(), Some(image.digest())),
    ];
    let here = Here::new().await;
    let mut names = Vec::new();
    for (name, content, manifest) in tars {
        names.push((write(dir.path(), name, content), manifest));
    }
    names.push((layout_dir(&image, &dir.path().join("layout")), Some(image.digest())));
    for (path, manifest) in names {
        let (pulled, told) = here.pull_watched(text(&path)).await;
        let pulled = pulled.unwrap();
        assert_eq!((&pulled.id, &pulled.manifest), (&image.config, &manifest), "{path:?}");
        assert_eq!((read(&pulled, "a"), pulled.config.cmd[0].as_str()), ("upper".to_owned(), "/a"));
        assert_eq!(told.last().unwrap().layers_done, 2);
        here.comes_to_rest(2).await;
    }
    let file = format!("file://{}", dir.path().join("saved.tar").display());
    assert_eq!(here.pull(&file).await.unwrap().id, image.config);
    assert_eq!(here.images.list().len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_it_has_the_image_by_the_names_in_its_tarball() {
    let image = image();
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), "saved.tar", saved(&image).end());
    let here = Here::new().await;
    let name = parse("app:1");
    here.pull(text(&path)).await.unwrap();
    assert!(here.images.find(&name).is_none(), "what a tarball says of itself binds nobody");
    let how = Pull { names: true, ..Pull::default() };
    here.images.pull(&parse(text(&path)), how).await.unwrap();
    assert_eq!(here.images.find(&name).unwrap().id, image.config);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tarball_is_read_again_when_it_changed_or_when_forced() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (docker(&[Tar::default().file("v", "1")]), docker(&[Tar::default().file("v", "2")]));
    let path = write(dir.path(), "app.tar", layout_tar(&one).end());
    let here = Here::new().await;
    assert_eq!(read(&here.pull(text(&path)).await.unwrap(), "v"), "1");

    // The same size and time, but others inside: nothing says so, and only force looks.
    let time = std::fs::metadata(&path).unwrap().modified().unwrap();
    let damaged = vec![0; std::fs::metadata(&path).unwrap().len() as usize];
    std::fs::write(&path, damaged).unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    assert_eq!(read(&here.pull(text(&path)).await.unwrap(), "v"), "1");
    let error = here.force(text(&path)).await.unwrap_err().to_string();
    assert!(error.contains("neither index.json"), "{error}");

    write(dir.path(), "app.tar", layout_tar(&two).end());
    assert_eq!(read(&here.pull(text(&path)).await.unwrap(), "v"), "2");
    std::fs::remove_file(&path).unwrap();
    let error = here.pull(text(&path)).await.unwrap_err().to_string();
    assert!(error.contains(&format!("image {} does not exist", path.display())), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tarballs_that_cannot_be_used_are_told_why() {
    let dir = tempfile::tempdir().unwrap();
    let here = Here::new().await;
    let mut count = 0;
    let mut put = |content: Vec<u8>| {
        count += 1;
        write(dir.path(), &format!("{count}.tar"), content)
    };
    let two = json!([{"Config": "a.json", "RepoTags": ["a:1"]}, {"Config": "b.json", "RepoTags": ["b:1"]}]);
    let several = put(Tar::default().file("manifest.json", two.to_string()).end());
    here.refuse(text(&several), &["several images (a:1, b:1)", "docker save"]).await;
    let out = json!([{"Config": "../../etc/passwd", "Layers": []}]);
    let out = put(Tar::default().file("manifest.json", out.to_string()).end());
    here.refuse(text(&out), &["has no file"]).await;
    here.refuse(text(&put(b"no tar at all".to_vec())), &["the tarball", "cannot be used"]).await;
    here.refuse(text(&put(Vec::new())), &["the tarball", "cannot be used"]).await;
    here.refuse(text(&put(gzip(&vec![0; 9 << 20]))), &["more than 8388608 bytes when decompressed"]).await;

    // All of its layers: one that is good, and nobody's, might still be unpacked after the refusal.
    let mut lies = image();
    let other = Tar::default().file("a", "wrong").end();
    let named: Vec<String> = lies.layers.iter().map(ToString::to_string).collect();
    lies.blobs.extend(named.into_iter().map(|layer| (layer, other.clone())));
    let found = format!("found {}", Digest::of(&other));
    here.refuse(text(&put(layout_tar(&lies).end())), &["expected sha256:", &found]).await;
    here.refuse(text(&put(saved(&lies).end())), &["an unpacked layer", "expected sha256:", &found]).await;

    here.refuse(text(&dir.path().join("none.tar")), &["does not exist", "No such file"]).await;
    here.refuse(text(dir.path()), &["neither index.json"]).await;
    here.refuse("/dev/zero", &["not a regular file"]).await;
    let fifo = dir.path().join("fifo.tar");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    here.refuse(text(&fifo), &["not a regular file"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tarball_behind_an_address_is_asked_for_its_version() {
    let (image, tag) = (image(), "ETag: \"one\"\r\n");
    let tar = gzip(&saved(&image).end());
    let server = Server::start(move |request| match request.header("if-none-match") {
        "\"one\"" => response("304 Not Modified", tag, ""),
        _ => response("200 OK", tag, &tar),
    });
    let server = server.await;
    let here = Here::new().await;
    let url = format!("http://{}/app.tar.gz?x=y", server.address);
    let (pulled, told) = here.pull_watched(&url).await;
    assert_eq!(pulled.unwrap().id, image.config);
    assert_eq!((told.last().unwrap().layers_total, told.last().unwrap().layers_done), (2, 2));
    assert_eq!(here.pull(&url).await.unwrap().id, image.config);
    assert_eq!(here.force(&url).await.unwrap().id, image.config);
    let conditions: Vec<String> =
        server.requests().iter().map(|request| request.header("if-none-match").to_owned()).collect();
    assert_eq!(conditions, ["", "\"one\"", ""]);
    // A server that is away does not keep a task from starting.
    drop(server);
    assert_eq!(here.pull(&url).await.unwrap().id, image.config);
    assert!(here.force(&url).await.unwrap_err().to_string().contains("cannot connect"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tarball_that_breaks_off_goes_on_if_it_is_still_the_same() {
    let image = docker(&[Tar::default().file("noise", noise(100_000))]);
    let tar = layout_tar(&image).end();
    for changes in [false, true] {
        let tar = tar.clone();
        let rounds = std::sync::atomic::AtomicUsize::new(0);
        let server = Server::start(move |request| {
            let round = rounds.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let from = request.from();
            let version = if changes { round.min(1) } else { 0 };
            let (status, range) = match from {
                0 => ("200 OK", String::new()),
                _ => (
                    "206 Partial Content",
                    format!("Content-Range: bytes {from}-{}/{}\r\n", tar.len() - 1, tar.len()),
                ),
            };
            let reply = response(status, &format!("ETag: \"{version}\"\r\n{range}"), &tar[from..]);
            let Reply::Close(mut bytes) = reply else { unreachable!() };
            if round == 0 {
                bytes.truncate(bytes.len() / 2);
            }
            Reply::Close(bytes)
        });
        let server = server.await;
        let here = Here::new().await;
        let pulled = here.pull(&format!("http://{}/app.tar", server.address)).await;
        // Half of one and half of another are no tarball.
        assert_eq!(pulled.is_ok(), !changes, "{pulled:?}");
        assert!(server.requests()[1].from() > 0);
    }
}

#[tokio::test]
async fn an_address_without_a_tarball_is_told_so() {
    let server = Server::start(|_| response("404 Not Found", "", "")).await;
    let here = Here::new().await;
    here.refuse(&format!("http://{}/a.tar", server.address), &["does not exist", "404"]).await;
    let server = Server::start(|_| Reply::Hang(Vec::new())).await;
    here.refuse(&format!("http://{}/a.tar", server.address), &["no answer within"]).await;
    let server = Server::start(|_| response("200 OK", "", "<html>")).await;
    here.refuse(&format!("http://{}/a.tar", server.address), &["the tarball", "cannot be used"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_in_a_tarball_are_not_kept_without_limit() {
    let link = "l".repeat(100);
    let names = (0..6_000).map(|number| format!("{number:0>100}"));
    let tar = names.fold(saved(&image()), |tar, name| tar.symlink(&name, &link));
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), "names.tar.gz", gzip(&tar.end()));
    Here::new().await.refuse(text(&path), &["the names of its files have more than 1048576 bytes"]).await;
}
