//! What the next run of the agent has to know of nested containers: a small file each.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base::ContainerId;
use serde::{Deserialize, Serialize};

/// One nested container. Written before it is made, and again when it is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// `ROOT.CHILD`, and so on.
    pub(super) container_id: String,
    /// Whom it runs as, other than the agent's user.
    pub(super) user: Option<String>,
    /// On the host.
    pub(super) sandbox: PathBuf,
    #[serde(default)]
    pub(super) resources: Amounts,
    /// None while it is not over.
    #[serde(default)]
    pub(super) termination: Option<Termination>,
}

/// What a container was said to need, for those who ask; nothing is enforced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Amounts {
    pub(super) cpus: Option<f64>,
    pub(super) mem_bytes: Option<u64>,
}

/// How a container ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Termination {
    /// As wait(2) gives it; None if it is not known.
    pub(super) status: Option<i32>,
}

/// The records of one agent.
#[derive(Debug)]
pub(super) struct Store(PathBuf);

impl Store {
    pub(super) fn new(dir: &Path) -> Store {
        Store(dir.join("meta/nested"))
    }

    fn path(&self, id: &ContainerId) -> PathBuf {
        self.0.join(format!("{id}.json"))
    }

    /// Replaces the record whole: after a crash there is the old or the new one.
    pub(super) fn write(&self, record: &Record) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        let path = self.path(&ContainerId::new(&record.container_id));
        let fresh = path.with_extension("new");
        fs::write(&fresh, serde_json::to_vec(record)?)?;
        fs::rename(&fresh, &path)
    }

    /// A record that is left says of a container that is not there, which the next run finds out.
    pub(super) fn remove(&self, id: &ContainerId) {
        match fs::remove_file(self.path(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(container = %id, %error, "a record of a nested container is left");
            }
            _ => {}
        }
    }

    /// All records that can be understood; one that cannot is of no use, and is removed.
    pub(super) fn read(&self) -> io::Result<Vec<Record>> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut all = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let read = fs::read(&path)?;
            match serde_json::from_slice::<Record>(&read) {
                Ok(record) if self.path(&ContainerId::new(&record.container_id)) == path => all.push(record),
                found => {
                    let error = found.err().map(|error| error.to_string());
                    tracing::warn!(path = %path.display(), error, "a record of a nested container is no use");
                    fs::remove_file(&path)?;
                }
            }
        }
        all.sort_by(|a, b| a.container_id.cmp(&b.container_id));
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written() {
        let dir = std::env::temp_dir().join(format!("agent-nested-{}", std::process::id()));
        let store = Store::new(&dir);
        assert!(store.read().unwrap().is_empty());
        let mut record = Record {
            container_id: "a.b".into(),
            user: Some("u".into()),
            sandbox: "/s".into(),
            resources: Amounts { cpus: Some(0.1), mem_bytes: None },
            termination: None,
        };
        store.write(&record).unwrap();
        record.termination = Some(Termination { status: Some(768) });
        store.write(&record).unwrap();
        // What was being written when the machine stopped, and what somebody else left.
        fs::write(dir.join("meta/nested/a.c.new"), b"{").unwrap();
        fs::write(dir.join("meta/nested/a.d.json"), b"{}").unwrap();
        // Of an earlier version.
        fs::write(dir.join("meta/nested/z.z.json"), br#"{"container_id":"z.z","user":null,"sandbox":"/z"}"#)
            .unwrap();
        let found = store.read().unwrap();
        assert_eq!(found[0], record);
        assert_eq!((found.len(), found[1].termination), (2, None));
        assert_eq!(fs::read_dir(dir.join("meta/nested")).unwrap().count(), 2);
        store.remove(&"a.b".into());
        store.remove(&"a.b".into());
        assert_eq!(store.read().unwrap().len(), 1);
        fs::remove_dir_all(dir).unwrap();
    }
}
