//! What changes a tree of links from one whole state to another: steps, the journal that they are written down in
//! before the first is done, and what a generation of the tree remembers about itself.
//!
//! Every step is idempotent. Nothing here says which steps a change needs (`pkgpanda-core` does) or carries one
//! out (`activation` does).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The journal of a change that is under way, below the root; absent otherwise.
pub const JOURNAL: &str = "install_progress";
/// The lock of every command that writes, below the root.
pub const LOCK: &str = "pkgpanda.lock";
/// The directory of generations, below the root.
pub const GENERATIONS: &str = "generations";
/// The one link below the root that decides which generation is active.
pub const CURRENT: &str = "current";
/// What a generation consists of, a file of it: [`ActiveSet`].
pub const SET: &str = "set.json";
/// What became of a generation, a file of it: [`GenerationState`].
pub const STATE: &str = "state.json";
/// A file of a generation that is not active yet: units may have been stopped for it.
pub const STOPPING: &str = "stopping";
/// Where in a generation replacements wait for the flip.
pub const STAGED: &str = "staged";
/// Where in the directory of units replacements wait for the flip.
pub const STAGED_UNITS: &str = ".pkgpanda-staged";
/// What was made on the host beside the tree, below the root: [`Made`].
pub const MADE: &str = "made.json";

/// Links by their directory (relative, `""` for the top), then by the text that all targets of a group begin with,
/// then by name: the link's target is that text and its name. Names are sorted.
pub type Links = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// Where a step's path begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The root.
    Root,
    /// The directory of units ([`ActiveSet::unit_directory`]).
    Units,
    /// The generation that is being made; nobody sees it before the flip.
    Generation,
}

/// One idempotent change. Paths and directories are relative to the place, without `.` and `..`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Makes a directory (mode 0755) where there is none.
    Directory {
        /// Below what.
        place: Place,
        /// Which one.
        path: String,
    },
    /// Makes a regular file (mode 0644) of this text.
    File {
        /// Below what.
        place: Place,
        /// Which one.
        path: String,
        /// Its contents.
        text: String,
    },
    /// Makes a link where there is nothing, or this link already.
    Link {
        /// Below what.
        place: Place,
        /// Which one.
        path: String,
        /// Where it points.
        target: String,
    },
    /// Makes links of one directory: each points to `prefix` and its name.
    Links {
        /// Below what.
        place: Place,
        /// Their directory.
        directory: String,
        /// What all targets begin with.
        prefix: String,
        /// Their names.
        names: Vec<String>,
    },
    /// Puts links that were staged in the place of whatever is there.
    PutLinks {
        /// Below what, and of what the staged ones are taken.
        place: Place,
        /// Their directory.
        directory: String,
        /// What all targets begin with.
        prefix: String,
        /// Their names.
        names: Vec<String>,
    },
    /// Puts a directory that was staged in the place of the link that is there.
    PutDirectory {
        /// Below what, and of what the staged one is taken.
        place: Place,
        /// Which one.
        path: String,
    },
    /// Removes links, those that still point to `prefix` and their name.
    RemoveLinks {
        /// Below what.
        place: Place,
        /// Their directory.
        directory: String,
        /// What all targets begin with.
        prefix: String,
        /// Their names.
        names: Vec<String>,
    },
    /// Removes all links of one directory that point below one of `prefixes`.
    RemoveOurs {
        /// Below what.
        place: Place,
        /// Their directory.
        directory: String,
        /// What their targets begin with.
        prefixes: Vec<String>,
    },
    /// Removes a directory if nothing is in it.
    RemoveDirectory {
        /// Below what.
        place: Place,
        /// Which one.
        path: String,
    },
    /// Removes whatever is at the path, with all that is in it.
    RemoveTree {
        /// Below what.
        place: Place,
        /// Which one.
        path: String,
    },
}

