//! The calls of operators that change something, by who does them. Mesos: `Master::Http::api`.

use base::{AgentId, FrameworkId, Principal};
use mesos_proto::v1::master::Call;
use mesos_proto::v1::master::call::Type;

use crate::effect::Reply;
use crate::input::ConnId;
use crate::master::Master;
use crate::turn::Turn;

impl Master {
    /// Does what an operator asks for, or refuses it. `principal` is who asks, where that was proved.
    pub(crate) fn operator_call(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        call: Call,
        principal: Option<&Principal>,
    ) {
        let kind = call.r#type();
        match kind {
            Type::Teardown => {
                let id = call.teardown.map(|teardown| teardown.framework_id.value).unwrap_or_default();
                self.operator_teardown(turn, conn, &FrameworkId::from(id));
            }
            Type::DrainAgent => self.drain_agent(turn, conn, &call.drain_agent.unwrap_or_default()),
            Type::DeactivateAgent => {
                let id = call.deactivate_agent.unwrap_or_default().agent_id.value;
                self.deactivate_agent(turn, conn, AgentId::from(id));
            }
            Type::ReactivateAgent => {
                let id = call.reactivate_agent.unwrap_or_default().agent_id.value;
                self.reactivate_agent(turn, conn, AgentId::from(id));
            }
            Type::UpdateMaintenanceSchedule | Type::StartMaintenance | Type::StopMaintenance => {
                self.maintenance_call(turn, conn, call);
            }
            Type::MarkAgentGone => {
                let id = call.mark_agent_gone.unwrap_or_default().agent_id.value;
                self.mark_agent_gone(turn, conn, &AgentId::from(id));
            }
            Type::ReserveResources | Type::UnreserveResources => {
                self.operator_operation(turn, conn, call, principal);
            }
            _ => {
                let text = format!("This master does not implement {}", kind.as_str_name());
                turn.reply(conn, Reply::NotImplemented(text));
            }
        }
    }
}
