//! `dcos task ls`.

use api_mesos::mode_text;
use clap::Args;
use mesos_proto::v1::FileInfo;

use super::find::{self, Filters};
use crate::{Align, Client, Error, Table, output, sandbox};

/// `dcos task ls`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A part of the task's id, or a pattern for the whole of it
    task: String,
    /// A directory in the sandbox
    #[arg(default_value = ".")]
    path: String,
    /// Print completed and in-progress tasks
    #[arg(long)]
    all: bool,
    /// Print completed tasks
    #[arg(long)]
    completed: bool,
    /// Print full Mesos sandbox file attributes
    #[arg(short, long)]
    long: bool,
    /// Print in json format
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments, client: &Client) -> Result<(), Error> {
    let filters = Filters {
        active: !arguments.completed,
        completed: arguments.all || arguments.completed,
        id: arguments.task,
        agent: None,
    };
    let tasks = find::all(client, &filters).await?;
    let path = arguments.path.trim_matches('/');
    let mut of_tasks = serde_json::Map::new();
    for task in &tasks {
        let directory = match path {
            "" | "." => task.sandbox()?,
            path => format!("{}/{path}", task.sandbox()?),
        };
        let listed = sandbox::list(client, &task.slave_id, &directory).await?;
        let files = listed.ok_or_else(|| {
            Error::new(format!("cannot access '{}': no such file or directory", arguments.path))
                .hint(format!("`dcos task ls {}` shows what is in the sandbox.", task.id))
        })?;
        if arguments.json {
            of_tasks.insert(task.id.clone(), files.iter().map(as_json).collect());
            continue;
        }
        if tasks.len() > 1 {
            output::line(&format!("===> {} <===", task.id))?;
        }
        match arguments.long {
            true => long(&files).print()?,
            false => {
                let names: Vec<&str> = files.iter().map(|file| sandbox::name(&file.path)).collect();
                output::line(&names.join("  "))?;
            }
        }
    }
    match arguments.json {
        true => output::json(&of_tasks),
        false => Ok(()),
    }
}

fn long(files: &[FileInfo]) -> Table {
    let mut table = Table::new(["MODE", "LINKS", "UID", "GID", "SIZE", "DATE", "NAME"])
        .align("LINKS", Align::Right)
        .align("SIZE", Align::Right);
    for file in files {
        table.row([
            mode_text(file.mode()),
            file.nlink().to_string(),
            file.uid().to_owned(),
            file.gid().to_owned(),
            file.size().to_string(),
            date(seconds(file)),
            sandbox::name(&file.path).to_owned(),
        ]);
    }
    table
}

fn seconds(file: &FileInfo) -> i64 {
    file.mtime.as_ref().map_or(0, |time| time.nanoseconds.div_euclid(1_000_000_000))
}

fn as_json(file: &FileInfo) -> serde_json::Value {
    serde_json::json!({
        "path": sandbox::name(&file.path), "mode": mode_text(file.mode()), "nlink": file.nlink(),
        "uid": file.uid(), "gid": file.gid(), "size": file.size(), "mtime": seconds(file),
    })
}

/// RFC 822 in UTC, as in `02 Jan 06 15:04 UTC`.
fn date(seconds: i64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // From days to the civil calendar (Howard Hinnant's algorithm), years beginning in March.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 2 } else { from_march - 10 };
    let year = year_of_era + era * 400 + i64::from(month < 2);
    let name = usize::try_from(month).ok().and_then(|month| MONTHS.get(month)).unwrap_or(&"");
    format!("{day:02} {name} {:02} {:02}:{:02} UTC", year.rem_euclid(100), rest / 3600, rest % 3600 / 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let check = |seconds, expect: &str| assert_eq!(date(seconds), expect);
        check(0, "01 Jan 70 00:00 UTC");
        check(951_782_400, "29 Feb 00 00:00 UTC");
        check(1_136_214_245, "02 Jan 06 15:04 UTC");
        check(1_798_761_599, "31 Dec 26 23:59 UTC");
    }
}
