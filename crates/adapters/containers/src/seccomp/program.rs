//! A filter as the kernel runs it: classic BPF that looks a call's number up in a balanced tree.
//!
//! The kernel runs a new filter once for each call there is, to remember those it always allows, and compiles
//! it. A chain of comparisons of this length makes that cost 0.7 ms a container; the tree a tenth.

use std::collections::BTreeMap;

use libc::sock_filter;

/// What becomes of a call. An argument is the first one, its lower 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Allow,
    /// It fails with this number.
    Errno(u32),
    /// Allowed unless the argument is this.
    UnlessArgument(u32),
    /// Allowed if the argument is one of these.
    IfArgument(&'static [u32]),
    /// Allowed unless the argument has one of these bits.
    UnlessBits(u32),
}

/// How the kernel names the architecture that this program was built for (`AUDIT_ARCH_*`).
pub(super) const ARCHITECTURE: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else {
    None
};

/// Where the kernel puts what a filter looks at (`struct seccomp_data`, little endian).
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENT: u32 = 16;

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const AND: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
const JUMP: u32 = libc::BPF_JMP | libc::BPF_JA;
const IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const IF_AT_LEAST: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

const REFUSED: Verdict = Verdict::Errno(libc::EPERM as u32);

/// The program that gives each call its verdict, and `EPERM` to all others. Calls of another architecture
/// have other numbers: who makes one is killed.
pub(super) fn compile(architecture: u32, calls: &BTreeMap<u32, Verdict>) -> Vec<sock_filter> {
    let mut program = vec![
        statement(LOAD, ARCH),
        branch(IF_EQUAL, architecture, 1, 0),
        statement(RETURN, libc::SECCOMP_RET_KILL_PROCESS),
        statement(LOAD, NUMBER),
    ];
    program.extend(tree(&spans(calls)));
    program
}

/// Numbers from each one on have its verdict, until the next one.
fn spans(calls: &BTreeMap<u32, Verdict>) -> Vec<(u32, Verdict)> {
    let mut spans = vec![(0, REFUSED)];
    let mut add = |from: u32, verdict: Verdict| match spans.last_mut() {
        Some((_, last)) if *last == verdict => {}
        Some((start, last)) if *start == from => *last = verdict,
        _ => spans.push((from, verdict)),
    };
    let mut next = 0;
    for (call, verdict) in calls {
        if *call > next {
            add(next, REFUSED);
        }
        add(*call, *verdict);
        next = call + 1;
    }
    add(next, REFUSED);
    spans
}

fn tree(spans: &[(u32, Verdict)]) -> Vec<sock_filter> {
    if let [(_, verdict)] = spans {
        return leaf(*verdict);
    }
    let (below, above) = spans.split_at(spans.len() / 2);
    let (left, right) = (tree(below), tree(above));
    // A branch reaches 255 instructions only; a jump reaches all.
    let mut program = vec![branch(IF_AT_LEAST, above[0].0, 0, 1), statement(JUMP, left.len() as u32)];
    program.extend(left);
    program.extend(right);
    program
}

fn leaf(verdict: Verdict) -> Vec<sock_filter> {
    let allow = statement(RETURN, libc::SECCOMP_RET_ALLOW);
    let errno = |number: u32| statement(RETURN, libc::SECCOMP_RET_ERRNO | number);
    let refuse = errno(libc::EPERM as u32);
    match verdict {
        Verdict::Allow => vec![allow],
        Verdict::Errno(number) => vec![errno(number)],
        Verdict::UnlessArgument(value) => {
            vec![statement(LOAD, ARGUMENT), branch(IF_EQUAL, value, 0, 1), refuse, allow]
        }
        Verdict::UnlessBits(bits) => {
            vec![statement(LOAD, ARGUMENT), statement(AND, bits), branch(IF_EQUAL, 0, 1, 0), refuse, allow]
        }
        Verdict::IfArgument(values) => {
            let mut program = vec![statement(LOAD, ARGUMENT)];
            for (number, value) in values.iter().enumerate() {
                // Over the comparisons that are left and the refusal.
                program.push(branch(IF_EQUAL, *value, (values.len() - number) as u8, 0));
            }
            program.extend([refuse, allow]);
            program
        }
    }
}

fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

fn branch(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Runs a program as the kernel does.
    fn run(program: &[sock_filter], arch: u32, number: u32, argument: u32) -> u32 {
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let instruction = program[at];
            let k = instruction.k;
            at += 1;
            let holds = match u32::from(instruction.code) {
                LOAD => {
                    accumulator = match k {
                        NUMBER => number,
                        ARCH => arch,
                        ARGUMENT => argument,
                        other => panic!("{other}"),
                    };
                    continue;
                }
                AND => {
                    accumulator &= k;
                    continue;
                }
                JUMP => {
                    at += k as usize;
                    continue;
                }
                RETURN => return k,
                IF_EQUAL => accumulator == k,
                IF_AT_LEAST => accumulator >= k,
                other => panic!("{other}"),
            };
            at += usize::from(if holds { instruction.jt } else { instruction.jf });
        }
    }

    fn expect(verdict: Option<&Verdict>, argument: u32) -> u32 {
        let allowed = match verdict {
            None => false,
            Some(Verdict::Allow) => true,
            Some(Verdict::Errno(number)) => return libc::SECCOMP_RET_ERRNO | number,
            Some(Verdict::UnlessArgument(value)) => argument != *value,
            Some(Verdict::IfArgument(values)) => values.contains(&argument),
            Some(Verdict::UnlessBits(bits)) => argument & bits == 0,
        };
        if allowed { libc::SECCOMP_RET_ALLOW } else { libc::SECCOMP_RET_ERRNO | libc::EPERM as u32 }
    }

    fn verdict() -> impl Strategy<Value = Verdict> {
        prop_oneof![
            4 => Just(Verdict::Allow),
            1 => Just(Verdict::Errno(38)),
            1 => Just(Verdict::UnlessArgument(3)),
            1 => Just(Verdict::IfArgument(&[1, 4, 7])),
            1 => Just(Verdict::UnlessBits(6)),
        ]
    }

    proptest! {
        #[test]
        fn every_call_gets_its_verdict(calls in prop::collection::btree_map(0_u32..600, verdict(), 0..500)) {
            let program = compile(7, &calls);
            // What the kernel takes (BPF_MAXINSNS).
            prop_assert!(program.len() <= 4096);
            for number in (0..620).chain([0x4000_0000, 0x4000_0001, u32::MAX]) {
                for argument in [0, 1, 2, 3, 7, 8] {
                    prop_assert_eq!(run(&program, 7, number, argument), expect(calls.get(&number), argument));
                }
            }
            prop_assert_eq!(run(&program, 8, 0, 0), libc::SECCOMP_RET_KILL_PROCESS);
        }
    }
}
