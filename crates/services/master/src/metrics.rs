//! The numbers of `/metrics/snapshot`.

use master_core::Metrics;

use api_mesos::json::document;

/// All numbers as one document, by name.
pub(crate) fn document_of(metrics: &Metrics) -> Vec<u8> {
    document(|o| {
        for (name, value) in metrics {
            o.field(name, *value);
        }
    })
}

/// Adds what the machine says of itself. Mesos: process::System.
pub(crate) fn add_system(metrics: &mut Metrics) {
    let system = rustix::system::sysinfo();
    // The kernel's loads are fixed point with 16 bits behind the point.
    for (name, load) in ["1min", "5min", "15min"].into_iter().zip(system.loads) {
        metrics.insert(format!("system/load_{name}"), load as f64 / 65536.0);
    }
    let unit = f64::from(system.mem_unit.max(1));
    metrics.insert("system/mem_total_bytes".to_owned(), system.totalram as f64 * unit);
    metrics.insert("system/mem_free_bytes".to_owned(), system.freeram as f64 * unit);
    let cpus = std::thread::available_parallelism().map_or(1, |count| count.get());
    metrics.insert("system/cpus_total".to_owned(), cpus as f64);
}

/// `/system/stats.json`. Mesos: process::System::stats.
pub(crate) fn system_stats() -> Vec<u8> {
    let mut metrics = Metrics::new();
    add_system(&mut metrics);
    let of = |name: &str| metrics.get(&format!("system/{name}")).copied().unwrap_or_default();
    document(|o| {
        o.field("avg_load_15min", of("load_15min"))
            .field("avg_load_1min", of("load_1min"))
            .field("avg_load_5min", of("load_5min"))
            .field("cpus_total", of("cpus_total") as u64)
            .field("mem_free_bytes", of("mem_free_bytes") as u64)
            .field("mem_total_bytes", of("mem_total_bytes") as u64);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_memory_and_cpus() {
        let mut metrics = Metrics::new();
        add_system(&mut metrics);
        assert!(metrics["system/mem_total_bytes"] > metrics["system/mem_free_bytes"]);
        assert!(metrics["system/cpus_total"] >= 1.0 && metrics["system/load_1min"] >= 0.0);
        let text = String::from_utf8(document_of(&Metrics::from([("b/c".to_owned(), 4.0)]))).unwrap();
        assert_eq!(text, r#"{"b/c":4.0}"#);
    }
}
