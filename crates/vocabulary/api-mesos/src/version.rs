//! What master and agent say they are.

use mesos_proto::v1::VersionInfo;

use crate::json::{Object, document};

/// The version of Mesos whose API is spoken. Clients choose their calls by it.
pub const MESOS_VERSION: &str = "1.11.0";

/// Facts about the build, in Mesos' terms. They come from the environment of the build, so that the
/// same source built twice is the same program.
struct Build {
    /// Seconds since the Unix epoch; 0 where the builder said nothing.
    time: f64,
    /// The same for people, in UTC.
    date: String,
    /// Who built it.
    user: &'static str,
    /// The commit it was built from.
    git_sha: Option<&'static str>,
}

impl Build {
    /// The facts of this program.
    fn this() -> Build {
        let seconds: u64 = option_env!("SOURCE_DATE_EPOCH").and_then(|text| text.parse().ok()).unwrap_or(0);
        let date = base::Wall::from_millis(seconds.saturating_mul(1000)).to_iso8601();
        Build {
            time: seconds as f64,
            date: date[..19].replace('T', " "),
            user: "dcos",
            git_sha: option_env!("DCOS_GIT_SHA"),
        }
    }
}

/// What GET_VERSION answers.
pub fn version_info() -> VersionInfo {
    let build = Build::this();
    VersionInfo {
        version: MESOS_VERSION.to_owned(),
        build_date: Some(build.date),
        build_time: Some(build.time),
        build_user: Some(build.user.to_owned()),
        git_sha: build.git_sha.map(str::to_owned),
        ..Default::default()
    }
}

/// `/version`.
pub fn document_of_version() -> Vec<u8> {
    let build = Build::this();
    document(|o| {
        o.field("build_date", &*build.date).field("build_time", build.time).field("build_user", build.user);
        if let Some(sha) = build.git_sha {
            o.field("git_sha", sha);
        }
        o.field("version", MESOS_VERSION);
    })
}

/// The members with which `/state` begins.
pub fn write_members(o: &mut Object<'_>) {
    let build = Build::this();
    o.field("version", MESOS_VERSION);
    if let Some(sha) = build.git_sha {
        o.field("git_sha", sha);
    }
    o.field("build_date", &*build.date).field("build_time", build.time).field("build_user", build.user);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_api() {
        let text = String::from_utf8(document_of_version()).unwrap();
        assert!(text.starts_with(r#"{"build_date":""#) && text.ends_with(r#""version":"1.11.0"}"#), "{text}");
        assert!(
            text.contains(r#"00:00","build_time":"#) || option_env!("SOURCE_DATE_EPOCH").is_some(),
            "{text}"
        );
    }
}
