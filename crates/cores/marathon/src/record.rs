use std::collections::BTreeMap;
use std::sync::Arc;

use api_marathon::{AppDefinition, AppId, TaskFailure};
use base::Wall;
use serde::{Deserialize, Serialize};

use crate::id::InstanceId;
use crate::instance::Instance;
use crate::plan::Plan;

/// One change of the durable state.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Keep this under its key, in place of what was there.
    Put(Box<Record>),
    /// Forget what is there, if anything.
    Delete(Key),
}

/// What Marathon keeps, in small pieces. Its JSON is what the store holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Record {
    /// A version of an app.
    App(Arc<AppDefinition>),
    /// Which version of an app is wanted. An app without this record is deleted; versions may be left for its
    /// instances.
    Current {
        /// The app.
        id: AppId,
        /// The version.
        version: Wall,
    },
    /// An instance of which Mesos may know a task.
    Instance(Instance),
    /// A running deployment.
    Deployment(DeploymentRecord),
    /// The last failure of a task of an app.
    Failure(TaskFailure),
    /// The framework's id, given by the first master. Losing it would double every task.
    Framework {
        /// The id.
        id: String,
    },
}

/// A deployment and how far it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeploymentRecord {
    /// Its id, a UUID.
    pub id: String,
    /// Its version; also that of the definitions that it brought.
    pub version: Wall,
    /// What it does.
    pub plan: Plan,
    /// Index of the current step, from 0 on.
    pub step: usize,
    /// For each app the versions before and after it; `None` if the app did not, or shall not, exist.
    pub changes: BTreeMap<AppId, (Option<Wall>, Option<Wall>)>,
}

/// Where a record is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Key {
    App(AppId, Wall),
    Current(AppId),
    Instance(InstanceId),
    Deployment(String),
    Failure(AppId),
    Framework,
}

impl Record {
    /// The key of the record.
    pub fn key(&self) -> Key {
        match self {
            Record::App(app) => Key::App(app.id.clone(), app.version),
            Record::Current { id, .. } => Key::Current(id.clone()),
            Record::Instance(instance) => Key::Instance(instance.id.clone()),
            Record::Deployment(deployment) => Key::Deployment(deployment.id.clone()),
            Record::Failure(failure) => Key::Failure(failure.app_id.clone()),
            Record::Framework { .. } => Key::Framework,
        }
    }
}

impl Key {
    /// The path below Marathon's own directory of the store. Apps and instances are spread over 256 directories, so
    /// that none grows beyond what the store allows.
    pub fn path(&self) -> String {
        let app_dir = |id: &AppId| format!("apps/{:02x}/{}", shard(id), id.safe_path());
        match self {
            Key::App(id, version) => format!("{}/versions/{version}", app_dir(id)),
            Key::Current(id) => format!("{}/current", app_dir(id)),
            Key::Failure(id) => format!("{}/failure", app_dir(id)),
            Key::Instance(id) => format!("instances/{}/{id}", id.shard()),
            Key::Deployment(id) => format!("deployments/{id}"),
            Key::Framework => "framework".to_owned(),
        }
    }
}

/// FNV-1a of the id, folded to a byte.
fn shard(id: &AppId) -> u8 {
    let hash = id
        .as_str()
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash.to_be_bytes().into_iter().fold(0, |folded, byte| folded ^ byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_paths_of_their_own() {
        let app = AppId::new("/shop/cart");
        let at = Wall::from_millis(1_480_587_330_123);
        let instance = InstanceId::fresh(&app, &mut base::Rng::seeded(5));
        let keys = [
            Key::App(app.clone(), at),
            Key::Current(app.clone()),
            Key::Failure(app),
            Key::Instance(instance),
            Key::Deployment("d".to_owned()),
            Key::Framework,
        ];
        let paths: std::collections::BTreeSet<String> = keys.iter().map(Key::path).collect();
        assert_eq!(paths.len(), keys.len());
        assert!(
            keys[0].path().ends_with("/shop_cart/versions/2016-12-01T10:15:30.123Z"),
            "{}",
            keys[0].path()
        );
    }
}
