//! `/v2/queue`.

use api_marathon::{AppId, Queue};
use http_kit::{StatusCode, respond, target::Query};
use marathon_core::Command;

use super::{Api, Outcome};

impl Api {
    /// The apps that wait, with the offers that did not fit if `embed=lastUnusedOffers`.
    pub(super) async fn queue(&self, query: &Query) -> Outcome {
        let with_offers = query.all("embed").any(|embed| embed == "lastUnusedOffers");
        self.read_json(move |view| Ok(Queue { queue: view.core.queue(view.now, with_offers) })).await
    }

    /// Launches an app again at once.
    pub(super) async fn reset_delay(&self, id: &str) -> Outcome {
        let id = AppId::new(id);
        self.change(Box::new(move |_| Ok(Command::ResetDelay { id }))).await?;
        Ok(respond::status(StatusCode::NO_CONTENT))
    }
}
