//! The system calls of docker's default profile, as a filter for the kernel.

mod program;

use std::collections::BTreeMap;

use libc::c_long;

use crate::capability::Capability;
use program::Verdict;

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
#[error("there is no system call profile for {}", std::env::consts::ARCH)]
pub(crate) struct UnknownArchitecture;

/// A program for the kernel, which refuses with `EPERM` what docker would with these capabilities.
pub(crate) fn docker_default(capabilities: u64) -> Result<Vec<libc::sock_filter>, UnknownArchitecture> {
    let architecture = program::ARCHITECTURE.ok_or(UnknownArchitecture)?;
    Ok(program::compile(architecture, &profile(capabilities)))
}

fn profile(capabilities: u64) -> BTreeMap<u32, Verdict> {
    let has = |capability: Capability| capabilities & 1 << capability as u8 != 0;
    let mut calls: BTreeMap<u32, Verdict> = BTreeMap::new();
    let mut allow = |more: &[c_long]| calls.extend(more.iter().map(|call| (*call as u32, Verdict::Allow)));
    allow(ALWAYS);
    allow(ON_THIS_ARCHITECTURE);
    // Those that the C library had no name for when it was built; the numbers are the same everywhere.
    allow(NEW);
    for (capability, more) in WITH_CAPABILITY {
        if has(*capability) {
            allow(more);
        }
    }
    let mut judge = |call: c_long, verdict| calls.insert(call as u32, verdict);
    judge(libc::SYS_socket, Verdict::UnlessArgument(libc::AF_VSOCK as u32));
    judge(libc::SYS_personality, Verdict::IfArgument(PERSONALITIES));
    if has(Capability::SysAdmin) {
        judge(libc::SYS_clone3, Verdict::Allow);
    } else {
        judge(libc::SYS_clone, Verdict::UnlessBits(NAMESPACES));
        // Its flags lie in memory, where a filter cannot see them. C libraries take ENOSYS for an old kernel
        // and go on with `clone`; EPERM they would take for an error.
        judge(libc::SYS_clone3, Verdict::Errno(libc::ENOSYS as u32));
    }
    calls
}

/// The flags of `clone` that make namespaces: mount, cgroup, uts, ipc, user, pid, net.
const NAMESPACES: u32 = 0x7e02_0000;

