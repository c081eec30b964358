//! Why an app waits, by its item of `/v2/queue`.

use serde_json::Value;

/// Why the app of this item waits, in a few words.
pub(crate) fn reason(item: &Value) -> String {
    let left = item["delay"]["timeLeftSeconds"].as_u64().unwrap_or_default();
    if item["delay"]["overdue"] == false && left > 0 {
        let failure = item["lastTaskFailure"]["message"].as_str().map(str::trim);
        return match failure.filter(|message| !message.is_empty()) {
            Some(message) => format!("held back {left} s after: {message}"),
            None => format!("held back {left} s"),
        };
    }
    if item["count"] == 0 && item["preparing"][0].is_object() {
        return preparing(&item["preparing"][0]);
    }
    let summary = &item["processedOffersSummary"];
    let steps = summary["rejectSummaryLastOffers"].as_array();
    let offers = steps.and_then(|steps| steps.first()?["processed"].as_u64()).unwrap_or_default();
    let declined: Vec<String> = steps
        .into_iter()
        .flatten()
        .filter_map(|step| {
            let declined = step["declined"].as_u64().filter(|declined| *declined > 0)?;
            let what = words(step["reason"].as_str()?, item);
            Some(format!("{what} ({declined} of {offers} agents)"))
        })
        .collect();
    match declined.is_empty() {
        true => "no agent has offered anything since".to_owned(),
        false => declined.join(", "),
    }
}

/// What an agent does for a task before it starts.
fn preparing(task: &Value) -> String {
    let host = task["host"].as_str().unwrap_or("its agent");
    match task["message"].as_str().map(str::trim).filter(|message| !message.is_empty()) {
        Some(message) => format!("being prepared on {host}: {message}"),
        None => format!("being prepared on {host}"),
    }
}

/// A reason of Marathon's in words, with what was asked for.
fn words(reason: &str, item: &Value) -> String {
    let asked = |field: &str| match &item["app"][field] {
        Value::Null => String::new(),
        asked => format!(" for {}", number(asked)),
    };
    match reason {
        "UnfulfilledRole" => "resources of another role".to_owned(),
        "UnfulfilledConstraint" => "constraint not met".to_owned(),
        "NoCorrespondingReservationFound" => "reservation not found".to_owned(),
        "AgentMaintenance" => "maintenance".to_owned(),
        "InsufficientCpus" => format!("not enough cpus{}", asked("cpus")),
        "InsufficientMemory" => format!("not enough mem{}", asked("mem")),
        "InsufficientDisk" => format!("not enough disk{}", asked("disk")),
        "InsufficientGpus" => format!("not enough gpus{}", asked("gpus")),
        "InsufficientPorts" => "ports not free".to_owned(),
        "DeclinedScarceResources" => "kept for apps that need gpus".to_owned(),
        other => other.to_owned(),
    }
}

/// A number as short as it is exact: `1`, `0.5`.
pub(super) fn number(value: &Value) -> String {
    match value.as_f64() {
        Some(number) => number.to_string(),
        None => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_app_waits_for_is_said_in_words() {
        let check = |item: Value, expected: &str| assert_eq!(reason(&item), expected);
        check(
            json!({"delay": {"timeLeftSeconds": 12, "overdue": false},
                "lastTaskFailure": {"message": "Command exited with status 1"}}),
            "held back 12 s after: Command exited with status 1",
        );
        check(json!({"delay": {"timeLeftSeconds": 3, "overdue": false}}), "held back 3 s");
        check(
            json!({"delay": {"timeLeftSeconds": 0, "overdue": true}}),
            "no agent has offered anything since",
        );
        check(
            json!({"count": 0, "delay": {"timeLeftSeconds": 0, "overdue": true},
                "preparing": [{"host": "10.0.0.2", "message": "Pulling image busybox: 1 of 4 MiB"}]}),
            "being prepared on 10.0.0.2: Pulling image busybox: 1 of 4 MiB",
        );
        check(
            json!({
                "delay": {"timeLeftSeconds": 0, "overdue": true},
                "app": {"cpus": 64.0, "mem": 32},
                "processedOffersSummary": {"rejectSummaryLastOffers": [
                    {"reason": "UnfulfilledRole", "declined": 1, "processed": 3},
                    {"reason": "InsufficientCpus", "declined": 2, "processed": 2},
                    {"reason": "InsufficientMemory", "declined": 0, "processed": 0},
                ]},
            }),
            "resources of another role (1 of 3 agents), not enough cpus for 64 (2 of 3 agents)",
        );
    }
}
