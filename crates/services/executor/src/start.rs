//! From a task to its running command: as whom, where, with what around it.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use containers::{User, UserError};
use mesos_proto::v1::{CommandInfo, TaskInfo};

use crate::command::{self, Output, Surroundings};
use crate::image::Merge;
use crate::say;
use crate::settings::Settings;

/// Starts the task's command as its own user, else the image's, else `user`, the framework's; returns its
/// process id. Sets up `around` for this and for all checks of the task.
pub(crate) fn start_task(
    info: &TaskInfo,
    user: Option<&str>,
    settings: &Settings,
    around: &mut Surroundings,
) -> Result<u32, String> {
    let command = info.command.as_ref().ok_or("the task has no command")?;
    let image = settings.image.as_ref();
    let role = info.resources.first().and_then(|resource| resource.allocation_info.as_ref());
    if let Some(image) = image {
        around.set_below(image.variables());
    }
    around.add(command.environment.as_ref());
    around.set("MESOS_ALLOCATION_ROLE", role.map_or("", |allocation| allocation.role()));
    let own = command.user.as_deref().filter(|user| !user.is_empty());
    let Some(image) = image else {
        around.user = find_user(own.or(user))?;
        return command::start(command, around, Output::Standard)
            .map_err(|error| format!("Failed to execute '{}': {error}", command.value()));
    };
    let command = image.command(command, Merge::of(info.container.as_ref()))?;
    let images = Some(image.user.as_str()).filter(|user| !user.is_empty());
    let user = find_image_user(own.or(images).or(user).unwrap_or("root"))?;
    if !around.has("HOME") {
        around.set("HOME", &user.home.to_string_lossy());
    }
    give_sandbox(settings, &user);
    around.user = Some(user);
    if !image.working_dir.is_empty() {
        around.directory = Some(working_directory(&image.working_dir)?);
    }
    if !command.shell() && is_foreign(&around.find_program(command.value())) {
        // Told before it is tried: the C library would have a shell try it.
        return Err(format!(
            "program '{}' in the image is for another kind of machine than this one ({})",
            command.value(),
            std::env::consts::ARCH
        ));
    }
    command::start(&command, around, Output::Standard).map_err(|error| why_not(&command, around, &error))
}

/// Whether a file is a program for another processor.
fn is_foreign(program: &Path) -> bool {
    /// `e_machine` in the header of an ELF file of a little-endian machine.
    const MACHINE: std::ops::Range<usize> = 18..20;
    /// What this processor executes, itself and in its older mode.
    const OURS: &[u16] = if cfg!(target_arch = "aarch64") { &[183, 40] } else { &[62, 3] };
    let mut header = [0; MACHINE.end];
    if !fs::metadata(program).is_ok_and(|metadata| metadata.is_file()) {
        return false;
    }
    let read = fs::File::open(program).and_then(|mut file| file.read_exact(&mut header));
    let machine = u16::from_le_bytes([header[MACHINE.start], header[MACHINE.start + 1]]);
    read.is_ok() && header.starts_with(b"\x7fELF") && !OURS.contains(&machine)
}

/// Only root can become another; without it every task runs as the agent's user.
fn find_user(user: Option<&str>) -> Result<Option<User>, String> {
    match user.filter(|user| *user != "root" && rustix::process::geteuid().is_root()) {
        Some(user) => User::find(Path::new("/"), user).map(Some).map_err(|error| error.to_string()),
        None => Ok(None),
    }
}

fn find_image_user(name: &str) -> Result<User, String> {
    User::find(Path::new("/"), name).map_err(|error| match error {
        UserError::Unknown(name) => format!("user '{name}' does not exist in the image"),
        UserError::UnknownGroup(name) => format!("group '{name}' does not exist in the image"),
        UserError::Read { path, source } => {
            format!("cannot look up user '{name}' in the image's {}: {source}", path.display())
        }
    })
}

/// The agent does not know the image's users: it is here that the sandbox becomes the task's. Files that were
/// fetched into it stay whose they are.
fn give_sandbox(settings: &Settings, user: &User) {
    let (uid, gid) = (Some(user.uid), Some(user.gid));
    let mut given = std::os::unix::fs::fchown(io::stdout(), uid, gid);
    given = given.and(std::os::unix::fs::fchown(io::stderr(), uid, gid));
    if let Some(sandbox) = &settings.sandbox {
        given = given.and(std::os::unix::fs::chown(sandbox, uid, gid));
    }
    if let Err(error) = given {
        // It may lack the capability; a task that writes nothing there does not need it.
        say(format_args!("cannot give the sandbox to user {}: {error}", user.name));
    }
}

/// The image's, made if it is missing, as docker does.
fn working_directory(path: &str) -> Result<PathBuf, String> {
    let path = Path::new("/").join(path);
    fs::create_dir_all(&path)
        .map_err(|error| format!("cannot make the image's working directory {}: {error}", path.display()))?;
    Ok(path)
}

/// Says what the author of the app can do about a command that does not start.
fn why_not(command: &CommandInfo, around: &Surroundings, error: &io::Error) -> String {
    let program = command.value();
    let is_missing = error.kind() == io::ErrorKind::NotFound;
    if command.shell() {
        if is_missing && !Path::new("/bin/sh").exists() {
            return "the image has no /bin/sh: use args instead of cmd".to_owned();
        }
        return format!("Failed to execute '{program}': {error}");
    }
    match error.kind() {
        io::ErrorKind::NotFound if around.find_program(program).exists() => format!(
            "program '{program}' is in the image, but what runs it is not: the interpreter named in its first \
             line, or its dynamic loader"
        ),
        io::ErrorKind::NotFound => format!("program '{program}' not found in the image"),
        io::ErrorKind::PermissionDenied => {
            let user = around.user.as_ref().map_or("root", |user| &user.name);
            format!("program '{program}' in the image cannot be executed by user '{user}': {error}")
        }
        _ => format!("Failed to execute '{program}': {error}"),
    }
}
