//! What a task wants fetched into its sandbox before it starts.

use std::sync::Arc;

use agent_core::Launch;
use fetcher::{Fetcher, Progress, Step, Uri};
use mesos_proto::v1::CommandInfo;
use mesos_proto::v1::command_info;
use tokio::sync::watch;

use crate::sandbox::{Held, Owner, own_user};
use base::with_causes;

/// Whose rights read local files for a user that only an image knows.
const NOBODY: Owner = (65534, 65534);

/// The command whose URIs are fetched: the task's, or that of its own executor.
fn command(launch: &Launch) -> Option<&CommandInfo> {
    match &launch.task {
        Some(task) => task.command.as_ref(),
        None => launch.executor.command.as_ref(),
    }
}

/// With whose rights an image task's local files are fetched: its user may be known to the image alone.
pub(crate) fn owner_of_image_task(launch: &Launch) -> Option<Owner> {
    let name = command(launch).and_then(own_user).unwrap_or(&launch.framework.user);
    let (user, group) = name.split_once(':').map_or((name, None), |(user, group)| (user, group.parse().ok()));
    if matches!(user, "" | "root" | "0") {
        return None;
    }
    if let Ok(uid) = user.parse::<u32>() {
        return Some((uid, group.unwrap_or(uid)));
    }
    Some(host::User::by_name(user).map_or(NOBODY, |user| (user.uid, user.gid)))
}

/// Fetches everything, telling how far it is.
///
/// # Errors
/// What could not be fetched and why, for the task's user.
pub(crate) async fn fetch(
    fetcher: &Fetcher,
    launch: &Launch,
    sandbox: &Held,
    owner: Option<Owner>,
    tell: &watch::Sender<String>,
) -> Result<(), String> {
    let uris: Vec<Uri> = command(launch).iter().flat_map(|command| &command.uris).map(uri).collect();
    if uris.is_empty() {
        return Ok(());
    }
    let (tell, held) = (tell.clone(), sandbox.clone());
    let progress = move |progress: Progress| {
        // Whoever tells of progress may be at work after this future was dropped.
        let _ = &held;
        tell.send_replace(progress_text(&progress));
    };
    let fetched = fetcher.fetch(&uris, sandbox.path(), owner, Arc::new(progress)).await;
    fetched.map_err(|error| with_causes(&error))
}

fn uri(wire: &command_info::Uri) -> Uri {
    Uri {
        value: wire.value.trim().to_owned(),
        executable: wire.executable(),
        extract: wire.extract(),
        cache: wire.cache(),
        output_file: wire.output_file.clone().filter(|name| !name.is_empty()),
        sha256: wire.sha256.clone().filter(|hash| !hash.is_empty()),
    }
}

/// What the task's users are told of a fetch.
fn progress_text(progress: &Progress) -> String {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let what = match progress.step {
        Step::Download => "Fetching",
        Step::Wait => "Waiting for another fetch of",
        Step::Copy => "Copying",
        Step::Extract => "Unpacking",
    };
    let which = match progress.count {
        1 => String::new(),
        count => format!(" ({} of {count})", progress.number),
    };
    let how_far = match progress.total {
        Some(total) => format!("{} of {} MiB", mib(progress.bytes), mib(total)),
        None => format!("{} MiB", mib(progress.bytes)),
    };
    format!("{what} {}{which}: {how_far}", progress.uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_in_words() {
        let progress = |count, step, total| Progress {
            uri: "http://h/a.tgz".into(),
            number: 1,
            count,
            step,
            bytes: 3 << 20,
            total,
        };
        let check = |progress, expected: &str| assert_eq!(progress_text(&progress), expected);
        check(progress(1, Step::Download, Some(7 << 20)), "Fetching http://h/a.tgz: 3 of 7 MiB");
        check(progress(2, Step::Extract, None), "Unpacking http://h/a.tgz (1 of 2): 3 MiB");
    }
}
