use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use api_marathon::AppId;
use base::{Rng, TaskId};
use serde::{Deserialize, Serialize};

const INFIX: &str = ".instance-";
const TASK_SUFFIX: &str = "._app.";

/// The id of an instance, `<app id with _ for />.instance-<uuid>`. It keeps its id when its task is replaced; the
/// task's id is the instance's with `._app.<attempt>` behind.
///
/// Marathon: `Instance.Id`, `Task.TaskIdWithIncarnation`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceId(Arc<str>);

impl InstanceId {
    /// A new id for an instance of `app`.
    pub(crate) fn fresh(app: &AppId, rng: &mut Rng) -> InstanceId {
        InstanceId(Arc::from(format!("{}{INFIX}{}", app.safe_path(), rng.uuid())))
    }

    /// Reads an instance's id, or that of one of its tasks; `None` if it cannot be Marathon's.
    pub fn parse(text: &str) -> Option<InstanceId> {
        let end = text.find(TASK_SUFFIX).unwrap_or(text.len());
        let (app, uuid) = text[..end].rsplit_once(INFIX)?;
        (!app.is_empty() && uuid.len() == 36).then(|| InstanceId(Arc::from(&text[..end])))
    }

    /// Instance and attempt that a task's id names; `None` if it is no id of ours.
    pub(crate) fn of_task(task: &TaskId) -> Option<(InstanceId, u32)> {
        let (_, attempt) = task.as_str().rsplit_once(TASK_SUFFIX)?;
        Some((InstanceId::parse(task.as_str())?, attempt.parse().ok()?))
    }

    /// The id of the instance's task in this attempt.
    pub(crate) fn task(&self, attempt: u32) -> TaskId {
        TaskId::from(format!("{}{TASK_SUFFIX}{attempt}", self.0))
    }

    /// The app it belongs to.
    pub fn app(&self) -> AppId {
        let path = self.0.rsplit_once(INFIX).map_or(&*self.0, |(path, _)| path);
        AppId::new(path.replace('_', "/"))
    }

    /// The first two digits of the uuid: spreads instances over directories of the store.
    pub(crate) fn shard(&self) -> &str {
        self.0.rsplit_once(INFIX).and_then(|(_, uuid)| uuid.get(..2)).unwrap_or("00")
    }

    /// The id as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl Borrow<str> for InstanceId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instance_and_task_ids_name_each_other() {
        let app = AppId::new("/shop/cart.v2");
        let instance = InstanceId::fresh(&app, &mut Rng::seeded(1));
        assert!(instance.as_str().starts_with("shop_cart.v2.instance-"));
        assert_eq!(instance.app(), app);
        let task = instance.task(3);
        assert!(task.as_str().ends_with("._app.3"));
        assert_eq!(InstanceId::of_task(&task), Some((instance.clone(), 3)));
        assert_eq!(InstanceId::parse(task.as_str()), Some(instance));
    }

    #[test]
    fn foreign_ids_are_nobodys() {
        for foreign in ["", "x", "a.instance-", "a.instance-short._app.1", ".instance-xx", "ct:1:0:job:"] {
            assert_eq!(InstanceId::of_task(&TaskId::from(foreign)), None, "{foreign}");
        }
    }
}
