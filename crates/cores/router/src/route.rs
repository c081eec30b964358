//! The decision on one request.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use percent_encoding::percent_decode_str;

use crate::page;
use crate::table::{Role, Site, Table};

/// How many segments the name of a service may have.
const MAX_NAME_SEGMENTS: usize = 10;

/// What of a request decides where it goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Head<'a> {
    /// The method.
    pub method: &'a str,
    /// The path as it was sent, not decoded.
    pub path: &'a str,
    /// The query as it was sent.
    pub query: Option<&'a str>,
    /// The `Accept` header.
    pub accept: Option<&'a str>,
    /// The `Authorization` header.
    pub authorization: Option<&'a str>,
    /// The `Cookie` header.
    pub cookie: Option<&'a str>,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is passed on.
    Forward(Upstream),
    /// It is passed on to the API of this node's pkgpanda.
    Packages {
        /// Path and query to ask it for.
        path_and_query: String,
    },
    /// It is answered with the file that says how each of this node's active packages was built.
    ActivePackages,
    /// The client is sent elsewhere.
    Redirect {
        /// 301 or 307.
        status: u16,
        /// A path on this host.
        location: String,
    },
    /// It is answered here.
    Answer(Answer),
    /// Its credentials are missing or wrong: 401 with `WWW-Authenticate: oauthjwt`.
    Unauthorized(Answer),
}

/// A response that the router gives itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its media type.
    pub content_type: &'static str,
    /// Its body.
    pub body: String,
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// For people: whose request it is.
    pub name: String,
    /// Its instances; one or more, any of them will do.
    pub addresses: Arc<[SocketAddr]>,
    /// Path and query to ask for.
    pub path_and_query: String,
    /// What was taken off the path, and goes before the paths that the upstream redirects to.
    pub prefix: Option<String>,
    /// Whether it is a user's service, which never sees the cluster's credentials.
    pub is_service: bool,
}

impl Table {
    /// Decides on a request.
    pub fn route(&self, head: &Head<'_>) -> Decision {
        if has_dot_segment(head.path) {
            return refuse(400, format!("path '{}': segments '.' and '..' are not allowed", head.path));
        }
        if let ("pkgpanda", rest) = first_segment(head.path) {
            return self.packages(rest, head);
        }
        match &self.site.role {
            Role::Master { mesos, marathon, agent_port } => {
                let master =
                    Master { table: self, mesos: *mesos, marathon: *marathon, agent_port: *agent_port };
                master.route(head)
            }
            Role::Agent => self.route_on_agent(head),
        }
    }

    fn route_on_agent(&self, head: &Head<'_>) -> Decision {
        match head.path {
            "/" => readable(head, page::index(self, self.allows(head), head.accept)),
            "/dcos-metadata/dcos-version.json" => readable(head, self.version()),
            path => not_found(path),
        }
    }

    fn version(&self) -> Decision {
        let body = serde_json::to_string(&self.site.version).expect("strings are always JSON");
        answer(200, "application/json", body)
    }
}

/// The routes of a master.
struct Master<'a> {
    table: &'a Table,
    mesos: SocketAddr,
    marathon: SocketAddr,
    agent_port: u16,
}