impl Step {
    /// Where the step's path begins.
    pub fn place(&self) -> Place {
        match self {
            Step::Directory { place, .. }
            | Step::File { place, .. }
            | Step::Link { place, .. }
            | Step::Links { place, .. }
            | Step::PutLinks { place, .. }
            | Step::PutDirectory { place, .. }
            | Step::RemoveLinks { place, .. }
            | Step::RemoveOurs { place, .. }
            | Step::RemoveDirectory { place, .. }
            | Step::RemoveTree { place, .. } => *place,
        }
    }

    /// What takes this step back, if it is one that is taken back by itself: directories and links. What is made in
    /// a generation goes with it.
    pub fn inverse(&self) -> Option<Step> {
        match self {
            Step::Directory { place, path } => {
                Some(Step::RemoveDirectory { place: *place, path: path.clone() })
            }
            Step::Links { place, directory, prefix, names } => Some(Step::RemoveLinks {
                place: *place,
                directory: directory.clone(),
                prefix: prefix.clone(),
                names: names.clone(),
            }),
            _ => None,
        }
    }
}

/// A user that a package runs as.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Account {
    /// The user.
    pub user: String,
    /// The group that has to be one of the user's; none: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// A directory for a package's state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StateDirectory {
    /// The absolute path.
    pub path: String,
    /// Whose it is; none: root's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// Which units a change stops and starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitActions {
    /// Units of the old set that are stopped before the flip, and started again if it does not come to it.
    pub stop: Vec<String>,
    /// Units of the new set that are started after the flip.
    pub start: Vec<String>,
    /// Unit files changed: systemd has to read them again.
    pub reload: bool,
}

/// How a root changes from the active set to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Builds the new generation, where nobody sees it.
    pub build: Vec<Step>,
    /// Adds what only the new set has: directories and links. What of it turns out to be there already is left out.
    pub before: Vec<Step>,
    /// Replaces and removes what the new set has differently or no more, after the flip. Nothing of it needs space.
    pub after: Vec<Step>,
    /// Units to stop and start.
    pub units: UnitActions,
    /// Where links of units go (absolute); none: nowhere.
    pub unit_directory: Option<String>,
    /// Links that begin with one of these are ours: they may be replaced.
    pub ours: Vec<String>,
    /// Users that have to be there.
    pub accounts: Vec<Account>,
    /// Directories that have to be there.
    pub state_directories: Vec<StateDirectory>,
    /// Both sets are the same: no new generation is needed.
    pub unchanged: bool,
    /// The root was laid out by the original: its own files and directories may be replaced by links.
    pub takeover: bool,
}

/// How a root goes away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// Units that are stopped first.
    pub stop: Vec<String>,
    /// Where links of units are (absolute); none: nowhere.
    pub unit_directory: Option<String>,
    /// What has to go outside of the root.
    pub steps: Vec<Step>,
}

/// What is written down before the first change, and removed after the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// 1.
    pub format: u32,
    /// What is under way.
    pub change: Change,
    /// Where links of units go.
    pub unit_directory: Option<String>,
    /// Units to stop and start.
    pub units: UnitActions,
}

/// What a journal is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// From one set to another.
    Activation {
        /// The generation that was active.
        from: Option<u64>,
        /// The one that is to be.
        to: u64,
        /// Steps before the flip that have to be taken back if it does not come to it.
        before: Vec<Step>,
        /// Steps after the flip.
        after: Vec<Step>,
    },
    /// To nothing at all. Begun, it is always finished.
    Uninstall {
        /// All that has to go but the root.
        steps: Vec<Step>,
        /// What else has to go.
        made: Made,
    },
}

impl Journal {
    /// The format that is written.
    pub const FORMAT: u32 = 1;

    /// What is left to be done about the tree, given the number of the active generation: an activation that has
    /// flipped goes on, any other is taken back, last step first.
    pub fn recovery(&self, current: Option<u64>) -> Vec<Step> {
        match &self.change {
            Change::Activation { to, before, after, .. } => match current == Some(*to) {
                true => after.clone(),
                false => before.iter().rev().filter_map(Step::inverse).collect(),
            },
            Change::Uninstall { steps, .. } => steps.clone(),
        }
    }
}

