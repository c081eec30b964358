use api_mesos::docker_parameters::DockerParameters;
use mesos_proto::v1::mount_propagation::Mode as Propagation;
use mesos_proto::v1::volume::source::{Type, sandbox_path};
use mesos_proto::v1::volume::{Mode, Source};
use mesos_proto::v1::{ContainerInfo, MountPropagation, Volume};

use super::unsupported;

/// Something that the container sees at a place of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumePlan {
    /// What it sees.
    pub source: VolumeSource,
    /// Where: absolute, or relative to its sandbox.
    pub target: String,
    /// Whether it cannot write to it.
    pub read_only: bool,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeSource {
    /// A file or directory of the host, absolute. It must be there.
    Host(String),
    /// A directory of the sandbox, made if it is missing.
    Sandbox(String),
    /// A directory of the sandbox of the container that this one is in, made if it is missing.
    ParentSandbox(String),
    /// Memory, up to that many bytes.
    Memory(Option<u64>),
}

pub(super) fn of(
    info: &ContainerInfo,
    parameters: &DockerParameters,
    field: &str,
) -> Result<Vec<VolumePlan>, String> {
    let field = format!("{field}.volumes");
    let mut all = info.volumes.iter().map(|volume| plan(volume, &field)).collect::<Result<Vec<_>, _>>()?;
    all.extend(parameters.volumes.iter().map(|volume| VolumePlan {
        source: VolumeSource::Host(volume.source.clone()),
        target: volume.target.clone(),
        read_only: volume.read_only,
    }));
    all.extend(parameters.tmpfs.iter().map(|tmpfs| VolumePlan {
        source: VolumeSource::Memory(tmpfs.bytes),
        target: tmpfs.target.clone(),
        read_only: tmpfs.read_only,
    }));
    Ok(all)
}

fn plan(volume: &Volume, field: &str) -> Result<VolumePlan, String> {
    let target = plain(&volume.container_path, &format!("{field}.container_path"))?;
    if target.chars().all(|c| matches!(c, '/' | '.')) {
        return Err(unsupported(&format!("{field}.container_path"), target));
    }
    Ok(VolumePlan {
        source: source(volume, field)?,
        target: target.to_owned(),
        read_only: volume.mode() == Mode::Ro,
    })
}

fn source(volume: &Volume, field: &str) -> Result<VolumeSource, String> {
    if volume.image.is_some() {
        return Err(unsupported(&format!("{field}.image"), &volume.container_path));
    }
    if let Some(path) = &volume.host_path {
        return of_path(path, &format!("{field}.host_path"));
    }
    let Some(source) = &volume.source else {
        return Err(format!(
            "Task's '{field}' has '{}' with neither 'host_path' nor 'source'",
            volume.container_path
        ));
    };
    of_source(source, &format!("{field}.source"))
}

fn of_source(source: &Source, field: &str) -> Result<VolumeSource, String> {
    match source.r#type() {
        Type::HostPath => {
            let host = source.host_path.clone().unwrap_or_default();
            let propagation = host.mount_propagation.as_ref().map(MountPropagation::mode);
            if propagation == Some(Propagation::Bidirectional) {
                return Err(unsupported(&format!("{field}.host_path.mount_propagation"), "BIDIRECTIONAL"));
            }
            of_path(&host.path, &format!("{field}.host_path.path"))
        }
        Type::SandboxPath => {
            let sandbox = source.sandbox_path.clone().unwrap_or_default();
            let of_parent = sandbox.r#type() == sandbox_path::Type::Parent;
            let field = format!("{field}.sandbox_path.path");
            match plain(&sandbox.path, &field)? {
                path if path.starts_with('/') => {
                    Err(format!("Task's '{field}' is '{path}'; allowed is a relative path"))
                }
                path if of_parent => Ok(VolumeSource::ParentSandbox(path.to_owned())),
                path => Ok(VolumeSource::Sandbox(path.to_owned())),
            }
        }
        other => Err(unsupported(&format!("{field}.type"), other.as_str_name())),
    }
}

/// As in Mesos: a path that is not absolute is one in the sandbox.
fn of_path(path: &str, field: &str) -> Result<VolumeSource, String> {
    let path = plain(path, field)?.to_owned();
    Ok(match path.starts_with('/') {
        true => VolumeSource::Host(path),
        false => VolumeSource::Sandbox(path),
    })
}

fn plain<'a>(path: &'a str, field: &str) -> Result<&'a str, String> {
    let bad = path.is_empty() || path.contains('\0') || path.split('/').any(|part| part == "..");
    match bad {
        true => Err(format!("Task's '{field}' is '{path}'; allowed is a path without '..'")),
        false => Ok(path),
    }
}
