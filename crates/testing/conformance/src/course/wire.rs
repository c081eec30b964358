//! Bytes on connections: old and odd HTTP, protobuf, several requests at once.

use crate::run::Run;
use crate::transcript::Request;

/// Drives all that was recorded as bytes.
pub(crate) fn wire(run: &mut Run<'_>) {
    let raw = run.pending().filter(|recording| matches!(recording.request, Request::Raw(_)));
    let mut found: Vec<_> = raw.map(|recording| (recording.second, recording.name.clone())).collect();
    found.sort();
    for (_, name) in found {
        if let Some(recording) = run.take(&name) {
            run.replay(recording);
        }
    }
}
