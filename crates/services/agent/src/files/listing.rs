use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use api_mesos::json::Object;
use mesos_proto::v1::{FileInfo, TimeInfo};

use super::FilesError;
use super::resolve::Found;

/// Entries of one directory that are listed; what is beyond is left out.
const MOST_ENTRIES: usize = 20_000;

/// The entries of a directory, each named by the path that was asked for and its own name. Of what is no
/// directory there are none, as in Mesos.
pub(super) fn list(found: &Found, asked: &str) -> Result<Vec<FileInfo>, FilesError> {
    let Ok(directory) = found.open_directory() else { return Ok(Vec::new()) };
    // By its descriptor: the task may put a link in the place of its path at any moment.
    let opened = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let Ok(entries) = fs::read_dir(opened) else { return Ok(Vec::new()) };
    let mut names = Names::default();
    let mut all = Vec::new();
    for entry in entries.take(MOST_ENTRIES).flatten() {
        let Some(data) = look(&entry.path(), found.base()) else { continue };
        let name = entry.file_name();
        let path = Path::new(asked).join(&name).display().to_string();
        all.push(FileInfo {
            path,
            nlink: i32::try_from(data.nlink()).ok(),
            size: Some(data.size()),
            mtime: Some(TimeInfo { nanoseconds: data.mtime().saturating_mul(1_000_000_000) }),
            mode: Some(data.mode()),
            uid: Some(names.user(data.uid())),
            gid: Some(names.group(data.gid())),
        });
    }
    all.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(all)
}

/// What a link within the sandbox leads to; of a link that leads out of it only the link itself.
fn look(path: &Path, base: &Path) -> Option<Metadata> {
    let own = fs::symlink_metadata(path).ok()?;
    if !own.is_symlink() {
        return Some(own);
    }
    match fs::canonicalize(path) {
        Ok(target) if target.starts_with(base) => fs::symlink_metadata(target).ok(),
        Ok(_) => Some(own),
        Err(_) => None,
    }
}

/// Names of users and groups, looked up once a listing.
#[derive(Default)]
struct Names {
    users: BTreeMap<u32, String>,
    groups: BTreeMap<u32, String>,
}

impl Names {
    fn user(&mut self, uid: u32) -> String {
        let find = || host::User::by_uid(uid).map_or_else(|| uid.to_string(), |user| user.name);
        self.users.entry(uid).or_insert_with(find).clone()
    }

    fn group(&mut self, gid: u32) -> String {
        let find = || group_name(gid).unwrap_or_else(|| gid.to_string());
        self.groups.entry(gid).or_insert_with(find).clone()
    }
}

/// group(5): name, password, number, members.
fn group_name(gid: u32) -> Option<String> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(gid)).then(|| name.to_owned())
    })
}

/// An entry as `/files/browse` shows it.
pub(super) fn write(o: &mut Object<'_>, entry: &FileInfo) {
    let mtime = entry.mtime.as_ref().map_or(0, |time| time.nanoseconds / 1_000_000_000);
    o.field("gid", entry.gid())
        .field("mode", api_mesos::mode_text(entry.mode()))
        .field("mtime", mtime as f64)
        .field("nlink", entry.nlink())
        .field("path", &*entry.path)
        .field("size", entry.size())
        .field("uid", entry.uid());
}
