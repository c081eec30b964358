//! `dcos marathon debug`: what `/v2/queue` knows of instances that are not launched.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::api::{Marathon, absolute};
use super::waiting::{self, number};
use crate::{Align, Error, Table, output};

/// What stands for nothing.
const NOTHING: &str = "---";
/// The columns of what an offer is tried for, each with the reason of an offer that failed.
const CHECKS: [(&str, &str); 7] = [
    ("ROLE", "UnfulfilledRole"),
    ("CONSTRAINTS", "UnfulfilledConstraint"),
    ("CPUS", "InsufficientCpus"),
    ("MEM", "InsufficientMemory"),
    ("DISK", "InsufficientDisk"),
    ("PORTS", "InsufficientPorts"),
    ("SCARCE", "DeclinedScarceResources"),
];

/// `dcos marathon debug`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print a list of currently queued instance launches for debugging purpose
    List {
        /// Print JSON-formatted data
        #[arg(long)]
        json: bool,
    },
    /// Display summarized information for a queued instance launch for debugging purpose
    Summary(OfApp),
    /// Display detailed information for a queued instance launch for debugging purpose
    Details(OfApp),
}

/// An app in the queue.
#[derive(Debug, Args)]
pub struct OfApp {
    /// Print JSON-formatted data
    #[arg(long)]
    json: bool,
    /// The application ID
    app_id: String,
}

pub(super) async fn run(command: Command, marathon: &Marathon) -> Result<(), Error> {
    match command {
        Command::List { json } => {
            let queue = marathon.queue(false).await?;
            if json { output::json(&queue) } else { list(&queue).print() }
        }
        Command::Summary(app) => of_app(marathon, &app, summary).await,
        Command::Details(app) => of_app(marathon, &app, details).await,
    }
}

async fn of_app(marathon: &Marathon, app: &OfApp, table: fn(&Value) -> Table) -> Result<(), Error> {
    let id = absolute(&app.app_id);
    let queue = marathon.queue(true).await?;
    let Some(item) = queue.iter().find(|item| item["app"]["id"] == id.as_str()) else {
        marathon.app(&id).await?;
        return Err(Error::new(format!("couldn't find app {id} in Marathon queue"))
            .hint(format!("It waits for nothing; `dcos marathon app show {id}` says how it is.")));
    };
    if app.json {
        return output::json(item);
    }
    output::say(&format!("{id} waits: {}", waiting::reason(item)));
    table(item).print()
}

/// dcos-core-cli: debugList.
fn list(queue: &[Value]) -> Table {
    let mut table = Table::new([
        "ID",
        "SINCE",
        "INSTANCES TO LAUNCH",
        "WAITING",
        "PROCESSED OFFERS",
        "UNUSED OFFERS",
        "LAST UNUSED OFFER",
        "LAST USED OFFER",
        "WAITING FOR",
    ])
    .dispensable(&[
        "LAST USED OFFER",
        "LAST UNUSED OFFER",
        "UNUSED OFFERS",
        "PROCESSED OFFERS",
        "WAITING",
        "SINCE",
        "INSTANCES TO LAUNCH",
    ]);
    for heading in ["INSTANCES TO LAUNCH", "PROCESSED OFFERS", "UNUSED OFFERS"] {
        table = table.align(heading, Align::Right);
    }
    for item in queue {
        let summary = &item["processedOffersSummary"];
        let when = |field: &str| summary[field].as_str().unwrap_or(NOTHING).to_owned();
        table.row([
            item["app"]["id"].as_str().unwrap_or_default().to_owned(),
            item["since"].as_str().unwrap_or_default().to_owned(),
            number(&item["count"]),
            number(&item["delay"]["overdue"]),
            number(&summary["processedOffersCount"]),
            number(&summary["unusedOffersCount"]),
            when("lastUnusedOfferAt"),
            when("lastUsedOfferAt"),
            waiting::reason(item),
        ]);
    }
    table.sort();
    table
}

fn unused_offers(item: &Value) -> &[Value] {
    item["lastUnusedOffers"].as_array().map_or(&[], Vec::as_slice)
}

