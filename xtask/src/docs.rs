//! From the tables that code reads by to the reference that people read: the app definition's.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use api_marathon::reference::{Default, FIELDS, Field, Kind};
use api_mesos::docker_parameters;

use crate::codegen::Mode;

const FILE: &str = "docs/guide/app-definition.md";

const INTRO: &str = "\
# App definition

<!-- Written by `cargo xtask docs` from `crates/vocabulary/api-marathon/src/reference/table.rs`; change that instead. -->

An app is posted as JSON: `dcos marathon app add web.json`, or `POST /v2/apps`. What is not given gets a default; what
is wrong is told field by field, all at once, and nothing is changed then. `dcos marathon app show web` shows the whole
definition.

";

const BETWEEN: &str = "
The fields, by the object that they are in. `x[]` is each element of the array `x`; a field that is *required* must be
there if its object is. A field that is null counts as not given, and one that is not known is passed over.
";

/// What the guide shows; a test posts them.
const EXAMPLES: [(&str, &str); 3] = [
    (
        "A command:",
        r#"{
  "id": "/shop/worker",
  "cmd": "while sleep 10; do date; done",
  "cpus": 0.1,
  "mem": 32,
  "instances": 2
}"#,
    ),
    (
        "A web service from an image, on a network of its own, with a health check:",
        r#"{
  "id": "/shop/web",
  "container": {
    "type": "MESOS",
    "docker": { "image": "nginx:1.27" },
    "portMappings": [{ "containerPort": 80, "hostPort": 0, "name": "http" }]
  },
  "networks": [{ "mode": "container/bridge" }],
  "cpus": 0.5,
  "mem": 128,
  "healthChecks": [{ "protocol": "HTTP", "path": "/", "intervalSeconds": 5, "gracePeriodSeconds": 30 }]
}"#,
    ),
    (
        "A program that is fetched, checked and started without a shell:",
        r#"{
  "id": "/batch/report",
  "args": ["./report", "--daily"],
  "fetch": [{
    "uri": "https://downloads.example.com/report-1.2.tar.gz",
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
  }],
  "user": "nobody"
}"#,
    ),
];

/// Writes the reference, or fails if it is not what the table says.
pub(crate) fn run(mode: Mode) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the workspace")?;
    let path = root.join(FILE);
    let text = reference();
    if mode == Mode::Write {
        let folder = path.parent().context("the guide lies in a folder")?;
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        return std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()));
    }
    let found = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    if found != text {
        bail!("{} is not what the table of fields says: run `cargo xtask docs`", path.display());
    }
    Ok(())
}

fn reference() -> String {
    let mut text = INTRO.to_owned();
    for (title, example) in EXAMPLES {
        write!(text, "{title}\n\n```json\n{example}\n```\n\n").expect("strings take everything");
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text.push_str(BETWEEN);
    for object in objects() {
        let title = if object.is_empty() { "The app".to_owned() } else { format!("`{object}`") };
        write!(text, "\n## {title}\n\n| Field | Type | Default | Meaning |\n|---|---|---|---|\n")
            .expect("strings take everything");
        for field in FIELDS.iter().filter(|field| parent(field.path) == object) {
            text.push_str(&row(field));
        }
        if object == "container.docker.parameters[]" {
            let names = docker_parameters::names().map(|name| format!("`{name}`")).collect::<Vec<_>>();
            write!(text, "\nThese have a meaning: {}.\n", names.join(", ")).expect("strings take everything");
        }
    }
    text
}

/// The objects that fields are in, in the order in which they first come up.
fn objects() -> Vec<&'static str> {
    let mut objects = Vec::new();
    for field in FIELDS {
        let object = parent(field.path);
        if !objects.contains(&object) {
            objects.push(object);
        }
    }
    objects
}

fn parent(path: &'static str) -> &'static str {
    path.rsplit_once('.').map_or("", |(parent, _)| parent)
}

fn row(field: &Field) -> String {
    let name = field.path.rsplit('.').next().unwrap_or(field.path);
    let default = match field.default {
        Default::Required => "*required*".to_owned(),
        Default::Absent => String::new(),
        Default::Json(json) => format!("`{json}`"),
        Default::Said(words) => words.to_owned(),
    };
    let meaning = match field.kind {
        Kind::Refused(why) => format!("Not supported: {} Marathon's answer: \"{why}\"", field.meaning),
        Kind::Old(new) => format!("Old form of `{new}`. {}", field.meaning),
        _ => field.meaning.to_owned(),
    };
    let cells = [kind(field.kind), default, meaning].map(|cell| cell.replace('|', "\\|"));
    format!("| `{name}` | {} |\n", cells.join(" | "))
}

fn kind(kind: Kind) -> String {
    match kind {
        Kind::Text("") => "string".to_owned(),
        Kind::Text(allowed) => format!("string: {allowed}"),
        Kind::Flag => "boolean".to_owned(),
        Kind::Whole(min, max) if max >= i32::MAX as u64 => format!("whole number, {min} or more"),
        Kind::Whole(min, max) => format!("whole number, {min} to {max}"),
        Kind::Number(min, max) if max > 1e9 => format!("number, {min} or more"),
        Kind::Number(min, max) => format!("number, {min} to {max}"),
        Kind::Word(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or "),
        Kind::List(of) => format!("array of {of}"),
        Kind::Object => "object".to_owned(),
        Kind::Texts => "object of strings".to_owned(),
        Kind::Other(words) => words.to_owned(),
        Kind::Refused(_) => "refused".to_owned(),
        Kind::Old(_) => "old form".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use api_marathon::{AppUpdate, Settings};
    use base::Wall;

    use super::*;

    #[test]
    fn the_reference_is_what_the_table_says() {
        run(Mode::Check).unwrap();
    }

    #[test]
    fn examples_are_apps() {
        let settings = Settings { role: "slave_public".to_owned() };
        for (title, example) in EXAMPLES {
            let app = AppUpdate::parse(example.as_bytes()).and_then(|it| it.create(None, &settings, Wall(0)));
            assert!(app.is_ok(), "{title} {app:?}");
        }
    }
}
