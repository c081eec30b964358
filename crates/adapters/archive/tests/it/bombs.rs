//! Archives that are small and would become much: in memory and in inodes.

use std::ops::ControlFlow;

use archive::{Error, Limits, Options};

use crate::builder::{Head, Tar};
use crate::{LIMITS, sandbox, text};

fn check(tar: &[u8], expect: &str) {
    let into = tempfile::tempdir().unwrap();
    let error = sandbox(tar, into.path()).map_err(|error| text(&error));
    assert_eq!(error, Err(expect.to_owned()));
}

#[test]
fn directories_that_names_imply_count_as_entries() {
    let named = |number: usize| format!("{number}{}/file", "/d".repeat(99));
    let mut tar = Tar::new();
    for number in 0..12 {
        let name = named(number);
        tar = tar.pax(&[("path", name.as_bytes())]).file("short", "");
    }
    check(&tar.end(), "the archive has more than 1000 entries");
}

#[test]
fn extended_headers_have_a_limit_together() {
    let value = vec![b'v'; 900_000];
    for kind in [b'x', b'g'] {
        let mut tar = Tar::new();
        for number in 0..3 {
            let key = format!("SCHILY.xattr.user.{number}");
            let body = key.len() + value.len() + 3 + 6;
            let mut record = format!("{body} {key}=").into_bytes();
            record.extend(&value);
            record.push(b'\n');
            assert_eq!(record.len(), body);
            tar = tar.entry(Head::new(kind, "x"), &record);
        }
        let into = tempfile::tempdir().unwrap();
        let limits = Limits { bytes: 1 << 30, ..LIMITS };
        let tar = tar.file("a", "").end();
        let error = archive::unpack_tar(&*tar, into.path(), &Options::sandbox(limits, None)).unwrap_err();
        assert!(text(&error).contains("extended headers"), "{error}");
    }
}

#[test]
fn an_entry_has_a_hundred_attributes_at_most() {
    let names: Vec<String> = (0..200).map(|number| format!("SCHILY.xattr.user.{number}")).collect();
    let records: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"v"[..])).collect();
    let into = tempfile::tempdir().unwrap();
    let error = sandbox(&Tar::new().pax(&records).file("a", "").end(), into.path()).unwrap_err();
    assert!(text(&error).contains("attributes"), "{error}");
}

#[test]
fn what_is_only_looked_through_has_the_same_limits() {
    let look = |tar: &[u8], reads: bool| {
        let limits = Limits { bytes: 1 << 10, entries: 10 };
        archive::tar_entries(tar, limits, |entry, contents| -> Result<ControlFlow<()>, Error> {
            assert!(entry.link.is_none_or(|link| link.as_os_str().len() <= 4095));
            if reads {
                contents.read_to_end(&mut Vec::new()).map_err(Error::Read)?;
            }
            Ok(ControlFlow::Continue(()))
        })
        .map_err(|error| text(&error))
    };
    let big = Tar::new().file("big", vec![1; 2 << 20]).file("b", "").end();
    for reads in [false, true] {
        let error = look(&big, reads).unwrap_err();
        assert!(error.contains("takes the contents beyond 1024 bytes"), "{error}");
    }
    let link = vec![b'l'; 100_000];
    let long = Tar::new().pax(&[("linkpath", &link)]).symlink("a", "b").end();
    let error = look(&long, false).unwrap_err();
    assert!(error.contains("is a link to a name of more than 4095 bytes"), "{error}");
}
