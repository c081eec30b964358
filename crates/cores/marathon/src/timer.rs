use api_marathon::AppId;

use crate::id::InstanceId;

/// What is looked at again at some time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The app's delay after failures is over.
    Backoff(AppId),
    /// A kill is due, first or again.
    Kill(InstanceId),
    /// A launched task should be known to run by now.
    Launch(InstanceId),
    /// The instance has been unreachable for long enough for something.
    Unreachable(InstanceId),
    /// All tasks are compared with the master's.
    Reconcile,
}