/// Linux, Linux with a 32-bit address space, both as `uname` of 2.6, and the question for the present one.
const PERSONALITIES: &[u32] = &[0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// What a capability allows besides.
const WITH_CAPABILITY: &[(Capability, &[c_long])] = &[
    (Capability::DacReadSearch, &[libc::SYS_open_by_handle_at]),
    (
        Capability::SysAdmin,
        &[
            libc::SYS_bpf,
            libc::SYS_clone,
            libc::SYS_fanotify_init,
            libc::SYS_fsconfig,
            libc::SYS_fsmount,
            libc::SYS_fsopen,
            libc::SYS_fspick,
            libc::SYS_lookup_dcookie,
            libc::SYS_mount,
            libc::SYS_mount_setattr,
            libc::SYS_move_mount,
            libc::SYS_open_tree,
            libc::SYS_perf_event_open,
            libc::SYS_quotactl,
            libc::SYS_setdomainname,
            libc::SYS_sethostname,
            libc::SYS_setns,
            libc::SYS_syslog,
            libc::SYS_umount2,
            libc::SYS_unshare,
        ],
    ),
    (Capability::SysBoot, &[libc::SYS_reboot]),
    (Capability::SysChroot, &[libc::SYS_chroot]),
    (Capability::SysModule, &[libc::SYS_delete_module, libc::SYS_finit_module, libc::SYS_init_module]),
    (Capability::SysPacct, &[libc::SYS_acct]),
    (Capability::SysPtrace, &[libc::SYS_kcmp, libc::SYS_pidfd_getfd, libc::SYS_process_madvise]),
    #[cfg(target_arch = "x86_64")]
    (Capability::SysRawio, &[libc::SYS_ioperm, libc::SYS_iopl]),
    (Capability::SysTime, &[libc::SYS_clock_settime, libc::SYS_settimeofday]),
    (Capability::SysTtyConfig, &[libc::SYS_vhangup]),
    (Capability::SysNice, &[libc::SYS_get_mempolicy, libc::SYS_mbind, libc::SYS_set_mempolicy]),
    (Capability::Syslog, &[libc::SYS_syslog]),
    (Capability::Bpf, &[libc::SYS_bpf]),
    (Capability::Perfmon, &[libc::SYS_perf_event_open]),
];

/// `cachestat`, `fchmodat2`, `futex_wake`, `futex_wait`, `futex_requeue`, `mseal`, `setxattrat`, `getxattrat`,
/// `listxattrat`, `removexattrat`.
const NEW: &[c_long] = &[451, 452, 454, 455, 456, 462, 463, 464, 465, 466];

#[rustfmt::skip]
const ALWAYS: &[c_long] = {
    use libc::*;
    &[
        // Files and directories.
        SYS_chdir, SYS_close, SYS_close_range, SYS_copy_file_range, SYS_dup, SYS_dup3, SYS_faccessat,
        SYS_faccessat2, SYS_fadvise64, SYS_fallocate, SYS_fanotify_mark, SYS_fchdir, SYS_fchmod,
        SYS_fchmodat, SYS_fchown, SYS_fchownat, SYS_fcntl, SYS_fdatasync, SYS_fgetxattr, SYS_flistxattr,
        SYS_flock, SYS_fremovexattr, SYS_fsetxattr, SYS_fstat, SYS_fstatfs, SYS_fsync, SYS_ftruncate,
        SYS_getcwd, SYS_getdents64, SYS_getxattr, SYS_inotify_add_watch, SYS_inotify_init1,
        SYS_inotify_rm_watch, SYS_ioctl, SYS_lgetxattr, SYS_linkat, SYS_listxattr, SYS_llistxattr,
        SYS_lremovexattr, SYS_lseek, SYS_lsetxattr, SYS_mkdirat, SYS_mknodat, SYS_name_to_handle_at,
        SYS_newfstatat, SYS_openat, SYS_openat2, SYS_pread64, SYS_preadv, SYS_preadv2, SYS_pwrite64,
        SYS_pwritev, SYS_pwritev2, SYS_read, SYS_readahead, SYS_readlinkat, SYS_readv, SYS_removexattr,
        SYS_renameat, SYS_renameat2, SYS_sendfile, SYS_setxattr, SYS_splice, SYS_statfs, SYS_statx,
        SYS_symlinkat, SYS_sync, SYS_sync_file_range, SYS_syncfs, SYS_tee, SYS_truncate, SYS_umask,
        SYS_unlinkat, SYS_utimensat, SYS_vmsplice, SYS_write, SYS_writev,
        // Waiting for files, timers and each other.
        SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_eventfd2, SYS_futex,
        SYS_futex_waitv, SYS_get_robust_list, SYS_getitimer, SYS_io_cancel, SYS_io_destroy,
        SYS_io_getevents, SYS_io_setup, SYS_io_submit, SYS_membarrier, SYS_nanosleep, SYS_pipe2, SYS_ppoll,
        SYS_pselect6, SYS_set_robust_list, SYS_setitimer, SYS_signalfd4, SYS_timer_create, SYS_timer_delete,
        SYS_timer_getoverrun, SYS_timer_gettime, SYS_timer_settime, SYS_timerfd_create, SYS_timerfd_gettime,
        SYS_timerfd_settime,
        // Sockets (`socket` itself depends on its family) and System V and POSIX IPC.
        SYS_accept, SYS_accept4, SYS_bind, SYS_connect, SYS_getpeername, SYS_getsockname, SYS_getsockopt,
        SYS_listen, SYS_mq_getsetattr, SYS_mq_notify, SYS_mq_open, SYS_mq_timedreceive, SYS_mq_timedsend,
        SYS_mq_unlink, SYS_msgctl, SYS_msgget, SYS_msgrcv, SYS_msgsnd, SYS_recvfrom, SYS_recvmmsg,
        SYS_recvmsg, SYS_semctl, SYS_semget, SYS_semop, SYS_semtimedop, SYS_sendmmsg, SYS_sendmsg,
        SYS_sendto, SYS_setsockopt, SYS_shmat, SYS_shmctl, SYS_shmdt, SYS_shmget, SYS_shutdown,
        SYS_socketpair,
        // Memory.
        SYS_brk, SYS_madvise, SYS_memfd_create, SYS_memfd_secret, SYS_mincore, SYS_mlock, SYS_mlock2,
        SYS_mlockall, SYS_mmap, SYS_mprotect, SYS_mremap, SYS_msync, SYS_munlock, SYS_munlockall,
        SYS_munmap, SYS_pkey_alloc, SYS_pkey_free, SYS_pkey_mprotect, SYS_remap_file_pages,
        // Processes, threads and signals.
        SYS_execve, SYS_execveat, SYS_exit, SYS_exit_group, SYS_getpgid, SYS_getpid, SYS_getppid,
        SYS_getpriority, SYS_getrlimit, SYS_getrusage, SYS_getsid, SYS_gettid, SYS_ioprio_get,
        SYS_ioprio_set, SYS_kill, SYS_pidfd_open, SYS_pidfd_send_signal, SYS_prctl, SYS_prlimit64,
        SYS_process_mrelease, SYS_process_vm_readv, SYS_process_vm_writev, SYS_ptrace, SYS_restart_syscall,
        SYS_rseq, SYS_rt_sigaction, SYS_rt_sigpending, SYS_rt_sigprocmask, SYS_rt_sigqueueinfo,
        SYS_rt_sigreturn, SYS_rt_sigsuspend, SYS_rt_sigtimedwait, SYS_rt_tgsigqueueinfo,
        SYS_sched_get_priority_max, SYS_sched_get_priority_min, SYS_sched_getaffinity, SYS_sched_getattr,
        SYS_sched_getparam, SYS_sched_getscheduler, SYS_sched_rr_get_interval, SYS_sched_setaffinity,
        SYS_sched_setattr, SYS_sched_setparam, SYS_sched_setscheduler, SYS_sched_yield, SYS_set_tid_address,
        SYS_setpgid, SYS_setpriority, SYS_setrlimit, SYS_setsid, SYS_sigaltstack, SYS_tgkill, SYS_times,
        SYS_tkill, SYS_wait4, SYS_waitid,
        // Identity and privileges.
        SYS_capget, SYS_capset, SYS_getegid, SYS_geteuid, SYS_getgid, SYS_getgroups, SYS_getresgid,
        SYS_getresuid, SYS_getuid, SYS_landlock_add_rule, SYS_landlock_create_ruleset,
        SYS_landlock_restrict_self, SYS_seccomp, SYS_setfsgid, SYS_setfsuid, SYS_setgid, SYS_setgroups,
        SYS_setregid, SYS_setresgid, SYS_setresuid, SYS_setreuid, SYS_setuid,
        // Clocks and the machine.
        SYS_adjtimex, SYS_clock_adjtime, SYS_clock_getres, SYS_clock_gettime, SYS_clock_nanosleep,
        SYS_getcpu, SYS_getrandom, SYS_gettimeofday, SYS_sysinfo, SYS_uname,
    ]
};

/// The older forms, which newer architectures do without.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const ON_THIS_ARCHITECTURE: &[c_long] = {
    use libc::*;
    &[
        SYS_access, SYS_chmod, SYS_chown, SYS_creat, SYS_dup2, SYS_futimesat, SYS_getdents,
        SYS_inotify_init, SYS_lchown, SYS_link, SYS_lstat, SYS_mkdir, SYS_mknod, SYS_open, SYS_readlink,
        SYS_rename, SYS_rmdir, SYS_stat, SYS_symlink, SYS_unlink, SYS_utime, SYS_utimes, SYS_alarm,
        SYS_epoll_create, SYS_epoll_ctl_old, SYS_epoll_wait, SYS_epoll_wait_old, SYS_eventfd, SYS_pause,
        SYS_pipe, SYS_poll, SYS_select, SYS_signalfd, SYS_fork, SYS_get_thread_area, SYS_getpgrp,
        SYS_set_thread_area, SYS_vfork, SYS_arch_prctl, SYS_modify_ldt, SYS_time,
    ]
};

