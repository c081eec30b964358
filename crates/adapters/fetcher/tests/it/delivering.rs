//! Local files, archives, owners.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use fetcher::{Step, Uri};

use crate::server::{Answer, Server, response};
use crate::{Kit, cached, uri};

/// Makes archives of a small tree in `at`, one of each kind.
fn archives(at: &Path) {
    let script = "mkdir t && echo hello > t/f && cd t && for a in tar tar.gz tgz tar.bz2 tbz2 tar.xz txz; do \
                  tar -caf ../a.$a f; done && tar -I zstd -cf ../a.tar.zst f && zip -q ../a.zip f && \
                  gzip -c f > ../f.txt.gz && zstd -q -c f > ../f.txt.zst && rm -r ../t";
    let made = Command::new("sh").args(["-ec", script]).current_dir(at).status().unwrap();
    assert!(made.success());
}

#[tokio::test]
async fn archives_of_all_kinds_are_extracted() {
    let kit = Kit::new();
    let from = kit.dir.path().join("from");
    fs::create_dir(&from).unwrap();
    archives(&from);
    let names = kit.names(&from);
    assert_eq!(names.len(), 11);
    let served = from.clone();
    let server = Server::start(move |head, _| {
        Answer::Close(response("200 OK", "", fs::read(served.join(&head.path[1..])).unwrap()))
    })
    .await;
    for name in &names {
        let result = if name.starts_with("f.") { "f.txt" } else { "f" };
        for (wish, keeps_archive) in [
            (uri(server.url(&format!("/{name}"))), true),
            (uri(from.join(name).to_str().unwrap()), true),
            // What comes from a cache is not there as an archive.
            (cached(server.url(&format!("/{name}"))), false),
            (cached(format!("file://{}", from.join(name).display())), false),
        ] {
            kit.fetch(std::slice::from_ref(&wish)).await.unwrap_or_else(|error| panic!("{wish:?}: {error}"));
            assert_eq!(kit.read(result), "hello\n", "{wish:?}");
            assert_eq!(kit.sandbox().join(name).exists(), keeps_archive, "{wish:?}");
            for entry in kit.names(&kit.sandbox()) {
                fs::remove_file(kit.sandbox().join(entry)).unwrap();
            }
        }
    }
    // Only if it is wanted, and not what is to be executed.
    let value = from.join("a.tar").to_str().unwrap().to_owned();
    kit.fetch(&[Uri { extract: false, ..uri(&*value) }, Uri { executable: true, ..uri(&*value) }])
        .await
        .unwrap();
    assert_eq!(kit.names(&kit.sandbox()), ["a.tar"]);
    // At the top of the sandbox, wherever the archive is.
    kit.fetch(&[Uri { output_file: Some("sub/x.tgz".into()), ..uri(from.join("a.tgz").to_str().unwrap()) }])
        .await
        .unwrap();
    assert_eq!(kit.names(&kit.sandbox()), ["a.tar", "f", "sub"]);
    assert!(kit.told.lock().unwrap().iter().any(|progress| progress.step == Step::Extract));
}

#[tokio::test]
async fn bad_archives_say_why() {
    let kit = Kit::new();
    let path = |name: &str| kit.dir.path().join(name).to_str().unwrap().to_owned();
    let check = async |name: &str, expect: &str| {
        let error = kit.fetch(&[cached(path(name))]).await.unwrap_err();
        assert_eq!(error, format!("cannot fetch {}: {expect}", path(name)));
        assert!(kit.names(&kit.sandbox()).is_empty());
    };
    fs::write(path("text.tar.gz"), "this is no archive, but a page that says why it is not there".repeat(20))
        .unwrap();
    check("text.tar.gz", "the archive cannot be extracted: not a valid archive at byte 0: not a tar").await;
    fs::write(path("empty.tar"), "").unwrap();
    check("empty.tar", "the archive cannot be extracted: not a valid archive at byte 0: it is empty").await;
    fs::write(path("text.zip"), "no zip").unwrap();
    check(
        "text.zip",
        "the archive cannot be extracted: not a valid archive at byte 0: not a zip, or cut at its end",
    )
    .await;
    fs::write(path("text.gz"), "no gz").unwrap();
    check("text.gz", "the archive cannot be extracted: not a valid archive at byte 0: it is not compressed, though its name says so").await;
    let script = "echo x > x && tar --absolute-names --transform 's,x,../x,' -cf up.tar x && head -c 100000 /dev/urandom | gzip > r && head -c 500 r > cut.gz";
    assert!(Command::new("sh").args(["-ec", script]).current_dir(kit.dir.path()).status().unwrap().success());
    check("up.tar", "the archive cannot be extracted: entry \"../x\" has \"..\" in its name").await;
    let error = kit.fetch(&[cached(path("cut.gz"))]).await.unwrap_err();
    assert!(error.contains("the archive cannot be extracted: read the archive: "), "{error}");
    assert!(kit.names(&kit.sandbox()).is_empty());
}

