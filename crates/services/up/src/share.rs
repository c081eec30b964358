//! What each agent of a machine offers.

use host::Capacity;
use resources::Resources;

use crate::Error;

/// What every agent offers beside ports.
const NAMES: [&str; 3] = ["cpus", "mem", "disk"];

/// Checks the text of `--resources`.
pub(crate) fn check(text: &str) -> Result<(), Error> {
    let parsed = Resources::parse(text);
    parsed.map(|_| ()).map_err(|source| Error::Resources { text: text.to_owned(), source })
}

/// Whether the text says which ports there are.
pub(crate) fn has_ports(text: &str) -> bool {
    entries(text).any(|entry| name(entry) == "ports")
}

/// One of `agents` equal shares of what the machine has for tasks, with what `asked` says in place
/// of it. Ports are in it only if they were asked for.
pub(crate) fn share(asked: &str, host: Capacity, agents: u32) -> String {
    const MIB: u64 = 1 << 20;
    let agents = u64::from(agents.max(1));
    let host = host.for_tasks();
    let mut all: Vec<String> = entries(asked).map(str::to_owned).collect();
    for wanted in NAMES {
        if all.iter().any(|entry| name(entry) == wanted) {
            continue;
        }
        all.push(match wanted {
            "cpus" => format!("cpus:{}", (host.cpus * 1000 / agents) as f64 / 1000.0),
            "mem" => format!("mem:{}", host.memory / MIB / agents),
            _ => format!("disk:{}", host.disk / MIB / agents),
        });
    }
    all.join(";")
}

/// What of `offers` is together more than the machine has for tasks, as in `cpus 6 of 4`; what `asked`
/// says itself was meant so.
pub(crate) fn excess<'a>(
    offers: impl Iterator<Item = &'a str> + Clone,
    asked: &str,
    host: Capacity,
) -> Vec<String> {
    let all = share("", host, 1);
    let unasked = |wanted: &&str| !entries(asked).any(|entry| name(entry) == *wanted);
    let told = |wanted: &str| {
        let total: f64 = offers.clone().map(|offer| amount(offer, wanted)).sum();
        let has = amount(&all, wanted);
        // Amounts are thousandths.
        (total > has + 0.0005).then(|| format!("{wanted} {} of {has}", (total * 1000.0).round() / 1000.0))
    };
    NAMES.into_iter().filter(unasked).filter_map(told).collect()
}

/// How much of the scalar resource `wanted` is in the text, of all roles.
fn amount(text: &str, wanted: &str) -> f64 {
    let of = entries(text).filter(|entry| name(entry) == wanted);
    of.filter_map(|entry| entry.rsplit_once(':')?.1.trim().parse::<f64>().ok()).sum()
}

fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.split(';').map(str::trim).filter(|entry| !entry.is_empty())
}

/// The name of `cpus(role):4`.
fn name(entry: &str) -> &str {
    let end = entry.find(['(', ':']).unwrap_or(entry.len());
    entry[..end].trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Capacity = Capacity { cpus: 3, memory: 9 << 30, disk: 105 << 30 };

    #[test]
    fn agents_share_out_what_the_machine_has() {
        let check = |asked, agents, expected: &str| {
            let text = share(asked, HOST, agents);
            assert_eq!(text, expected);
            Resources::parse(&text).unwrap();
        };
        check("", 1, "cpus:3;mem:8192;disk:102400");
        check("", 2, "cpus:1.5;mem:4096;disk:51200");
        check("", 7, "cpus:0.428;mem:1170;disk:14628");
        check("cpus:8; mem:64", 2, "cpus:8;mem:64;disk:51200");
        check("ports:[1-2]", 1, "ports:[1-2];cpus:3;mem:8192;disk:102400");
    }

    #[test]
    fn more_than_the_machine_has_is_found() {
        let check = |offers: &[&str], asked: &str, expected: &[&str]| {
            assert_eq!(excess(offers.iter().copied(), asked, HOST), expected);
        };
        let (all, third) = (share("", HOST, 1), share("", HOST, 3));
        check(&[&all], "", &[]);
        check(&[&third, &third, &third], "", &[]);
        check(&[&all, &third], "", &["cpus 4 of 3", "mem 10922 of 8192", "disk 136533 of 102400"]);
        check(&["cpus:2;mem:8192", "cpus(a):2;mem:1"], "cpus:2", &["mem 8193 of 8192"]);
    }

    #[test]
    fn bad_text_is_refused() {
        assert!(check("cpus:4;mem:64").is_ok());
        assert!(matches!(check("cpus=4"), Err(Error::Resources { .. })));
        assert!(has_ports("cpus:1; ports:[1-2]") && !has_ports("cpus:1;portsy:1"));
    }
}
