use std::sync::Arc;

use base::Wall;
use serde::Serialize;
use serde_json::Value;

use crate::app::AppDefinition;
use crate::iso;
use crate::task::TaskFailure;

/// `GET /v2/queue`: the apps that wait for instances to be launched.
#[derive(Clone, Debug, Serialize)]
pub struct Queue {
    /// One item for each waiting app.
    pub queue: Vec<QueueItem>,
}

/// An app that waits for instances to be launched, and why it waits.
///
/// Marathon: RAML type `QueueApp`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueItem {
    /// Instances left to launch.
    pub count: u32,
    /// Role of the instances.
    pub role: String,
    /// The delay after failures.
    pub delay: Delay,
    /// When it began to wait.
    #[serde(with = "iso")]
    pub since: Wall,
    /// What became of the offers.
    pub processed_offers_summary: ProcessedOffers,
    /// The last offers that could not be used, only with `embed=lastUnusedOffers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_unused_offers: Option<Vec<UnusedOffer>>,
    /// How its last task failed, which is what a delay comes from. Marathon shows it with the app only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_task_failure: Option<TaskFailure>,
    /// Its launched tasks that their agents prepare. Marathon shows nothing of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub preparing: Vec<Preparing>,
    /// The app.
    pub app: Arc<AppDefinition>,
}

/// A launched task whose agent fetches or pulls something for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Preparing {
    /// The task.
    pub task_id: String,
    /// Hostname of its agent.
    pub host: String,
    /// How far the agent is.
    pub message: String,
    /// When it was launched.
    #[serde(with = "iso")]
    pub since: Wall,
}

/// The delay of an app in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Delay {
    /// Whole seconds until the next launch may be tried.
    pub time_left_seconds: u64,
    /// Whether it waits for offers only.
    pub overdue: bool,
}

/// What became of the offers that an app in the queue was matched against.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessedOffers {
    /// Offers seen since it waits.
    pub processed_offers_count: u64,
    /// Those of them that did not fit.
    pub unused_offers_count: u64,
    /// When the last did not fit.
    #[serde(with = "iso::optional", skip_serializing_if = "Option::is_none")]
    pub last_unused_offer_at: Option<Wall>,
    /// When the last did fit.
    #[serde(with = "iso::optional", skip_serializing_if = "Option::is_none")]
    pub last_used_offer_at: Option<Wall>,
    /// Reasons counted over the last offer of each agent.
    pub reject_summary_last_offers: Vec<Funnel>,
    /// Reasons counted over all offers since it waits.
    pub reject_summary_launch_attempt: Vec<Funnel>,
}

/// One reason for not using offers: of `processed` offers that got this far, `declined` failed here.
///
/// Marathon: RAML type `DeclinedOfferStep`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Funnel {
    /// One of [`Funnel::REASONS`].
    pub reason: &'static str,
    /// Offers that failed for this reason.
    pub declined: u64,
    /// Offers that did not fail for an earlier one.
    pub processed: u64,
}

impl Funnel {
    /// The reasons in the order in which an offer is tried; only the first one counts.
    ///
    /// Marathon: `NoOfferMatchReason.reasonFunnel`.
    pub const REASONS: [&'static str; 10] = [
        "UnfulfilledRole",
        "UnfulfilledConstraint",
        "NoCorrespondingReservationFound",
        "AgentMaintenance",
        "InsufficientCpus",
        "InsufficientMemory",
        "InsufficientDisk",
        "InsufficientGpus",
        "InsufficientPorts",
        "DeclinedScarceResources",
    ];

    /// The whole funnel of `processed` offers, of which `declined(reason)` failed for each reason.
    pub fn all(processed: u64, declined: impl Fn(&str) -> u64) -> Vec<Funnel> {
        let mut left = processed;
        Funnel::REASONS
            .into_iter()
            .map(|reason| {
                let step = Funnel { reason, declined: declined(reason), processed: left };
                left = left.saturating_sub(step.declined);
                step
            })
            .collect()
    }
}

/// An offer that could not be used, with `embed=lastUnusedOffers`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UnusedOffer {
    /// The offer: `{id, hostname, agentId, resources, attributes}`.
    pub offer: Value,
    /// Why, of [`Funnel::REASONS`].
    pub reason: Vec<&'static str>,
    /// When.
    #[serde(with = "iso")]
    pub timestamp: Wall,
}
