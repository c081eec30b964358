//! The values of single options, as `docker run` reads them. The error says what is allowed.

use std::net::IpAddr;

use mesos_proto::v1::capability_info::Capability;
use mesos_proto::v1::r_limit_info::RLimit;
use mesos_proto::v1::r_limit_info::r_limit::Type;

use super::{BindVolume, DockerParameters, Tmpfs};

type Parsed<T> = Result<T, &'static str>;

pub(super) fn flag(value: &str) -> Parsed<bool> {
    match value {
        "true" | "1" | "" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err("true or false"),
    }
}

pub(super) fn word(value: &str) -> Parsed<String> {
    let one_word = !value.is_empty() && !value.contains(|c: char| c.is_whitespace() || c.is_control());
    one_word.then(|| value.to_owned()).ok_or("one word")
}

pub(super) fn hostname(value: &str) -> Parsed<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let is_name = !value.is_empty() && value.len() <= 63 && value.chars().all(allowed);
    is_name.then(|| value.to_owned()).ok_or("up to 63 letters, digits, - and .")
}

pub(super) fn user(value: &str) -> Parsed<String> {
    word(value).map_err(|_| "a name or number, or two of them for user:group")
}

pub(super) fn address(value: &str) -> Parsed<IpAddr> {
    value.parse().map_err(|_| "an IP address")
}

pub(super) fn absolute(value: &str) -> Parsed<String> {
    let plain = value.starts_with('/') && !value.split('/').any(|part| part == "..");
    plain.then(|| value.to_owned()).ok_or("an absolute path without '..'")
}

/// Where something is mounted: nothing can be in place of the root itself.
fn mount_point(value: &str) -> Parsed<String> {
    let is_root = value.split('/').all(|part| matches!(part, "" | "."));
    if is_root { Err("a path below the root") } else { absolute(value) }
}

pub(super) fn environment(all: &mut DockerParameters, value: &str) -> Parsed<()> {
    let allowed = "NAME=value";
    let (name, value) = value.split_once('=').ok_or(allowed)?;
    if name.is_empty() || value.contains('\0') || name.contains('\0') {
        return Err(allowed);
    }
    all.environment.push((name.to_owned(), value.to_owned()));
    Ok(())
}

pub(super) fn add_host(all: &mut DockerParameters, value: &str) -> Parsed<()> {
    let allowed = "name:address";
    let (name, address) = value.split_once(':').ok_or(allowed)?;
    let address = address.trim_matches(['[', ']']).parse().map_err(|_| allowed)?;
    all.hosts.push((hostname(name).map_err(|_| allowed)?, address));
    Ok(())
}

pub(super) fn security(all: &mut DockerParameters, value: &str) -> Parsed<()> {
    match value.split_once(['=', ':']).unwrap_or((value, "")) {
        ("seccomp", "unconfined") => all.seccomp_unconfined = true,
        ("no-new-privileges", "" | "true") => all.no_new_privileges = true,
        ("no-new-privileges", "false") => all.no_new_privileges = false,
        _ => return Err("seccomp=unconfined or no-new-privileges"),
    }
    Ok(())
}

pub(super) fn capability(value: &str) -> Parsed<String> {
    let name = value.to_ascii_uppercase();
    let name = name.strip_prefix("CAP_").unwrap_or(&name);
    let known = Capability::from_str_name(name).is_some_and(|known| known != Capability::Unknown);
    (known || name == "ALL").then(|| name.to_owned()).ok_or("a capability of Linux such as NET_ADMIN, or ALL")
}

pub(super) fn oom_score(value: &str) -> Parsed<i16> {
    let score = value.parse().ok().filter(|score| (-1000..=1000).contains(score));
    score.ok_or("a number from -1000 to 1000")
}

/// None: without a limit of its own.
pub(super) fn pids(value: &str) -> Parsed<Option<u64>> {
    match value {
        "-1" | "0" => Ok(None),
        _ => value.parse().map(Some).map_err(|_| "a number, or -1 for no limit of its own"),
    }
}

/// `64m`, `1g`, `65536`.
pub(super) fn bytes(value: &str) -> Parsed<u64> {
    let allowed = "a number of bytes, or with a unit: 512k, 64m, 1g";
    let text = value.to_ascii_lowercase();
    let text = text.strip_suffix("ib").or(text.strip_suffix('b')).unwrap_or(&text);
    let (number, unit) = match text.char_indices().last() {
        Some((at, 'k')) => (&text[..at], 1 << 10),
        Some((at, 'm')) => (&text[..at], 1 << 20),
        Some((at, 'g')) => (&text[..at], 1 << 30),
        _ => (text, 1u64),
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    bytes.filter(|bytes| *bytes > 0).ok_or(allowed)
}

pub(super) fn volume(value: &str) -> Parsed<BindVolume> {
    let allowed = "/path/on/the/host:/path/in/the/container, with :ro or :rw after it if wanted";
    let mut parts = value.split(':');
    let (source, target) = (parts.next().ok_or(allowed)?, parts.next().ok_or(allowed)?);
    let read_only = match (parts.next(), parts.next()) {
        (None | Some("rw"), None) => false,
        (Some("ro"), None) => true,
        _ => return Err(allowed),
    };
    let source = absolute(source).map_err(|_| allowed)?;
    let target = mount_point(target).map_err(|_| allowed)?;
    Ok(BindVolume { source, target, read_only })
}

pub(super) fn tmpfs(value: &str) -> Parsed<Tmpfs> {
    let allowed = "/path/in/the/container, with :size=64m, :ro or :rw after it if wanted";
    let (target, options) = value.split_once(':').unwrap_or((value, ""));
    let target = mount_point(target).map_err(|_| allowed)?;
    let mut tmpfs = Tmpfs { target, bytes: None, read_only: false };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=').unwrap_or((option, "")) {
            ("size", size) => tmpfs.bytes = Some(bytes(size).map_err(|_| allowed)?),
            ("ro", "") => tmpfs.read_only = true,
            ("rw", "") => tmpfs.read_only = false,
            _ => return Err(allowed),
        }
    }
    Ok(tmpfs)
}

/// `nofile=1024:2048`; -1 is no limit.
pub(super) fn ulimit(value: &str) -> Parsed<RLimit> {
    let allowed = "name=soft or name=soft:hard, such as nofile=1024:2048";
    let (name, limits) = value.split_once('=').ok_or(allowed)?;
    let kind = Type::from_str_name(&format!("RLMT_{}", name.to_ascii_uppercase())).ok_or(allowed)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let limit = |text: &str| match text {
        "-1" | "unlimited" => Ok(None),
        _ => text.parse::<u64>().map(Some).map_err(|_| allowed),
    };
    let (soft, hard) = (limit(soft)?, limit(hard)?);
    let most = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    if most(soft) > most(hard) {
        return Err("a soft limit that is not above the hard one");
    }
    // As the message has it: both, or none for no limit.
    let (soft, hard) = match (soft, hard) {
        (None, None) => (None, None),
        (soft, hard) => (Some(most(soft)), Some(most(hard))),
    };
    Ok(RLimit { r#type: Some(kind as i32), soft, hard })
}
