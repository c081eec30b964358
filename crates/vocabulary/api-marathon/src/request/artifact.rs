//! What is fetched, in either form.

use crate::artifact::Artifact;
use crate::read::{At, Reader};

/// Marathon: RAML types `Uri` and `Path`.
const MAX_LENGTH: usize = 1024;

/// Marathon: RAML type `Uri`.
pub(super) fn uri(reader: &mut Reader, at: &At<'_>) -> Option<String> {
    bounded(reader, at)
}

pub(super) fn artifact(reader: &mut Reader, at: &At<'_>) -> Option<Artifact> {
    reader.object(at)?;
    let source = match at.member("uri") {
        Some(at) => uri(reader, &at),
        None => {
            reader.missing(at, "uri");
            None
        }
    };
    let mut flag = |name, default| at.member(name).map_or(Some(default), |at| reader.boolean(&at));
    let (extract, executable, cache) =
        (flag("extract", true), flag("executable", false), flag("cache", false));
    let dest_path = at.member("destPath").map_or(Some(None), |at| bounded(reader, &at).map(Some));
    let sha256 = at.member("sha256").map_or(Some(None), |at| digest(reader, &at).map(Some));
    Some(Artifact {
        uri: source?,
        extract: extract?,
        executable: executable?,
        cache: cache?,
        dest_path: dest_path?,
        sha256: sha256?,
    })
}

fn bounded(reader: &mut Reader, at: &At<'_>) -> Option<String> {
    let text = reader.non_empty_string(at)?;
    let length = text.chars().count();
    if length > MAX_LENGTH {
        let explanation = format!("found {length} characters, allowed are {MAX_LENGTH}");
        reader.problems.explain(&at.path, "error.maxLength", explanation);
        return None;
    }
    Some(text)
}

fn digest(reader: &mut Reader, at: &At<'_>) -> Option<String> {
    let text = reader.string(at)?;
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let explanation = format!("found '{text}', allowed are 64 hexadecimal digits");
        reader.problems.explain(&at.path, "error.pattern", explanation);
        return None;
    }
    Some(text.to_ascii_lowercase())
}
