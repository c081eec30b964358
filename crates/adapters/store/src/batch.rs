use std::collections::BTreeSet;

use bytes::Bytes;

use crate::{Key, LimitError, Version};

/// The limits of the contract, which every backend keeps.
pub mod limit {
    /// The longest path, in bytes.
    pub const KEY: usize = 1024;
    /// The largest value, in bytes.
    pub const VALUE: usize = 64 * 1024;
    /// The most operations of one batch.
    pub const OPERATIONS: usize = 100;
    /// The most bytes of one batch, keys and values together.
    pub const BATCH: usize = 512 * 1024;
    /// The most records of one directory.
    pub const CHILDREN: usize = 1000;
}

/// Writes that happen together or not at all, each with the state it expects to find.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(crate) ops: Vec<Op>,
}

/// One compare-and-set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// The record.
    pub key: Key,
    /// The version it must have; none: it must not exist.
    pub expected: Option<Version>,
    /// What to make of it.
    pub action: Action,
}

/// What an operation does to its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Gives it this value.
    Put(Bytes),
    /// Removes it.
    Delete,
    /// Leaves it as it is.
    Check,
}

impl Batch {
    /// A batch of nothing.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Writes a record that must not exist.
    #[must_use]
    pub fn create(self, key: Key, value: impl Into<Bytes>) -> Batch {
        self.with(key, None, Action::Put(value.into()))
    }

    /// Writes a record that must have this version.
    #[must_use]
    pub fn update(self, key: Key, expected: Version, value: impl Into<Bytes>) -> Batch {
        self.with(key, Some(expected), Action::Put(value.into()))
    }

    /// Creates the record if `expected` is none, updates it otherwise.
    #[must_use]
    pub fn put(self, key: Key, expected: Option<Version>, value: impl Into<Bytes>) -> Batch {
        self.with(key, expected, Action::Put(value.into()))
    }

    /// Removes a record that must have this version.
    #[must_use]
    pub fn delete(self, key: Key, expected: Version) -> Batch {
        self.with(key, Some(expected), Action::Delete)
    }

    /// Writes nothing, but fails the batch unless the record has this version.
    #[must_use]
    pub fn check(self, key: Key, expected: Version) -> Batch {
        self.with(key, Some(expected), Action::Check)
    }

    /// How many operations it has.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether it does nothing.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Keys and values together, as [`limit::BATCH`] counts them.
    pub fn bytes(&self) -> usize {
        self.ops.iter().map(|op| op.key.as_str().len() + op.action.value().map_or(0, Bytes::len)).sum()
    }

    fn with(mut self, key: Key, expected: Option<Version>, action: Action) -> Batch {
        self.ops.push(Op { key, expected, action });
        self
    }

    /// Checks what can be checked without the records.
    pub(crate) fn check_limits(&self) -> Result<(), LimitError> {
        if self.ops.len() > limit::OPERATIONS {
            return Err(LimitError::Operations(self.ops.len()));
        }
        let mut keys = BTreeSet::new();
        for op in &self.ops {
            match op.action.value() {
                Some(value) if value.len() > limit::VALUE => {
                    return Err(LimitError::Value { key: op.key.clone(), bytes: value.len() });
                }
                _ => {}
            }
            if !keys.insert(&op.key) {
                return Err(LimitError::Repeated(op.key.clone()));
            }
        }
        match self.bytes() {
            bytes if bytes > limit::BATCH => Err(LimitError::Batch(bytes)),
            _ => Ok(()),
        }
    }
}

impl Action {
    fn value(&self) -> Option<&Bytes> {
        match self {
            Action::Put(value) => Some(value),
            Action::Delete | Action::Check => None,
        }
    }
}
