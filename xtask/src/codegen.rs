//! From the `.proto` files to the committed Rust: prost's structs, and the tables that the JSON
//! interpreter of `mesos-proto` walks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use prost::Message;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};

use crate::tables;

/// Whether to write the generated files or to compare them with what is there.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    Write,
    Check,
}

const MESOS: &str = "crates/vocabulary/mesos-proto";
const LINK: &str = "crates/vocabulary/agent-link";

pub(crate) fn run(mode: Mode) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the workspace")?;
    let mesos_protos = root.join(MESOS).join("proto");
    let mut generated = BTreeMap::new();

    let set = compile(&[&mesos_protos], &proto_files(&mesos_protos)?)?;
    generated.insert(root.join(MESOS).join("src/generated/tables.rs"), tables::generate(&set)?);
    for (name, code) in structs(set, |config| {
        config.enable_type_names().compile_well_known_types();
    })? {
        generated.insert(root.join(MESOS).join("src/generated").join(name), code);
    }

    let link_protos = root.join(LINK).join("proto");
    let set = compile(&[&link_protos, &mesos_protos], &proto_files(&link_protos)?)?;
    for (name, code) in structs(set, |config| {
        config.extern_path(".mesos.v1", "::mesos_proto::v1");
        // Rare, and so large that every frame would be.
        config.boxed(".dcos.agent_link.ApplyOperation.info");
    })? {
        if name == "dcos.agent_link.rs" {
            generated.insert(root.join(LINK).join("src/generated").join(name), code);
        }
    }

    generated.iter().try_for_each(|(path, code)| deliver(mode, path, code))
}

fn proto_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("listing {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "proto") {
                found.push(path.strip_prefix(root)?.to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

fn compile(include: &[&PathBuf], files: &[PathBuf]) -> Result<FileDescriptorSet> {
    let mut compiler = protox::Compiler::new(include)?;
    compiler.include_imports(true).open_files(files)?;
    Ok(FileDescriptorSet::decode(&*compiler.encode_file_descriptor_set())?)
}

fn structs(
    set: FileDescriptorSet,
    options: impl Fn(&mut prost_build::Config),
) -> Result<BTreeMap<String, String>> {
    let mut config = prost_build::Config::new();
    config.btree_map(["."]);
    options(&mut config);
    let requests = set
        .file
        .into_iter()
        .map(without_deprecation)
        .map(|file| (prost_build::Module::from_protobuf_package_name(file.package()), file))
        .collect();
    let code = config.generate(requests)?;
    Ok(code.into_iter().map(|(module, code)| (module.to_file_name_or("root"), code)).collect())
}

/// A server speaks deprecated fields for as long as clients do, so its code is not warned of them.
fn without_deprecation(mut file: FileDescriptorProto) -> FileDescriptorProto {
    fn message(found: &mut DescriptorProto) {
        found.field.iter_mut().filter_map(|field| field.options.as_mut()).for_each(|o| o.deprecated = None);
        found.enum_type.iter_mut().for_each(values);
        found.nested_type.iter_mut().for_each(message);
    }
    fn values(found: &mut EnumDescriptorProto) {
        found.value.iter_mut().filter_map(|value| value.options.as_mut()).for_each(|o| o.deprecated = None);
    }
    file.message_type.iter_mut().for_each(message);
    file.enum_type.iter_mut().for_each(values);
    file
}

fn deliver(mode: Mode, path: &Path, code: &str) -> Result<()> {
    let code = format!("// Written by `cargo xtask codegen`; change the .proto files instead.\n{code}");
    if mode == Mode::Write {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        return std::fs::write(path, code).with_context(|| format!("writing {}", path.display()));
    }
    let found = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    if found != code {
        bail!("{} is not what the .proto files say: run `cargo xtask codegen`", path.display());
    }
    Ok(())
}
