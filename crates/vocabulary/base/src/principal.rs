use std::collections::BTreeMap;

/// Who somebody has proved to be. Mesos: `process::http::authentication::Principal`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Principal {
    /// The name, where the proof is a name and a secret.
    pub value: Option<String>,
    /// What a token claims, by claim: executors prove with it which container they are in.
    pub claims: BTreeMap<String, String>,
}

impl Principal {
    /// Somebody who proved a name.
    pub fn named(name: impl Into<String>) -> Self {
        Self { value: Some(name.into()), claims: BTreeMap::new() }
    }

    /// The name, if it is a name that was proved.
    pub fn name(&self) -> Option<&str> {
        self.value.as_deref()
    }
}
