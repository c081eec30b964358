use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use base::Wall;
use tracing::field::{Field, Visit};
use tracing::span::Attributes;
use tracing::{Event, Id, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::LogFile;

/// The most bytes of one file.
const MOST: u64 = 8 * 1024 * 1024;
/// The most files; lines of further components go to the common one.
const FILES: usize = 256;
/// The file of lines that belong to no component.
const COMMON: &str = "dcos";

/// The target of the spans that name components.
pub(crate) const TARGET: &str = "component";

/// Writes each line to the file of its component.
pub(crate) struct Sink {
    dir: PathBuf,
    files: Mutex<BTreeMap<String, Option<LogFile>>>,
}

/// Kept with a component's span.
struct Component(String);

impl Sink {
    pub(crate) fn new(dir: PathBuf) -> Sink {
        Sink { dir, files: Mutex::default() }
    }

    fn write(&self, component: &str, line: &str) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let name = if files.len() >= FILES && !files.contains_key(component) { COMMON } else { component };
        if !files.contains_key(name) {
            let path = crate::path(&self.dir, name);
            files.insert(name.to_owned(), LogFile::open(&path, MOST).ok());
        }
        if let Some(Some(file)) = files.get_mut(name) {
            // A log that cannot be written must not stop who writes it.
            let _ = file.write_line(line.as_bytes());
        }
    }
}

/// A component's name as a file's: `agent 2` is `agent-2`.
pub(crate) fn file_name(component: &str) -> String {
    component.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect()
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Sink {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        if attributes.metadata().target() != TARGET {
            return;
        }
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let (Some(span), Some(name)) = (ctx.span(id), fields.name) {
            span.extensions_mut().replace(Component(name));
        }
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let component = ctx
            .event_scope(event)
            .into_iter()
            .flatten()
            .find_map(|span| span.extensions().get::<Component>().map(|component| component.0.clone()));
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let now = Wall(u64::try_from(nanos).unwrap_or(u64::MAX));
        let meta = event.metadata();
        let Fields { message, rest, .. } = fields;
        let line = format!("{now} {:5} {}: {message}{rest}\n", meta.level(), meta.target());
        self.write(component.as_deref().unwrap_or(COMMON), &line);
    }
}

#[derive(Default)]
struct Fields {
    name: Option<String>,
    message: String,
    rest: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "name" {
            self.name = Some(value.to_owned());
        }
        self.record_debug(field, &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail. Debug escapes line ends in texts; a message is shown as
        // it is but for those, so that a line stays a line.
        let _ = match field.name() {
            "message" => {
                let text = format!("{value:?}").replace('\n', "\\n");
                self.message.write_str(&text)
            }
            name => write!(self.rest, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn lines_go_to_their_components_file() {
        let dir = tempfile::tempdir().unwrap();
        let subscriber = tracing_subscriber::registry().with(Sink::new(dir.path().to_owned()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("outside");
            crate::component("agent 2").in_scope(|| {
                tracing::info_span!("inner").in_scope(|| tracing::warn!(task = "a\nb", "lost\nit"));
            });
        });
        let check = |file: &str, expected: &str| {
            let text = std::fs::read_to_string(dir.path().join(file)).unwrap();
            let (_time, line) = text.split_once(' ').unwrap();
            assert_eq!(line, expected);
        };
        check("dcos.log", "INFO  telemetry::sink::tests: outside\n");
        check("agent-2.log", "WARN  telemetry::sink::tests: lost\\nit task=\"a\\nb\"\n");
    }
}
