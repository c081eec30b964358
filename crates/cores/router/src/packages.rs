//! `/pkgpanda/`: what is installed on this host, and the changing of it.

use crate::route::{Decision, Head, add_query, readable, redirect, refuse, unauthorized};
use crate::table::Table;

/// Whoever may change packages is root on this host: what else has no token may be open, this is not.
const NO_TOKEN: &str = "/pkgpanda/ changes what runs as root on this host, and this cluster asks nobody for a token, \
    so that anybody could: give the cluster a token (`--auth` where it is started, `--token-file` for Admin Router \
    alone) and send it (`Authorization: token=TOKEN`), or use the command pkgpanda on the host itself";

impl Table {
    /// What becomes of a request below `/pkgpanda`, on masters and agents alike. Below it is the API of the node's own
    /// pkgpanda, and the one file that it has there.
    pub(crate) fn packages(&self, rest: &str, head: &Head<'_>) -> Decision {
        if !self.asks_for_token() {
            return refuse(403, NO_TOKEN.to_owned());
        }
        if !self.allows(head) {
            return unauthorized();
        }
        match rest {
            "" => redirect(301, "/pkgpanda/", head),
            "/active.buildinfo.full.json" => readable(head, Decision::ActivePackages),
            rest => {
                let mut path_and_query = rest.to_owned();
                add_query(&mut path_and_query, head);
                Decision::Packages { path_and_query }
            }
        }
    }
}
