//! `/maintenance/...` and `/machine/...`, which do the same as calls of the operator API.
//! Mesos: `Master::Http::maintenanceSchedule`, `machineDown`, `machineUp`, `maintenanceStatus`.

use api_mesos::Query;
use http_kit::mesos::{bad_request, document, only, only_post};
use http_kit::{Method, Request, Response};
use mesos_proto::binary::DecodeError;
use mesos_proto::json::{from_json, from_json_list};
use mesos_proto::v1::MachineId;
use mesos_proto::v1::master::Call;
use mesos_proto::v1::master::call::{StartMaintenance, StopMaintenance, Type, UpdateMaintenanceSchedule};

use super::{Api, read_body};
use crate::view::View;

impl Api {
    /// `/maintenance/schedule`: shown and set.
    pub(super) async fn maintenance_schedule(&self, request: Request) -> Result<Response, Response> {
        if request.method() == Method::GET {
            return self.maintenance_document(&request, View::MaintenanceSchedule).await;
        }
        if request.method() != Method::POST {
            return Err(only(&["GET", "POST"], request.method()));
        }
        let body = read_body(request).await?;
        let schedule = from_json(&body).map_err(refused)?;
        self.change(Call {
            r#type: Some(Type::UpdateMaintenanceSchedule.into()),
            update_maintenance_schedule: Some(UpdateMaintenanceSchedule { schedule }),
            ..Call::default()
        })
        .await
    }

    /// `/maintenance/status`
    pub(super) async fn maintenance_status(&self, request: Request) -> Result<Response, Response> {
        if request.method() != Method::GET {
            return Err(only(&["GET"], request.method()));
        }
        self.maintenance_document(&request, View::MaintenanceStatus).await
    }

    async fn maintenance_document(&self, request: &Request, view: View) -> Result<Response, Response> {
        let query = Query::parse(request.uri().query().unwrap_or(""))
            .map_err(|error| bad_request(format!("Unable to decode query string: {error}")))?;
        let jsonp = query.jsonp().map_err(bad_request)?;
        Ok(document(self.inbox.read(view).await?, jsonp))
    }

    /// `/machine/down`
    pub(super) async fn machine_down(&self, request: Request) -> Result<Response, Response> {
        let machines = machines(request).await?;
        self.change(Call {
            r#type: Some(Type::StartMaintenance.into()),
            start_maintenance: Some(StartMaintenance { machines }),
            ..Call::default()
        })
        .await
    }

    /// `/machine/up`
    pub(super) async fn machine_up(&self, request: Request) -> Result<Response, Response> {
        let machines = machines(request).await?;
        self.change(Call {
            r#type: Some(Type::StopMaintenance.into()),
            stop_maintenance: Some(StopMaintenance { machines }),
            ..Call::default()
        })
        .await
    }
}

/// The machines in a request's body, a list.
async fn machines(request: Request) -> Result<Vec<MachineId>, Response> {
    if request.method() != Method::POST {
        return Err(only_post(request.method()));
    }
    let body = read_body(request).await?;
    from_json_list(&body).map_err(refused)
}

fn refused(error: DecodeError) -> Response {
    bad_request(match error {
        DecodeError::NotAnObject | DecodeError::NotAList => "Unexpected JSON type parsed".to_owned(),
        error => error.to_string(),
    })
}