impl Master<'_> {
    fn route(&self, head: &Head<'_>) -> Decision {
        match head.path {
            "/" => return readable(head, page::index(self.table, self.table.allows(head), head.accept)),
            "/dcos-metadata/dcos-version.json" => return readable(head, self.table.version()),
            "/mesos" => return redirect(301, "/mesos/", head),
            "/marathon" => return redirect(307, "/marathon/", head),
            _ => {}
        }
        let (first, rest) = first_segment(head.path);
        let is_protected =
            matches!(first, "mesos" | "marathon" | "service" | "agent" | "slave" | "metadata" | "system");
        if is_protected && !self.table.allows(head) {
            return unauthorized();
        }
        match (first, rest) {
            ("metadata", "") => readable(head, metadata(&self.table.site)),
            ("mesos", rest) => forward("Mesos", one(self.mesos), rest, Some("/mesos"), head),
            ("marathon", rest) => forward("Marathon", one(self.marathon), rest, Some("/marathon"), head),
            ("agent" | "slave", rest) => self.agent(first, rest, head),
            ("service", rest) => self.service(rest, head),
            ("system", rest) => self.system(rest, head),
            _ => not_found(head.path),
        }
    }

    /// `/agent/<id>` and `/agent/<id>/...`, which are the same up to the slash.
    fn agent(&self, first: &str, rest: &str, head: &Head<'_>) -> Decision {
        let (id, rest) = first_segment(rest);
        match self.find_agent(id) {
            Err(decision) => decision,
            Ok(address) => {
                let prefix = format!("/{first}/{id}");
                forward(&format!("agent {id}"), address, rest, Some(&prefix), head)
            }
        }
    }

    fn find_agent(&self, id: &str) -> Result<Arc<[SocketAddr]>, Decision> {
        let Some(agents) = &self.table.agents else {
            return Err(refuse(
                503,
                "the agents are not known yet: the Mesos master has not told them".into(),
            ));
        };
        agents.get(id).cloned().ok_or_else(|| refuse(404, format!("no agent has the id '{id}'")))
    }

    fn service(&self, rest: &str, head: &Head<'_>) -> Decision {
        let path = rest.strip_prefix('/').unwrap_or("");
        if path.is_empty() {
            return not_found(head.path);
        }
        for (raw, name) in candidates(path) {
            let rest = &path[raw.len()..];
            let found = self.table.services.get(&*name);
            if found.is_none() && name != "marathon" {
                continue;
            }
            if rest.is_empty() {
                return redirect(301, &format!("/service/{raw}/"), head);
            }
            let prefix = format!("/service/{raw}");
            if name == "marathon" {
                return forward("Marathon", one(self.marathon), rest, Some(&prefix), head);
            }
            let Some(service) = found else { continue };
            return match &service.instances {
                Err(reason) => refuse(503, format!("service '{name}' cannot be reached: {reason}")),
                Ok(addresses) => {
                    let (path, prefix) = match service.rewrite {
                        true => (rest, Some(prefix.as_str())),
                        false => (head.path, None),
                    };
                    let name = format!("service '{name}' ({})", service.origin);
                    let mut decision = forward(&name, Arc::clone(addresses), path, prefix, head);
                    if let Decision::Forward(upstream) = &mut decision {
                        upstream.is_service = true;
                    }
                    decision
                }
            };
        }
        let name = decode(path.split('/').next().unwrap_or(path));
        match self.table.is_complete {
            true => refuse(
                404,
                format!("no app has the label DCOS_SERVICE_NAME={name}, and no framework that name or id"),
            ),
            false => {
                refuse(503, "the services are not known yet: Mesos or Marathon has not told them".into())
            }
        }
    }

    /// `/system/v1/leader/mesos|marathon/...` and `/system/v1/agent/<id>/...`.
    fn system(&self, rest: &str, head: &Head<'_>) -> Decision {
        let Some(path) = rest.strip_prefix("/v1/") else { return not_found(head.path) };
        let (kind, rest) = first_segment_of(path);
        let (name, rest) = first_segment(rest);
        match (kind, name) {
            ("leader", "mesos") => self.leader(self.mesos, rest, head),
            ("leader", "marathon") => self.leader(self.marathon, rest, head),
            ("agent", id) if rest == "/dcos-metadata/dcos-version.json" => match self.find_agent(id) {
                Err(decision) => decision,
                Ok(address) => {
                    let address = SocketAddr::new(address[0].ip(), self.agent_port);
                    forward(&format!("Admin Router of agent {id}"), one(address), rest, None, head)
                }
            },
            _ => not_found(head.path),
        }
    }

    /// The same path below `/system/v1` on the node where the leader runs.
    fn leader(&self, leader: SocketAddr, rest: &str, head: &Head<'_>) -> Decision {
        let path = format!("/system/v1{rest}");
        if leader.ip() != self.table.site.ip {
            let address = SocketAddr::new(leader.ip(), self.table.site.port);
            return forward("Admin Router of the leader", one(address), &path, None, head);
        }
        // This node is meant. A leader's leader is itself, but nobody needs to ask for that.
        if path.starts_with("/system/v1/leader/") {
            return not_found(head.path);
        }
        self.route(&Head { path: &path, ..*head })
    }
}

impl Table {
    pub(crate) fn allows(&self, head: &Head<'_>) -> bool {
        self.site.auth.allows(head.authorization, head.cookie)
    }
}

