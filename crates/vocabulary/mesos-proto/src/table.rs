//! What the interpreters know of a message: its fields in the order of their declaration.

use crate::tables::{ENUMS, MESSAGES};

/// A message type.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) name: &'static str,
    /// Whether this is the hidden message behind one entry of a map field.
    pub(crate) map_entry: bool,
    pub(crate) fields: &'static [Field],
}

/// A field of a message type.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) number: u32,
    pub(crate) label: Label,
    pub(crate) kind: Kind,
    /// The JSON text that stands for the field when it is not set, if its definition has a default.
    pub(crate) default: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    Optional,
    Required,
    Repeated,
}

/// A field's type; messages and enums by their place in the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "the tables use what the definitions use")]
pub(crate) enum Kind {
    Double,
    Float,
    Int64,
    Uint64,
    Int32,
    Uint32,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    String,
    Bytes,
    Message(u16),
    Enum(u16),
}

/// An enum type.
#[derive(Debug)]
pub(crate) struct Enum {
    #[allow(dead_code, reason = "for whoever debugs the tables")]
    pub(crate) name: &'static str,
    pub(crate) values: &'static [(&'static str, i32)],
}

impl Message {
    /// The description of `T`.
    pub(crate) fn of<T: prost::Name>() -> &'static Message {
        let name = T::full_name();
        let found = MESSAGES.binary_search_by(|message| message.name.cmp(&name));
        &MESSAGES[found.expect("structs and tables come from the same definitions")]
    }

    pub(crate) fn at(index: u16) -> &'static Message {
        &MESSAGES[usize::from(index)]
    }

    pub(crate) fn field_by_number(&self, number: u32) -> Option<(usize, &'static Field)> {
        let fields: &'static [Field] = self.fields;
        fields.iter().enumerate().find(|(_, field)| field.number == number)
    }

    pub(crate) fn field_by_name(&self, name: &str) -> Option<&'static Field> {
        let fields: &'static [Field] = self.fields;
        fields.iter().find(|field| field.name == name)
    }
}

impl Enum {
    pub(crate) fn at(index: u16) -> &'static Enum {
        &ENUMS[usize::from(index)]
    }

    pub(crate) fn name_of(&self, number: i32) -> Option<&'static str> {
        self.values.iter().find(|(_, value)| *value == number).map(|(name, _)| *name)
    }

    pub(crate) fn number_of(&self, name: &str) -> Option<i32> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1;

    #[test]
    fn every_message_and_enum_is_found_by_its_place() {
        assert!(MESSAGES.is_sorted_by_key(|message| message.name));
        for message in MESSAGES {
            for field in message.fields {
                match field.kind {
                    Kind::Message(index) => assert!(usize::from(index) < MESSAGES.len(), "{}", field.name),
                    Kind::Enum(index) => assert!(usize::from(index) < ENUMS.len(), "{}", field.name),
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn nested_types_have_their_tables() {
        assert_eq!(Message::of::<v1::FrameworkId>().name, "mesos.v1.FrameworkID");
        assert_eq!(Message::of::<v1::offer::operation::Launch>().name, "mesos.v1.Offer.Operation.Launch");
        assert_eq!(Message::of::<v1::scheduler::Call>().name, "mesos.v1.scheduler.Call");
    }
}