/// What pkgpanda made on the host beside the tree, and takes away with it. Written down before it is made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Made {
    /// Users.
    pub users: Vec<String>,
    /// Directories with all that is in them, absolute.
    pub directories: Vec<String>,
}

/// What became of a generation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GenerationState {
    /// The generation to return to if this one is no good.
    pub last_good: Option<u64>,
    /// Its checks passed.
    pub proven: bool,
}

impl GenerationState {
    /// The last good generation of the one that follows generation `number` of this state: itself if it is proven, else
    /// the one before. An unproven generation that has none before it is better than nothing.
    pub fn next_last_good(&self, number: u64) -> u64 {
        match self {
            Self { proven: false, last_good: Some(last_good) } => *last_good,
            _ => number,
        }
    }
}

/// A package of an active set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivePackage {
    /// Its id.
    pub id: String,
    /// Names of packages that it requires.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<String>,
    /// A hash of what is in it, for packages whose id does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contents: Option<String>,
    /// It brings files into the directories that all share, beside units.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
}

/// What `set.json` of a generation holds: what is needed to change to another set, and to repair the tree.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveSet {
    /// 1.
    pub format: u32,
    /// Packages by name.
    pub packages: BTreeMap<String, ActivePackage>,
    /// Roles of the host, sorted.
    pub roles: Vec<String>,
    /// The root as links name it.
    pub root: String,
    /// Where links of units go (absolute); none: nowhere.
    pub unit_directory: Option<String>,
    /// Directories below the root that hold none of the links.
    pub directories: Vec<String>,
    /// Links below the root.
    pub links: Links,
    /// Links below the directory of units.
    pub unit_links: Links,
    /// Units, each with the name of its package.
    pub units: BTreeMap<String, String>,
}

impl ActiveSet {
    /// The format that is written.
    pub const FORMAT: u32 = 1;

    /// Ids of its packages, sorted.
    pub fn ids(&self) -> Vec<&str> {
        let mut ids: Vec<&str> = self.packages.values().map(|package| package.id.as_str()).collect();
        ids.sort_unstable();
        ids
    }

    /// What the targets of links that are ours begin with.
    pub fn ours(root: &str, repository: &str) -> Vec<String> {
        vec![format!("{root}/active/"), format!("{repository}/")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_returned_to() {
        for (proven, last_good, expected) in
            [(true, Some(3), 5), (false, Some(3), 3), (true, None, 5), (false, None, 5)]
        {
            assert_eq!(GenerationState { last_good, proven }.next_last_good(5), expected);
        }
    }

    #[test]
    fn a_journal_reads_back_and_goes_the_way_that_the_flip_decides() {
        let links = |names: &[&str]| Step::Links {
            place: Place::Root,
            directory: "bin".to_owned(),
            prefix: "/r/active/a/bin/".to_owned(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        let directory = Step::Directory { place: Place::Root, path: "bin".to_owned() };
        let after = vec![Step::RemoveTree { place: Place::Root, path: "generations/1".to_owned() }];
        let journal = Journal {
            format: Journal::FORMAT,
            change: Change::Activation {
                from: Some(1),
                to: 2,
                before: vec![directory, links(&["x"])],
                after: after.clone(),
            },
            unit_directory: None,
            units: UnitActions::default(),
        };
        let text = serde_json::to_string(&journal).unwrap();
        assert_eq!(serde_json::from_str::<Journal>(&text).unwrap(), journal);
        assert_eq!(journal.recovery(Some(2)), after);
        let back = journal.recovery(Some(1));
        assert_eq!(back, journal.recovery(None));
        assert!(matches!(&back[..], [Step::RemoveLinks { names, .. }, Step::RemoveDirectory { path, .. }]
            if names == &["x"] && path == "bin"));
    }
}
