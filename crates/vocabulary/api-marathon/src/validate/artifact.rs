//! What is fetched.

use crate::artifact::{Artifact, is_uri};
use crate::problems::Problems;
use crate::update::AppUpdate;

const BAD_URI: &str = "URI has invalid syntax.";

/// Marathon: `AppValidation.validateOldAppAPI`.
pub(super) fn old_form(problems: &mut Problems, update: &AppUpdate) {
    let uris = update.uris.as_deref().unwrap_or_default();
    for (index, uri) in uris.iter().enumerate() {
        problems.check(is_uri(uri), format!("/uris({index})"), BAD_URI);
    }
    let both = !uris.is_empty() && update.fetch.as_ref().is_some_and(|fetch| !fetch.is_empty());
    problems.check(!both, "/uris", "may not be set in conjunction with fetch");
}

/// Marathon: `ArtifactValidation`. Where it goes is looked at by Mesos' fetcher there, which is late.
pub(super) fn artifacts(problems: &mut Problems, artifacts: &[Artifact]) {
    for (index, artifact) in artifacts.iter().enumerate() {
        problems.check(is_uri(&artifact.uri), format!("/fetch({index})/uri"), BAD_URI);
        let path = artifact.dest_path.as_deref().unwrap_or("x");
        let leaves = path.starts_with('/') || path.split('/').any(|part| part == "..");
        problems.check(
            !leaves && !path.contains('\0'),
            format!("/fetch({index})/destPath"),
            format!("found '{path}', allowed are paths relative to the sandbox that do not leave it"),
        );
    }
}
