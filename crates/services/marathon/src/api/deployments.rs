//! `/v2/deployments`.

use http_kit::{StatusCode, respond, target::Query};
use marathon_core::{Answer, Command};

use super::request::flag;
use super::{Api, Outcome, deployed, deployment_of};

impl Api {
    /// The running deployments.
    pub(super) async fn deployments(&self) -> Outcome {
        self.read_json(|view| Ok(view.core.deployments())).await
    }

    /// Undoes a deployment by another, which is the answer; with `force` it is only ended.
    pub(super) async fn cancel_deployment(&self, id: &str, query: &Query) -> Outcome {
        let (id, force) = (id.to_owned(), flag(query, "force", false)?);
        match self.change(Box::new(move |_| Ok(Command::CancelDeployment { id, force }))).await? {
            Answer::Done => Ok(respond::status(StatusCode::ACCEPTED)),
            answer => Ok(deployed(StatusCode::OK, &deployment_of(answer)?)),
        }
    }
}