fn failed(offer: &Value, reason: &str) -> bool {
    offer["reason"].as_array().is_some_and(|reasons| reasons.iter().any(|found| found == reason))
}

/// How many of the last offers would have done. dcos-core-cli: marathonDebugSummary.
fn summary(item: &Value) -> Table {
    let offers = unused_offers(item);
    let mut table = Table::new(["RESOURCE", "REQUESTED", "MATCHED", "PERCENTAGE"]);
    let requested = |field: &str| match &item["app"][field] {
        Value::Null => NOTHING.to_owned(),
        value => number(value),
    };
    for (name, reason) in &CHECKS[..6] {
        let matched = offers.iter().filter(|offer| !failed(offer, reason)).count();
        let percentage = match offers.len() {
            0 => NOTHING.to_owned(),
            all => format!("{:.2}%", matched as f64 / all as f64 * 100.0),
        };
        let row = [
            (*name).to_owned(),
            requested(&name.to_ascii_lowercase()),
            format!("{matched}/{}", offers.len()),
            percentage,
        ];
        table.row(row);
    }
    table
}

/// What of each of the last offers would have done. dcos-core-cli: marathonDebugDetails.
fn details(item: &Value) -> Table {
    let checks = CHECKS.iter().map(|(name, _)| *name);
    let mut table = Table::new(std::iter::once("HOSTNAME").chain(checks).chain(std::iter::once("RECEIVED")));
    for offer in unused_offers(item) {
        let host = offer["offer"]["hostname"].as_str().unwrap_or(NOTHING).to_owned();
        let received = offer["timestamp"].as_str().unwrap_or(NOTHING).to_owned();
        let checks = CHECKS.iter().map(|(_, reason)| if failed(offer, reason) { "-" } else { "ok" });
        let checks = checks.map(str::to_owned);
        table.row(std::iter::once(host).chain(checks).chain(std::iter::once(received)));
    }
    table.sort();
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn item() -> Value {
        json!({
            "count": 1, "since": "2019-11-28T14:33:09.156Z", "role": "*",
            "delay": {"overdue": true, "timeLeftSeconds": 0},
            "app": {"id": "/test-app", "cpus": 64.0, "mem": 32, "role": "*", "constraints": [["hostname", "UNIQUE"]]},
            "processedOffersSummary": {
                "processedOffersCount": 90, "unusedOffersCount": 80,
                "lastUnusedOfferAt": "2019-11-28T14:33:07.631Z",
                "rejectSummaryLastOffers": [{"reason": "InsufficientCpus", "declined": 1, "processed": 2}],
            },
            "lastUnusedOffers": [
                {"offer": {"hostname": "a"}, "reason": ["InsufficientCpus"], "timestamp": "T1"},
                {"offer": {"hostname": "b"}, "reason": ["InsufficientPorts"], "timestamp": "T2"},
            ],
        })
    }

    #[test]
    fn the_queue_is_a_table() {
        let text = list(&[item()]).render(None);
        assert_eq!(
            text.lines().nth(1).unwrap(),
            "  /test-app  2019-11-28T14:33:09.156Z                    1  true                   90             80  \
             2019-11-28T14:33:07.631Z  ---              not enough cpus for 64 (1 of 2 agents)"
        );
    }

    #[test]
    fn offers_that_did_not_do_are_summed_up() {
        let text = summary(&item()).render(None);
        let check = |line: usize, expected: &str| assert_eq!(text.lines().nth(line).unwrap(), expected);
        check(0, "   RESOURCE           REQUESTED         MATCHED  PERCENTAGE");
        check(2, "  CONSTRAINTS  [[\"hostname\",\"UNIQUE\"]]  2/2      100.00%");
        check(3, "  CPUS         64                       1/2      50.00%");
    }

    #[test]
    fn each_offer_is_a_line() {
        assert_eq!(
            details(&item()).render(None).lines().nth(2).unwrap(),
            "  b         ok    ok           ok    ok   ok    -      ok      T2"
        );
    }
}