impl Upstream {
    /// The `Location` (or `Refresh` target) that the client needs to reach what the upstream at
    /// `address` means with `location`; `host` is the `Host` of the request. `None` leaves it as it is.
    pub fn location(&self, location: &str, address: SocketAddr, host: Option<&str>) -> Option<String> {
        let prefix = self.prefix.as_deref()?;
        let without_scheme = location.strip_prefix("http:").unwrap_or(location);
        let path = match without_scheme.strip_prefix("//") {
            Some(rest) => {
                let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
                let own = address.to_string();
                let is_own = authority == own
                    || Some(authority) == host
                    || (address.port() == 80 && authority == address.ip().to_string());
                if !is_own {
                    return None;
                }
                path
            }
            None if location.starts_with('/') => location,
            None => return None,
        };
        let is_inside = path
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']));
        match (is_inside, path.starts_with('/')) {
            (true, _) => Some(path.to_owned()),
            (false, true) => Some(format!("{prefix}{path}")),
            (false, false) => Some(format!("{prefix}/{path}")),
        }
    }
}

/// `/a/b/c` is `a` and `/b/c`.
fn first_segment(path: &str) -> (&str, &str) {
    first_segment_of(path.strip_prefix('/').unwrap_or(path))
}

fn first_segment_of(path: &str) -> (&str, &str) {
    path.split_at(path.find('/').unwrap_or(path.len()))
}

/// The names that a path may begin with, the longest first: as written, and decoded.
fn candidates(path: &str) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
    let mut ends: Vec<usize> = path.match_indices('/').map(|(at, _)| at).take(MAX_NAME_SEGMENTS).collect();
    if ends.len() < MAX_NAME_SEGMENTS && !path.ends_with('/') {
        ends.push(path.len());
    }
    ends.into_iter().rev().map(move |end| (&path[..end], decode(&path[..end])))
}

fn decode(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

/// Whether a segment is `.` or `..`, however it is spelled: upstreams would resolve it out of the
/// prefix that was decided on.
fn has_dot_segment(path: &str) -> bool {
    path.contains(['.', '%']) && decode(path).split(['/', '\\']).any(|segment| matches!(segment, "." | ".."))
}

fn one(address: SocketAddr) -> Arc<[SocketAddr]> {
    Arc::from([address].as_slice())
}

fn forward(
    name: &str,
    addresses: Arc<[SocketAddr]>,
    path: &str,
    prefix: Option<&str>,
    head: &Head<'_>,
) -> Decision {
    let mut path_and_query = String::with_capacity(path.len() + head.query.map_or(0, str::len) + 2);
    if !path.starts_with('/') {
        path_and_query.push('/');
    }
    path_and_query.push_str(path);
    add_query(&mut path_and_query, head);
    Decision::Forward(Upstream {
        name: name.to_owned(),
        addresses,
        path_and_query,
        prefix: prefix.map(str::to_owned),
        is_service: false,
    })
}

pub(crate) fn redirect(status: u16, location: &str, head: &Head<'_>) -> Decision {
    let mut location = location.to_owned();
    add_query(&mut location, head);
    Decision::Redirect { status, location }
}

pub(crate) fn add_query(target: &mut String, head: &Head<'_>) {
    if let Some(query) = head.query {
        target.push('?');
        target.push_str(query);
    }
}

pub(crate) fn answer(status: u16, content_type: &'static str, body: String) -> Decision {
    Decision::Answer(Answer { status, content_type, body })
}

pub(crate) fn refuse(status: u16, reason: String) -> Decision {
    let title = match status {
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        _ => "Service Unavailable",
    };
    answer(status, "text/plain;charset=utf-8", format!("{status} {title}: {reason}\n"))
}

fn not_found(path: &str) -> Decision {
    refuse(404, format!("no route leads to '{path}'; / lists the routes"))
}

pub(crate) fn unauthorized() -> Decision {
    let body = "<html>\n<head><title>401 Unauthorized</title></head>\n<body>\n<h1>401 Unauthorized</h1>\n\
        <p>Send the token of the cluster: Authorization: token=TOKEN</p>\n</body>\n</html>\n";
    Decision::Unauthorized(Answer {
        status: 401,
        content_type: "text/html;charset=utf-8",
        body: body.to_owned(),
    })
}

/// What only can be read: other methods than GET and HEAD are refused.
pub(crate) fn readable(head: &Head<'_>, decision: Decision) -> Decision {
    match head.method {
        "GET" | "HEAD" => decision,
        found => refuse(405, format!("method {found} is not allowed here: allowed are GET, HEAD")),
    }
}

fn metadata(site: &Site) -> Decision {
    let body = serde_json::json!({ "PUBLIC_IPV4": site.ip, "CLUSTER_ID": site.cluster_id });
    answer(200, "application/json", body.to_string())
}

#[cfg(test)]
mod tests;