#[cfg(not(target_arch = "x86_64"))]
const ON_THIS_ARCHITECTURE: &[c_long] = &[];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_knows_its_capabilities() {
        let verdict = |capabilities: &[Capability], call: c_long| {
            profile(Capability::mask(capabilities)).get(&(call as u32)).copied()
        };
        let (docker, admin) = (Capability::DOCKER_DEFAULT, &[Capability::SysAdmin]);
        assert_eq!(verdict(docker, libc::SYS_read), Some(Verdict::Allow));
        assert_eq!(verdict(docker, libc::SYS_chroot), Some(Verdict::Allow));
        assert_eq!(verdict(&[], libc::SYS_chroot), None);
        assert_eq!(verdict(docker, libc::SYS_mount), None);
        assert_eq!(verdict(admin, libc::SYS_mount), Some(Verdict::Allow));
        assert_eq!(verdict(docker, libc::SYS_clone), Some(Verdict::UnlessBits(NAMESPACES)));
        assert_eq!(verdict(admin, libc::SYS_clone), Some(Verdict::Allow));
        assert_eq!(verdict(docker, libc::SYS_clone3), Some(Verdict::Errno(libc::ENOSYS as u32)));
        for never in [libc::SYS_kexec_load, libc::SYS_add_key, libc::SYS_swapon, libc::SYS_io_uring_setup] {
            assert_eq!(verdict(docker, never), None, "{never}");
        }
    }

    #[test]
    fn no_call_is_in_two_lists() {
        let mut all: Vec<c_long> = [ALWAYS, ON_THIS_ARCHITECTURE].concat();
        all.sort_unstable();
        let count = all.len();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
