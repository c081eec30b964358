//! What is embedded into apps.

use std::sync::Arc;

use api_marathon::{AppDefinition, AppInfo, Identifiable};
use http_kit::target::Query;

use super::stats;
use crate::event_loop::View;

/// The parts to embed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Embed {
    pub(crate) tasks: bool,
    pub(crate) deployments: bool,
    pub(crate) counts: bool,
    pub(crate) last_task_failure: bool,
    pub(crate) task_stats: bool,
}

impl Embed {
    /// What the query asks for, with any of the prefixes that Marathon takes, or none. What is unknown is ignored.
    ///
    /// Marathon: `InfoEmbedResolver.resolveApp`.
    pub(crate) fn of(query: &Query) -> Embed {
        let mut embed = Embed::default();
        for name in query.all("embed") {
            let bare = ["group.apps.", "apps.", "app."].iter().find_map(|prefix| name.strip_prefix(prefix));
            match bare.unwrap_or(name) {
                "tasks" => (embed.tasks, embed.deployments) = (true, true),
                "failures" => (embed.tasks, embed.last_task_failure, embed.deployments) = (true, true, true),
                "deployments" => embed.deployments = true,
                "lastTaskFailure" => embed.last_task_failure = true,
                "counts" => embed.counts = true,
                "taskStats" => embed.task_stats = true,
                _ => {}
            }
        }
        embed
    }

    /// The app with the parts.
    pub(crate) fn app(self, view: &View<'_>, app: Arc<AppDefinition>) -> AppInfo {
        let (core, id) = (view.core, &app.id);
        let deployments = || {
            let locked_by = core.deployment_of(id).into_iter();
            locked_by.map(|id| Identifiable { id: id.to_owned() }).collect()
        };
        AppInfo {
            counts: self.counts.then(|| core.counts(id)),
            deployments: self.deployments.then(deployments),
            tasks: self.tasks.then(|| core.tasks(id)),
            last_task_failure: core.last_task_failure(id).filter(|_| self.last_task_failure).cloned(),
            tasks_stats: self.task_stats.then(|| stats::of(&app, core.instances(id), view.now.wall)),
            app,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts() {
        let check =
            |query: &str, expected: Embed| assert_eq!(Embed::of(&Query::parse(query)), expected, "{query}");
        let tasks = Embed { tasks: true, deployments: true, ..Embed::default() };
        check("", Embed::default());
        check("embed=apps.tasks", tasks);
        check("embed=app.tasks&embed=nonsense", tasks);
        check("embed=tasks&embed=group.apps.counts", Embed { counts: true, ..tasks });
        check("embed=apps.failures", Embed { last_task_failure: true, ..tasks });
        check("embed=apps.taskStats", Embed { task_stats: true, ..Embed::default() });
    }
}
