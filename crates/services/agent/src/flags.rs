//! The flags of Mesos' agent that mean something here, with what this agent does.

use base::duration_text;

use crate::Config;

impl Config {
    /// Sorted by name. `address` is where the agent listens.
    pub(crate) fn flags(&self, address: &str) -> Vec<(&'static str, String)> {
        let (ip, port) = address.rsplit_once(':').unwrap_or((address, ""));
        let mut flags = vec![
            ("authenticate_http_executors", "false".to_owned()),
            ("authenticate_http_readonly", self.authenticate_http_readonly.to_string()),
            ("authenticate_http_readwrite", self.authenticate_http_readwrite.to_string()),
        ];
        for (name, path) in [("credential", &self.credential), ("http_credentials", &self.http_credentials)] {
            flags.extend(path.iter().map(|path| (name, path.display().to_string())));
        }
        if let Some(attributes) = &self.attributes {
            flags.push(("attributes", attributes.clone()));
        }
        flags.extend([
            ("cgroups_enable_cfs", self.enforce_cpu_quota.to_string()),
            ("cgroups_root", self.cgroup_root().display().to_string()),
            ("containerizers", "mesos".to_owned()),
            ("default_role", self.default_role().unwrap_or("*").to_owned()),
            ("docker_store_dir", self.image_dir().display().to_string()),
            ("executor_registration_timeout", duration_text(self.executor_registration_timeout)),
            ("executor_reregistration_timeout", duration_text(self.executor_reregistration_timeout)),
            ("executor_shutdown_grace_period", duration_text(self.executor_shutdown_grace_period)),
            ("fetcher_cache_dir", self.fetcher().cache_dir.display().to_string()),
            ("fetcher_cache_size", bytes_text(self.fetcher_cache_size)),
            ("fetcher_stall_timeout", duration_text(self.fetcher_stall_timeout)),
            ("gc_delay", duration_text(self.gc_delay)),
            ("hostname", self.shown_hostname()),
            ("http_command_executor", "true".to_owned()),
            ("http_executor_domain_sockets", "true".to_owned()),
            ("image_providers", "docker".to_owned()),
            ("image_provisioner_backend", "overlay".to_owned()),
            ("ip", ip.to_owned()),
            ("isolation", self.isolation_names().to_owned()),
            ("master", self.master.to_string()),
            ("max_completed_executors_per_framework", crate::HISTORY.to_string()),
            ("port", port.to_owned()),
            ("recover", "reconnect".to_owned()),
            ("recovery_timeout", duration_text(self.recovery_timeout)),
        ]);
        if let Some(docker_config) = &self.docker_config {
            flags.push(("docker_config", docker_config.display().to_string()));
        }
        if let Some(resources) = &self.resources {
            flags.push(("resources", resources.clone()));
        }
        flags.extend([
            ("sandbox_directory", crate::spec::SANDBOX.to_owned()),
            ("switch_user", host::is_root().to_string()),
            ("work_dir", self.dir.display().to_string()),
        ]);
        flags.sort();
        flags
    }

    fn isolation_names(&self) -> &'static str {
        match self.isolation() {
            (crate::Isolation::Full, _) => {
                "cgroups/cpu,cgroups/mem,cgroups/pids,docker/runtime,filesystem/linux,linux/capabilities,linux/seccomp,\
                 namespaces/ipc,namespaces/pid,network/cni,posix/rlimits,volume/host_path,volume/sandbox_path"
            }
            (crate::Isolation::Plain, _) => "posix/cpu,posix/mem",
        }
    }
}

/// A number of bytes in the largest unit that loses nothing (stout: `operator<<(Bytes)`).
fn bytes_text(bytes: u64) -> String {
    let units = [("TB", 40), ("GB", 30), ("MB", 20), ("KB", 10)];
    let whole = units.into_iter().find(|(_, shift)| bytes > 0 && bytes.is_multiple_of(1 << shift));
    whole.map_or_else(|| format!("{bytes}B"), |(unit, shift)| format!("{}{unit}", bytes >> shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_lose_nothing() {
        let check = |bytes, text: &str| assert_eq!(bytes_text(bytes), text);
        check(0, "0B");
        check(1023, "1023B");
        check(2 << 30, "2GB");
        check(1536 << 20, "1536MB");
    }
}
