use proptest::prelude::*;

use super::*;

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A reference and how it is written in full and in short.
fn check(text: &str, full: &str, familiar: &str) {
    let parsed = Reference::parse(text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((parsed.to_string().as_str(), parsed.familiar().as_str()), (full, familiar), "{text}");
    assert_eq!(Reference::parse(full).as_ref(), Ok(&parsed), "{full}");
    assert_eq!(Reference::parse(familiar).as_ref(), Ok(&parsed), "{familiar}");
}

fn refuse(text: &str, words: &str) {
    let error = Reference::parse(text).expect_err(text).to_string();
    assert!(error.contains(words), "{text}: {error}");
}

#[test]
fn names_are_completed_as_docker_completes_them() {
    check("busybox", "docker.io/library/busybox:latest", "busybox:latest");
    check("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36");
    check("index.docker.io/busybox:1", "docker.io/library/busybox:1", "busybox:1");
    check("mesosphere/marathon:v1", "docker.io/mesosphere/marathon:v1", "mesosphere/marathon:v1");
    check("a/b/c", "docker.io/a/b/c:latest", "a/b/c:latest");
    check("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest");
    check("localhost/x", "localhost/x:latest", "localhost/x:latest");
    check("localhost:5000/x:y", "localhost:5000/x:y", "localhost:5000/x:y");
    check("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b:latest", "127.0.0.1:5000/a/b:latest");
    check("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest");
    check("Registry/a:b", "Registry/a:b", "Registry/a:b");
    check("quay.io/a__b/c--d.e_f:T-1_.x", "quay.io/a__b/c--d.e_f:T-1_.x", "quay.io/a__b/c--d.e_f:T-1_.x");
}

#[test]
fn a_digest_stands_beside_a_tag_or_instead_of_it() {
    let digest = format!("sha256:{HEX}");
    check(&format!("a@{digest}"), &format!("docker.io/library/a@{digest}"), &format!("a@{digest}"));
    check(&format!("h.x/a:1@{digest}"), &format!("h.x/a:1@{digest}"), &format!("h.x/a:1@{digest}"));
    let Ok(Reference::Registry(named)) = Reference::parse(&format!("a:1@{digest}")) else { panic!() };
    assert_eq!(named.version(), digest);
    let long = format!("a@sha512:{HEX}{HEX}");
    check(&long, &format!("docker.io/library/{long}"), &long);
}

#[test]
fn tarballs_are_paths_and_addresses() {
    let check = |text: &str| check(text, text, text);
    check("/images/web.tar");
    check("/images/layout");
    check("https://host/x.tar");
    check("http://127.0.0.1:80/a/b.tar.gz?token=1");
    check("http://[::1]:80/b.tgz");
    assert_eq!(Reference::parse("file:///a%20b.tar"), Ok(Reference::File("/a b.tar".into())));
    assert_eq!(Reference::parse("file://localhost/a.tar"), Ok(Reference::File("/a.tar".into())));
}

#[test]
fn what_is_no_reference_is_told_why() {
    refuse("", "empty");
    refuse(HEX, "image id");
    refuse("Busybox", "lower case");
    refuse("a/B", "lower case");
    refuse("a b", "no repository");
    refuse("a/", "no repository");
    refuse("/", "absolute");
    refuse("-a", "no repository");
    refuse("a..b", "no repository");
    refuse("a___b", "no repository");
    refuse("a:", "no tag");
    refuse("a:.x", "no tag");
    refuse(&format!("a:{}", "x".repeat(129)), "no tag");
    refuse("a@sha256:12", "no digest");
    refuse("a@md5:d41d8cd98f00b204e9800998ecf8427e", "no digest");
    refuse("host.x:0/a", "no registry");
    refuse("host.x:99999/a", "no registry");
    refuse("host.x:/a", "no registry");
    refuse("-.x/a", "no registry");
    refuse("[zz]:1/a", "no registry");
    refuse(&format!("h.x/{}", "a".repeat(255)), "255 bytes");
    refuse(&"a".repeat(5000), "4096 bytes");
    refuse("/a/../b.tar", "..");
    refuse("file://host/a.tar", "file:///absolute/path");
    refuse("file://relative.tar", "file:///absolute/path");
    refuse("http://host/x", "ends in one of .tar");
    refuse("http://host", "ends in one of .tar");
    refuse("http://user:secret@host/x.tar", "without user and password");
    refuse("http://h st/x.tar", "http(s)://host");
    refuse("docker://busybox", "http://, https://, file://");
}

proptest! {
    /// Whatever is read is written and read again to the same reference.
    #[test]
    fn written_references_are_read_again(text in "[a-zA-Z0-9:/.@_\\[\\]-]{0,40}") {
        if let Ok(reference) = Reference::parse(&text) {
            for written in [reference.to_string(), reference.familiar()] {
                prop_assert_eq!(Reference::parse(&written), Ok(reference.clone()));
            }
        }
    }
}
