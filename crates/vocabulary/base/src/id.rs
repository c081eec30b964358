use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! string_id {
    ($(#[doc = $doc:literal])+ $name:ident) => {
        $(#[doc = $doc])+
        ///
        /// Cheap to clone: clones share one allocation.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps the id as it was received; which characters are allowed is the reader's rule.
            pub fn new(id: impl AsRef<str>) -> Self {
                Self(Arc::from(id.as_ref()))
            }

            /// The id as it is written on the wire.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl From<&str> for $name {
            fn from(id: &str) -> Self {
                Self::new(id)
            }
        }

        impl From<String> for $name {
            fn from(id: String) -> Self {
                Self(Arc::from(id))
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

string_id! {
    /// An agent's id, given by the master at first registration: `<master id>-S<n>`.
    AgentId
}
string_id! {
    /// A framework's id, given by the master at first subscription: `<master id>-<nnnn>`.
    FrameworkId
}
string_id! {
    /// An offer's id: `<master id>-O<n>`. Never reused.
    OfferId
}
string_id! {
    /// A task's id, chosen by its framework; unique among the framework's tasks.
    TaskId
}
string_id! {
    /// An executor's id, unique among the framework's executors on one agent. A command task's executor
    /// has the task's id.
    ExecutorId
}
string_id! {
    /// A container's id, given by the agent: a UUID.
    ContainerId
}
