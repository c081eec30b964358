use std::time::Duration;

use super::group::{GroupError, read};
use super::{Controller, Group, Version};
use crate::usage::{CpuUsage, MemoryUsage, Throttling, Usage};

/// Values at and above this are how v1 writes "no limit" (the largest page-aligned 63-bit number).
const V1_UNLIMITED: u64 = 1 << 62;

impl Group {
    /// What the container uses now. A missing controller leaves its part empty.
    pub(crate) fn usage(&self) -> Result<Usage, GroupError> {
        let (cpu, throttling) = self.cpu()?;
        Ok(Usage {
            cpu,
            throttling,
            memory: self.memory()?,
            oom_kills: self.oom_kills()?,
            processes: self.processes().len() as u64,
        })
    }

    /// How often the kernel killed one of the container's processes because the memory limit was reached.
    pub(crate) fn oom_kills(&self) -> Result<u64, GroupError> {
        let Some(place) = self.with(Controller::Memory) else { return Ok(0) };
        let file = match place.version() {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        };
        Ok(Table::new(&read(place.directory.join(file))?).get("oom_kill"))
    }

    fn cpu(&self) -> Result<(Option<CpuUsage>, Option<Throttling>), GroupError> {
        let stat = |controller, file: &str| {
            self.with(controller).map(|place| read(place.directory.join(file))).transpose()
        };
        let Some(place) = self.with(Controller::Cpu) else { return Ok((None, None)) };
        let text = stat(Controller::Cpu, "cpu.stat")?.unwrap_or_default();
        let table = Table::new(&text);
        let throttled_time = match place.version() {
            Version::V1 => Duration::from_nanos(table.get("throttled_time")),
            Version::V2 => Duration::from_micros(table.get("throttled_usec")),
        };
        let throttling = Throttling {
            periods: table.get("nr_periods"),
            throttled_periods: table.get("nr_throttled"),
            throttled_time,
        };
        let cpu = match place.version() {
            Version::V2 => Some(CpuUsage {
                user: Duration::from_micros(table.get("user_usec")),
                system: Duration::from_micros(table.get("system_usec")),
            }),
            Version::V1 => stat(Controller::Cpuacct, "cpuacct.stat")?.map(|text| {
                let table = Table::new(&text);
                CpuUsage {
                    user: crate::usage::of_ticks(table.get("user")),
                    system: crate::usage::of_ticks(table.get("system")),
                }
            }),
        };
        Ok((cpu, Some(throttling)))
    }

    fn memory(&self) -> Result<Option<MemoryUsage>, GroupError> {
        let Some(place) = self.with(Controller::Memory) else { return Ok(None) };
        let file = |name: &str| read(place.directory.join(name));
        let number = |text: String| text.trim().parse::<u64>().ok();
        let stat = file("memory.stat")?;
        let table = Table::new(&stat);
        Ok(Some(match place.version() {
            Version::V1 => MemoryUsage {
                total_bytes: number(file("memory.usage_in_bytes")?).unwrap_or(0),
                rss_bytes: table.get("total_rss"),
                cache_bytes: table.get("total_cache"),
                limit_bytes: number(file("memory.limit_in_bytes")?).filter(|bytes| *bytes < V1_UNLIMITED),
            },
            Version::V2 => MemoryUsage {
                total_bytes: number(file("memory.current")?).unwrap_or(0),
                rss_bytes: table.get("anon"),
                cache_bytes: table.get("file"),
                limit_bytes: number(file("memory.max")?),
            },
        }))
    }
}

/// Lines of `name number`, as the kernel writes statistics.
struct Table<'a>(&'a str);

impl<'a> Table<'a> {
    fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// The number behind `name`; 0 where this kernel does not count it.
    fn get(&self, name: &str) -> u64 {
        let of = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
        self.0.lines().find_map(of).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_matched_whole() {
        let text = "oom 3\noom_kill 7\noom_kill_disable 0\nbad x\n";
        let check = |name: &str, expect: u64| assert_eq!(Table::new(text).get(name), expect, "{name}");
        check("oom", 3);
        check("oom_kill", 7);
        check("kill", 0);
        check("bad", 0);
    }
}
