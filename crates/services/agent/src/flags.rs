//! The flags of Mesos' agent that mean something here, with what this agent does.

use base::duration_text;

use crate::Config;

impl Config {
    /// Sorted by name. `address` is where the agent listens.
    pub(crate) fn flags(&self, address: &str) -> Vec<(&'static str, String)> {
        let (ip, port) = address.rsplit_once(':').unwrap_or((address, ""));
        let mut flags = vec![
            ("authenticate_http_executors", "false".to_owned()),
            ("authenticate_http_readonly", "false".to_owned()),
            ("authenticate_http_readwrite", "false".to_owned()),
        ];
        if let Some(attributes) = &self.attributes {
            flags.push(("attributes", attributes.clone()));
        }
        flags.extend([
            ("cgroups_enable_cfs", self.enforce_cpu_quota.to_string()),
            ("cgroups_root", self.cgroup_root().display().to_string()),
            ("containerizers", "mesos".to_owned()),
            ("default_role", "*".to_owned()),
            ("executor_registration_timeout", duration_text(self.executor_registration_timeout)),
            ("executor_reregistration_timeout", duration_text(self.executor_reregistration_timeout)),
            ("executor_shutdown_grace_period", duration_text(self.executor_shutdown_grace_period)),
            ("gc_delay", duration_text(self.gc_delay)),
            ("hostname", self.shown_hostname()),
            ("http_command_executor", "true".to_owned()),
            ("http_executor_domain_sockets", "true".to_owned()),
            ("ip", ip.to_owned()),
            ("isolation", self.isolation_names().to_owned()),
            ("master", self.master.to_string()),
            ("max_completed_executors_per_framework", crate::HISTORY.to_string()),
            ("port", port.to_owned()),
            ("recover", "reconnect".to_owned()),
            ("recovery_timeout", duration_text(self.recovery_timeout)),
        ]);
        if let Some(resources) = &self.resources {
            flags.push(("resources", resources.clone()));
        }
        flags.extend([
            ("switch_user", host::is_root().to_string()),
            ("work_dir", self.dir.display().to_string()),
        ]);
        flags.sort();
        flags
    }

    fn isolation_names(&self) -> &'static str {
        match self.isolation() {
            (crate::Isolation::Full, _) => {
                "cgroups/cpu,cgroups/mem,cgroups/pids,namespaces/pid,namespaces/ipc,filesystem/linux"
            }
            (crate::Isolation::Plain, _) => "posix/cpu,posix/mem",
        }
    }
}