#[tokio::test]
async fn a_bomb_ends_before_the_disk_is_full() {
    let make = Kit::new();
    let script = "head -c 100000000 /dev/zero > z && tar -czf bomb.tgz z && gzip -c z > bomb.gz && rm z";
    assert!(
        Command::new("sh").args(["-ec", script]).current_dir(make.dir.path()).status().unwrap().success()
    );
    let disk = rustix::fs::statvfs(make.dir.path()).unwrap();
    let free = disk.f_bavail * disk.f_frsize;
    // So much has to stay free that only some 50 MB may be written.
    let kit = Kit::with(|config| config.reserve_bytes = free.saturating_sub(50_000_000));
    for name in ["bomb.tgz", "bomb.gz"] {
        let path = make.dir.path().join(name);
        let error = kit.fetch(&[cached(path.to_str().unwrap())]).await.unwrap_err();
        let expect = format!("cannot fetch {}: it has more than the ", path.display());
        assert!(error.starts_with(&expect), "{error}");
        let expect = format!(" that may still be written to the disk of {}", kit.sandbox().display());
        assert!(error.ends_with(&expect), "{error}");
    }
}

#[tokio::test]
async fn local_files_keep_their_mode_and_what_is_none_is_refused() {
    let kit = Kit::new();
    let program = kit.dir.path().join("program");
    fs::write(&program, "#!/bin/sh").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o777)).unwrap();
    kit.fetch(&[uri(program.to_str().unwrap())]).await.unwrap();
    let copy = fs::metadata(kit.sandbox().join("program")).unwrap();
    assert_eq!(copy.permissions().mode() & 0o7777, 0o755);
    let error = kit.fetch(&[uri("file:///none/such")]).await.unwrap_err();
    assert_eq!(
        error,
        "cannot fetch file:///none/such: /none/such cannot be read: No such file or directory (os error 2)"
    );
    let error = kit.fetch(&[uri("/usr/bin")]).await.unwrap_err();
    assert_eq!(error, "cannot fetch /usr/bin: /usr/bin is a directory, not a file");
    let hash = |hash: &str| Uri { sha256: Some(hash.into()), ..uri(program.to_str().unwrap()) };
    let error = kit.fetch(&[hash(&"0".repeat(64))]).await.unwrap_err();
    assert!(error.contains("its SHA-256 is "), "{error}");
    kit.fetch(&[hash(error.split("its SHA-256 is ").nth(1).unwrap().split(',').next().unwrap())])
        .await
        .unwrap();
}

#[tokio::test]
async fn nothing_leaves_the_sandbox_by_links_that_an_archive_brought() {
    let kit = Kit::new();
    let script = "ln -s .. out && tar -cf links.tar out && echo x > x";
    assert!(Command::new("sh").args(["-ec", script]).current_dir(kit.dir.path()).status().unwrap().success());
    let path = |name: &str| kit.dir.path().join(name).to_str().unwrap().to_owned();
    let error = kit
        .fetch(&[uri(path("links.tar")), Uri { output_file: Some("out/escaped".into()), ..uri(path("x")) }])
        .await
        .unwrap_err();
    let expect = "the file cannot be made in the sandbox: entry \"out/escaped\" lies behind a symbolic link that leads out of the target directory";
    assert_eq!(error, format!("cannot fetch {}: {expect}", path("x")));
    assert!(!kit.dir.path().join("escaped").exists());
}

#[tokio::test]
async fn all_of_it_is_the_tasks_users_who_reads_no_secrets() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIP all_of_it_is_the_tasks_users_who_reads_no_secrets: needs root");
        return;
    }
    let kit = Kit::new();
    fs::set_permissions(kit.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let from = kit.dir.path().join("from");
    fs::create_dir(&from).unwrap();
    archives(&from);
    let secret = kit.dir.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let server = Server::start(|_, _| Answer::Close(response("200 OK", "", "x"))).await;
    let file = |name: &str| from.join(name).to_str().unwrap().to_owned();
    let uris = [
        uri(server.url("/direct")),
        cached(server.url("/through")),
        Uri { output_file: Some("made/for/it".into()), ..uri(server.url("/y")) },
        uri(file("a.tgz")),
        cached(file("f.txt.gz")),
        uri(file("f.txt.zst")),
    ];
    let owner = Some((1234, 2345));
    kit.fetch_for(&uris, owner).await.unwrap();
    for name in ["direct", "through", "made", "made/for", "made/for/it", "a.tgz", "f", "f.txt", "f.txt.zst"] {
        let meta = fs::metadata(kit.sandbox().join(name)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (1234, 2345), "{name}");
    }
    let error = kit.fetch_for(&[uri(secret.to_str().unwrap())], owner).await.unwrap_err();
    let secret = secret.display();
    assert_eq!(
        error,
        format!("cannot fetch {secret}: {secret} cannot be read: Permission denied (os error 13)")
    );
}
