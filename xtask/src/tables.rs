//! The tables of `mesos-proto`: every message's fields with name, number, kind and label, in the order
//! of their declaration, because that is the order in which Mesos writes JSON.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result, bail};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};

#[derive(Default)]
struct Index<'a> {
    messages: BTreeMap<String, &'a DescriptorProto>,
    enums: BTreeMap<String, &'a EnumDescriptorProto>,
}

/// The Rust source of the tables for all messages and enums of `set`, sorted by full name.
pub(crate) fn generate(set: &FileDescriptorSet) -> Result<String> {
    let mut index = Index::default();
    for file in &set.file {
        let scope = file.package();
        file.enum_type.iter().for_each(|e| index.add_enum(scope, e));
        file.message_type.iter().for_each(|m| index.add_message(scope, m));
    }
    let mut code = String::from("use crate::table::{Enum, Field, Kind::*, Label::*, Message};\n\n");
    code.push_str("pub(crate) static MESSAGES: &[Message] = &[\n");
    for (name, message) in &index.messages {
        index.write_message(&mut code, name, message)?;
    }
    code.push_str("];\n\npub(crate) static ENUMS: &[Enum] = &[\n");
    for (name, declared) in &index.enums {
        writeln!(code, "    Enum {{ name: {name:?}, values: &[")?;
        for value in &declared.value {
            writeln!(code, "        ({:?}, {}),", value.name(), value.number())?;
        }
        code.push_str("    ] },\n");
    }
    code.push_str("];\n");
    Ok(code)
}

impl<'a> Index<'a> {
    fn add_message(&mut self, scope: &str, message: &'a DescriptorProto) {
        let name = format!("{scope}.{}", message.name());
        message.enum_type.iter().for_each(|e| self.add_enum(&name, e));
        message.nested_type.iter().for_each(|m| self.add_message(&name, m));
        self.messages.insert(name, message);
    }

    fn add_enum(&mut self, scope: &str, declared: &'a EnumDescriptorProto) {
        self.enums.insert(format!("{scope}.{}", declared.name()), declared);
    }

    fn write_message(&self, code: &mut String, name: &str, message: &DescriptorProto) -> Result<()> {
        let map_entry = message.options.as_ref().is_some_and(|options| options.map_entry());
        writeln!(code, "    Message {{ name: {name:?}, map_entry: {map_entry}, fields: &[")?;
        for field in &message.field {
            let (kind, label) = (self.kind(field)?, label(field));
            let default = self.default_json(field)?;
            writeln!(
                code,
                "        Field {{ name: {:?}, number: {}, label: {label}, kind: {kind}, default: {default:?} }},",
                field.name(),
                field.number()
            )?;
        }
        code.push_str("    ] },\n");
        Ok(())
    }

    fn kind(&self, field: &FieldDescriptorProto) -> Result<String> {
        let type_name = field.type_name().trim_start_matches('.');
        let position = |found: Option<usize>| found.with_context(|| format!("{type_name} is not declared"));
        Ok(match field.r#type() {
            Type::Message => {
                format!("Message({})", position(self.messages.keys().position(|name| name == type_name))?)
            }
            Type::Enum => {
                format!("Enum({})", position(self.enums.keys().position(|name| name == type_name))?)
            }
            Type::Group => bail!("groups are not supported: {}", field.name()),
            scalar => format!("{scalar:?}"),
        })
    }

    /// The JSON text of a declared default, which Mesos writes for a field that is not set unless the
    /// field is deprecated.
    fn default_json(&self, field: &FieldDescriptorProto) -> Result<Option<String>> {
        let deprecated = field.options.as_ref().is_some_and(|options| options.deprecated());
        let Some(value) = field.default_value.as_ref().filter(|_| !deprecated) else { return Ok(None) };
        Ok(Some(match field.r#type() {
            Type::String | Type::Enum => format!("{value:?}"),
            Type::Double | Type::Float if !value.contains('.') => format!("{value}.0"),
            Type::Bytes => bail!("a default of type bytes is not supported: {}", field.name()),
            _ => value.clone(),
        }))
    }
}

fn label(field: &FieldDescriptorProto) -> &'static str {
    match field.label() {
        Label::Required => "Required",
        Label::Optional => "Optional",
        Label::Repeated => "Repeated",
    }
}
