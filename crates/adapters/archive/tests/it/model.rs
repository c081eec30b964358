//! Random layers against a model of names in a map, which knows nothing of descriptors.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use proptest::prelude::*;

use crate::builder::Tar;
use crate::{layer, root};

#[derive(Clone, Debug)]
enum Step {
    File(String, u8),
    Directory(String),
    Link(String, String),
}

/// What has a name: a directory, or a file by the number of its contents' owner.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Directory,
    File(usize),
}

/// Names in a map; contents beside, because hard links share them.
#[derive(Default)]
struct Model {
    names: BTreeMap<String, Node>,
    contents: Vec<u8>,
}

impl Model {
    /// Makes the directories above `name`. False if one of them is a file.
    fn make_above(&mut self, name: &str) -> bool {
        let above: Vec<_> = name.match_indices('/').map(|(at, _)| name[..at].to_owned()).collect();
        above.into_iter().all(|name| *self.names.entry(name).or_insert(Node::Directory) == Node::Directory)
    }

    /// Puts a file in the place of whatever is there.
    fn put(&mut self, name: &str, file: usize) {
        let below = format!("{name}/");
        self.names.retain(|known, _| known != name && !known.starts_with(&below));
        self.names.insert(name.to_owned(), Node::File(file));
    }

    /// Carries out a step. False if the archive is refused here.
    fn apply(&mut self, step: &Step) -> bool {
        match step {
            Step::File(name, contents) => {
                if !self.make_above(name) {
                    return false;
                }
                self.contents.push(*contents);
                self.put(name, self.contents.len() - 1);
            }
            Step::Directory(name) => {
                if !self.make_above(name) {
                    return false;
                }
                self.names.insert(name.clone(), Node::Directory);
            }
            Step::Link(name, target) => {
                let Some(Node::File(file)) = self.names.get(target).cloned() else { return false };
                if !self.make_above(name) {
                    return false;
                }
                // The target goes with the directory that the link takes the place of.
                if target.starts_with(&format!("{name}/")) {
                    return false;
                }
                self.put(name, file);
            }
        }
        true
    }
}

/// What is on disk, hard links told by their inodes.
fn found(top: &Path) -> BTreeMap<String, (Option<u8>, u64)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                found.insert(name, (None, 0));
                folders.push(path);
            } else {
                found.insert(name, (Some(fs::read(&path).unwrap()[0]), fs::metadata(&path).unwrap().ino()));
            }
        }
    }
    found
}

fn name() -> impl Strategy<Value = String> {
    "[ab](/[ab]){0,3}"
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (name(), any::<u8>()).prop_map(|(name, contents)| Step::File(name, contents)),
        3 => name().prop_map(Step::Directory),
        2 => (name(), name()).prop_map(|(name, target)| Step::Link(name, target)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn layers_are_what_a_model_says(steps in prop::collection::vec(step(), 1..25)) {
        if !root("layers_are_what_a_model_says") {
            return Ok(());
        }
        let (mut model, mut tar, mut refused) = (Model::default(), Tar::new(), false);
        for step in &steps {
            tar = match step {
                Step::File(name, contents) => tar.file(name, [*contents]),
                Step::Directory(name) => tar.dir(name),
                Step::Link(name, target) => tar.link(name, target),
            };
            if !model.apply(step) {
                refused = true;
                break;
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let unpacked = layer(&tar.end(), dir.path());
        prop_assert_eq!(unpacked.is_err(), refused, "{:?}", unpacked);
        if refused {
            return Ok(());
        }
        let found = found(dir.path());
        prop_assert!(found.keys().eq(model.names.keys()), "{:?} {:?}", found, model.names);
        let mut inodes = BTreeMap::new();
        for (name, node) in &model.names {
            let (contents, inode) = found[name];
            match node {
                Node::Directory => prop_assert_eq!(contents, None),
                Node::File(file) => {
                    prop_assert_eq!(contents, Some(model.contents[*file]), "{}", name);
                    prop_assert_eq!(*inodes.entry(*file).or_insert(inode), inode, "{}", name);
                }
            }
        }
    }
}
