//! `/metrics`.

use serde_json::json;

use super::{Api, Outcome};

impl Api {
    /// Numbers in the shape of Dropwizard's, under Marathon's names where it has them.
    pub(super) async fn metrics(&self) -> Outcome {
        self.read_json(|view| {
            let mut total = api_marathon::Counts::default();
            let mut instances = 0u64;
            let mut apps = 0u64;
            for app in view.core.apps() {
                let counts = view.core.counts(&app.id);
                total.tasks_staged += counts.tasks_staged;
                total.tasks_running += counts.tasks_running;
                total.tasks_healthy += counts.tasks_healthy;
                total.tasks_unhealthy += counts.tasks_unhealthy;
                instances += u64::from(app.instances);
                apps += 1;
            }
            let gauge = |value: u64| json!({ "value": value });
            Ok(json!({
                "version": "4.0.0",
                "gauges": {
                    "marathon.apps.active.gauge": gauge(apps),
                    "marathon.deployments.active.gauge": gauge(view.core.deployments().len() as u64),
                    "marathon.http.event-streams.active.gauge": gauge(view.gauges.event_streams as u64),
                    "marathon.health-checks.active.gauge": gauge(view.gauges.probed_tasks as u64),
                    "marathon.instances.wanted.gauge": gauge(instances),
                    "marathon.instances.running.gauge": gauge(total.tasks_running.into()),
                    "marathon.instances.staged.gauge": gauge(total.tasks_staged.into()),
                    "marathon.instances.healthy.gauge": gauge(total.tasks_healthy.into()),
                    "marathon.instances.unhealthy.gauge": gauge(total.tasks_unhealthy.into()),
                    "marathon.mesos.subscribed.gauge": gauge(view.gauges.is_subscribed.into()),
                },
                "counters": {
                    "marathon.store.commits.counter": { "count": view.gauges.commits },
                },
            }))
        })
        .await
    }
}
