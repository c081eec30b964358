use std::time::Duration;

/// What a container uses at one moment. A part is `None` where nothing on this machine counts it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Cpu time since the container started.
    pub cpu: Option<CpuUsage>,
    /// How the CFS quota held it back.
    pub throttling: Option<Throttling>,
    /// Memory now.
    pub memory: Option<MemoryUsage>,
    /// Processes that the kernel killed because the memory limit was reached.
    pub oom_kills: u64,
    /// Processes now, the init counted.
    pub processes: u64,
}

/// Cpu time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuUsage {
    /// In user mode.
    pub user: Duration,
    /// In the kernel.
    pub system: Duration,
}

/// CFS periods of 100 ms, and those in which the quota ran out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttling {
    /// Periods in which the container wanted to run.
    pub periods: u64,
    /// Periods in which it used up its quota.
    pub throttled_periods: u64,
    /// For how long it was held back.
    pub throttled_time: Duration,
}

/// Memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUsage {
    /// All that is charged to the container.
    pub total_bytes: u64,
    /// Anonymous memory.
    pub rss_bytes: u64,
    /// Page cache.
    pub cache_bytes: u64,
    /// The limit; `None` without one.
    pub limit_bytes: Option<u64>,
}

/// A time that the kernel counts in ticks of `sysconf(_SC_CLK_TCK)`.
pub(crate) fn of_ticks(ticks: u64) -> Duration {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_nanos(ticks.saturating_mul(1_000_000_000 / per_second))
}
