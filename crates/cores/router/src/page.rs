//! What `/` shows until there is a dashboard: the routes.

use std::fmt::Write;

use serde::Serialize;

use crate::route::{Decision, answer};
use crate::table::{Role, Table};

/// The routes that every master has, with what is behind them.
const ROUTES: [(&str, &str); 12] = [
    ("/service/<name>/", "an app with the label DCOS_SERVICE_NAME, or a framework"),
    ("/service/marathon/", "Marathon"),
    ("/marathon/", "Marathon"),
    ("/mesos/", "the Mesos master"),
    ("/agent/<id>/", "an agent"),
    ("/system/v1/leader/mesos/", "the node of the leading Mesos master"),
    ("/system/v1/leader/marathon/", "the node of the leading Marathon"),
    ("/system/v1/agent/<id>/dcos-metadata/dcos-version.json", "the version of an agent"),
    PACKAGES[0],
    PACKAGES[1],
    ("/metadata", "the id of the cluster and the address of this node"),
    ("/dcos-metadata/dcos-version.json", "the version of the cluster"),
];

/// The routes of a node's own packages.
const PACKAGES: [(&str, &str); 2] = [
    ("/pkgpanda/", "the packages of this node, where the cluster has a token"),
    ("/pkgpanda/active.buildinfo.full.json", "how the active ones were built"),
];

/// The routes that every agent has.
const AGENT_ROUTES: [(&str, &str); 3] = [
    ("/dcos-metadata/dcos-version.json", "the version of this agent; all else is asked of a master"),
    PACKAGES[0],
    PACKAGES[1],
];

#[derive(Serialize)]
struct Index<'a> {
    version: &'a str,
    routes: Vec<Route<'a>>,
    services: Vec<Service<'a>>,
    agents: Vec<String>,
}

#[derive(Serialize)]
struct Route<'a> {
    path: &'a str,
    leads_to: &'a str,
}

#[derive(Serialize)]
struct Service<'a> {
    path: String,
    name: &'a str,
    leads_to: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a str>,
}

/// The page in the form that the client accepts. What runs in the cluster is only told to those who
/// may see it.
pub(crate) fn index(table: &Table, is_allowed: bool, accept: Option<&str>) -> Decision {
    let accept = accept.unwrap_or("");
    let index = Index::of(table, is_allowed);
    if accept.contains("text/html") {
        answer(200, "text/html;charset=utf-8", index.html())
    } else if accept.contains("application/json") {
        let body = serde_json::to_string_pretty(&index).expect("strings are always JSON");
        answer(200, "application/json", body + "\n")
    } else {
        answer(200, "text/plain;charset=utf-8", index.text())
    }
}

impl<'a> Index<'a> {
    fn of(table: &'a Table, is_allowed: bool) -> Self {
        let routes: &[_] = match table.site.role {
            Role::Master { .. } => &ROUTES,
            Role::Agent => &AGENT_ROUTES,
        };
        let routes = routes.iter().map(|(path, leads_to)| Route { path, leads_to }).collect();
        let services = table.services.iter().filter(|_| is_allowed).map(|(name, service)| Service {
            path: format!("/service/{}/", path_of(name)),
            name,
            leads_to: &service.origin,
            problem: service.instances.as_ref().err().map(String::as_str),
        });
        let agents = table.agents.iter().flatten().filter(|_| is_allowed);
        Index {
            version: &table.site.version.version,
            routes,
            services: services.collect(),
            agents: agents.map(|(id, _)| format!("/agent/{id}/")).collect(),
        }
    }

    fn text(&self) -> String {
        let mut out = format!("DC/OS {}\n\nRoutes\n", self.version);
        let mut line = |path: &str, what: &str| {
            let _ = writeln!(out, "  {path:<32} {what}");
        };
        for route in &self.routes {
            line(route.path, route.leads_to);
        }
        line("", "");
        for service in &self.services {
            line(&service.path, service.problem.unwrap_or(service.leads_to));
        }
        for agent in &self.agents {
            line(agent, "");
        }
        out.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
    }

    fn html(&self) -> String {
        let mut rows = String::new();
        let mut row = |path: &str, what: &str, is_link: bool| {
            let (path, what) = (escape(path), escape(what));
            let cell = if is_link { format!("<a href=\"{path}\">{path}</a>") } else { path };
            let _ = writeln!(rows, "<tr><td>{cell}</td><td>{what}</td></tr>");
        };
        for route in &self.routes {
            row(route.path, route.leads_to, !route.path.contains('<'));
        }
        for service in &self.services {
            row(&service.path, service.problem.unwrap_or(service.leads_to), true);
        }
        for agent in &self.agents {
            row(agent, "an agent", true);
        }
        let version = escape(self.version);
        format!(
            "<!DOCTYPE html>\n<html><head><title>DC/OS</title></head>\n<body><h1>DC/OS {version}</h1>\n\
            <table>\n{rows}</table>\n</body></html>\n"
        )
    }
}

/// A service's name as it stands in a path: its slashes stay.
fn path_of(name: &str) -> String {
    const ESCAPED: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
    percent_encoding::utf8_percent_encode(name, ESCAPED).to_string()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
