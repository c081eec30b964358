//! A durable value that may be larger than a record of the registry: it is written in pieces of a new
//! generation, and counts from the moment when the head names that generation.

use std::collections::BTreeMap;

use prost::Message;

use crate::registry::{self, RecoverError, RegistryOp};

/// The record that says which pieces count.
const HEAD: &str = "head";
/// The longest piece, in bytes; the store takes 64 KiB.
const PIECE: usize = 48 * 1024;
/// How many pieces go into one write; the store takes 512 KiB.
const PIECES_AT_ONCE: usize = 8;
/// How many old pieces are removed with one write; the store takes 100 changes.
const REMOVALS: usize = 80;
/// The longest value, in bytes.
pub(crate) const LONGEST: usize = 64 * PIECE;

/// Fields are only ever added.
#[derive(Clone, PartialEq, Message)]
struct Head {
    #[prost(uint64, tag = "1")]
    generation: u64,
    #[prost(uint32, tag = "2")]
    pieces: u32,
}

/// The pieces of one value as they are when all that was asked for is written.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    generation: u64,
    /// The names of all there are.
    names: Vec<String>,
}

impl Pieces {
    /// The value that the records, by name, hold; empty if there are none.
    ///
    /// # Errors
    /// If they do not fit together.
    pub(crate) fn recover(records: &BTreeMap<String, Vec<u8>>) -> Result<(Pieces, Vec<u8>), RecoverError> {
        let names = records.keys().filter(|name| *name != HEAD).cloned().collect();
        let Some(head) = records.get(HEAD) else { return Ok((Pieces { generation: 0, names }, Vec::new())) };
        let head = Head::decode(&head[..])
            .map_err(|source| RecoverError::Decode { key: registry::maintenance_key(HEAD), source })?;
        let mut value = Vec::new();
        for n in 0..head.pieces {
            let name = name(head.generation, n as usize);
            let Some(piece) = records.get(&name) else {
                return Err(RecoverError::Missing { key: registry::maintenance_key(&name) });
            };
            value.extend_from_slice(piece);
        }
        Ok((Pieces { generation: head.generation, names }, value))
    }

    /// The writes, in their order, that make `value` the value. It is durable with the last, and what was
    /// before counts until then.
    pub(crate) fn replace(&mut self, value: &[u8]) -> Vec<Vec<RegistryOp>> {
        self.generation += 1;
        let old = std::mem::take(&mut self.names);
        let mut writes = Vec::new();
        let mut write = Vec::new();
        for (n, piece) in value.chunks(PIECE).enumerate() {
            let name = name(self.generation, n);
            write.push(registry::put_maintenance(&name, piece.to_vec()));
            self.names.push(name);
            if write.len() == PIECES_AT_ONCE {
                writes.push(std::mem::take(&mut write));
            }
        }
        let head = Head { generation: self.generation, pieces: self.names.len() as u32 };
        write.push(registry::put_maintenance(HEAD, head.encode_to_vec()));
        let (removed, kept) = old.split_at(old.len().min(REMOVALS));
        write.extend(removed.iter().map(|name| registry::remove_maintenance(name)));
        self.names.extend_from_slice(kept);
        writes.push(write);
        writes
    }
}

fn name(generation: u64, n: usize) -> String {
    format!("{generation}.{n}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The registry: what was written, by name.
    #[derive(Clone, Default)]
    struct Kept(BTreeMap<String, Vec<u8>>);

    impl Kept {
        fn write(&mut self, ops: Vec<RegistryOp>) {
            assert!(ops.len() <= 100);
            let bytes: usize =
                ops.iter().map(|op| op.key.len() + op.value.as_ref().map_or(0, Vec::len)).sum();
            assert!(bytes < 500 * 1024);
            for op in ops {
                let name = op.key.split_once('/').unwrap().1.to_owned();
                match op.value {
                    Some(value) => self.0.insert(name, value),
                    None => self.0.remove(&name),
                };
            }
        }
    }

    #[test]
    fn a_value_is_the_old_or_the_new_one_whenever_writing_ends() {
        let values: Vec<Vec<u8>> = [0, 1, PIECE, PIECE + 1, 9 * PIECE, LONGEST, 5, 0]
            .iter()
            .enumerate()
            .map(|(n, length)| vec![n as u8 + 1; *length])
            .collect();
        let mut kept = Kept::default();
        let mut before = Vec::new();
        for value in values {
            let writes = Pieces::recover(&kept.0).unwrap().0.replace(&value);
            for end in 0..=writes.len() {
                let mut crashed = kept.clone();
                writes[..end].iter().cloned().for_each(|write| crashed.write(write));
                let (mut pieces, found) = Pieces::recover(&crashed.0).unwrap();
                assert_eq!(found, if end == writes.len() { value.clone() } else { before.clone() });
                // What the crash left is swept by the next writes.
                pieces.replace(b"x").into_iter().for_each(|write| crashed.write(write));
                pieces.replace(b"x").into_iter().for_each(|write| crashed.write(write));
                assert_eq!(crashed.0.len(), 2);
            }
            writes.into_iter().for_each(|write| kept.write(write));
            before = value;
        }
    }

    #[test]
    fn a_missing_piece_is_told() {
        let mut kept = Kept::default();
        Pieces::default().replace(b"abc").into_iter().for_each(|write| kept.write(write));
        kept.0.remove("1.0");
        let error = Pieces::recover(&kept.0).unwrap_err();
        assert_eq!(error.to_string(), "registry record maintenance/1.0 is missing");
    }
}
