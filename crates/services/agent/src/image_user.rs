//! Whose the sandbox of a task in an image is: a user that only the image may know.

use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};

use crate::sandbox::Owner;

/// The most of a user database that is read.
const LIMIT: u64 = 1 << 20;

/// The numbers of `user` (`name`, `uid`, `name:group` or `uid:gid`) in an image of these layers, lowest
/// first. None for root, and for one that the image does not know: its start tells so.
pub(crate) fn owner_in(layers: &[PathBuf], user: &str) -> Option<Owner> {
    let (user, group) = user.split_once(':').map_or((user, None), |(user, group)| (user, Some(group)));
    if user.is_empty() || user == "root" {
        return None;
    }
    let found = find(&database(layers, "etc/passwd"), user, 3);
    let number = user.parse::<u32>().ok();
    let (uid, own_gid) = match found {
        Some(fields) => (fields.first().copied()?, fields.get(1).copied()?),
        None => (number?, 0),
    };
    let gid = match group {
        None => own_gid,
        Some(group) => match group.parse::<u32>() {
            Ok(gid) => gid,
            Err(_) => find(&database(layers, "etc/group"), group, 2)?.first().copied()?,
        },
    };
    (uid != 0).then_some((uid, gid))
}

/// The numbers after the password of the entry of that name or number.
fn find(database: &str, wanted: &str, fields: usize) -> Option<Vec<u32>> {
    database.lines().find_map(|line| {
        let mut parts = line.split(':');
        let name = parts.next()?;
        let numbers: Vec<u32> = parts.skip(1).take(fields - 1).filter_map(|text| text.parse().ok()).collect();
        let is_it = name == wanted || numbers.first().is_some_and(|number| number.to_string() == wanted);
        (is_it && numbers.len() == fields - 1).then_some(numbers)
    })
}

/// The file of the highest layer that has it. Links of the image lead nowhere outside of its layer.
fn database(layers: &[PathBuf], file: &str) -> String {
    layers.iter().rev().find_map(|layer| read_in(layer, file)).unwrap_or_default()
}

fn read_in(layer: &Path, file: &str) -> Option<String> {
    let dir = open(layer, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = std::fs::File::from(openat2(&dir, file, flags, Mode::empty(), within).ok()?);
    let mut text = Vec::new();
    file.take(LIMIT).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_layer_knows_best() {
        let dir = std::env::temp_dir().join(format!("agent-image-user-{}", std::process::id()));
        let layers = ["low", "high", "top"].map(|name| dir.join(name));
        for (layer, passwd) in layers.iter().zip(["app:x:5:6::/:/x\n", "app:x:7:8::/:/x\n", ""]) {
            std::fs::create_dir_all(layer.join("etc")).unwrap();
            if !passwd.is_empty() {
                std::fs::write(layer.join("etc/passwd"), passwd).unwrap();
            }
        }
        std::fs::write(layers[0].join("etc/group"), "ops:x:99:app\n").unwrap();
        // Out of the layer there is nothing.
        std::os::unix::fs::symlink("/../../../../../../etc/passwd", layers[2].join("etc/passwd")).unwrap();
        let check = |user: &str, expected| assert_eq!(owner_in(&layers, user), expected, "{user}");
        check("app", Some((7, 8)));
        check("7", Some((7, 8)));
        check("app:ops", Some((7, 99)));
        check("4711", Some((4711, 0)));
        check("4711:12", Some((4711, 12)));
        for nobody in ["", "root", "0", "ghost", "app:ghosts"] {
            check(nobody, None);
        }
        std::fs::remove_dir_all(dir).unwrap();
    }
}
