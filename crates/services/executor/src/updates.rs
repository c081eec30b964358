//! Status updates that the agent has not acknowledged.

use std::time::Duration;

use base::Mono;
use mesos_proto::v1::TaskStatus;

/// Sent again if not acknowledged for this long, and doubling from there.
const RESEND_AFTER: Duration = Duration::from_secs(10);
/// The longest pause between two sendings.
const RESEND_AT_MOST: Duration = Duration::from_secs(600);

/// The updates in the order they were made. Bounded by what one task can bring: checks that keep changing
/// while the agent is away replace their predecessors, see [`Updates::add`].
#[derive(Debug, Default)]
pub(crate) struct Updates {
    pending: Vec<Pending>,
}

#[derive(Debug)]
struct Pending {
    status: TaskStatus,
    /// `None`: not sent over the connection there is now.
    sent_at: Option<Mono>,
    resend_after: Duration,
}

/// More than these are only kept by replacing the last of the same state.
const LIMIT: usize = 64;

impl Updates {
    /// Adds an update. With many waiting, a health or check update takes the place of the last one if that
    /// told the same state: the newest alone matters once the agent is back.
    pub(crate) fn add(&mut self, status: TaskStatus) {
        if self.pending.len() >= LIMIT
            && self.pending.last().is_some_and(|last| last.status.state == status.state)
        {
            self.pending.pop();
        }
        self.pending.push(Pending { status, sent_at: None, resend_after: RESEND_AFTER });
    }

    /// All of them, for a subscription.
    pub(crate) fn statuses(&self) -> impl Iterator<Item = &TaskStatus> {
        self.pending.iter().map(|pending| &pending.status)
    }

    /// Forgets the update of this UUID; gives it back.
    pub(crate) fn acknowledge(&mut self, uuid: &[u8]) -> Option<TaskStatus> {
        let found = self.pending.iter().position(|pending| pending.status.uuid() == uuid)?;
        Some(self.pending.remove(found).status)
    }

    /// A subscription carried everything, at `now`.
    pub(crate) fn all_sent(&mut self, now: Mono) {
        for pending in &mut self.pending {
            pending.sent_at = Some(now);
            pending.resend_after = RESEND_AFTER;
        }
    }

    /// The next update to send at `now`; it counts as sent from then on.
    pub(crate) fn take_due(&mut self, now: Mono) -> Option<&TaskStatus> {
        let due = self.pending.iter_mut().find(|pending| pending.due().is_none_or(|due| due <= now))?;
        if due.sent_at.is_some() {
            due.resend_after = (due.resend_after * 2).min(RESEND_AT_MOST);
        }
        due.sent_at = Some(now);
        Some(&due.status)
    }

    /// When [`Updates::take_due`] has something again.
    pub(crate) fn next_due(&self) -> Option<Mono> {
        self.pending.iter().map(|pending| pending.due().unwrap_or_default()).min()
    }
}

impl Pending {
    fn due(&self) -> Option<Mono> {
        self.sent_at.map(|sent| sent + self.resend_after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000_000)
    }

    fn status(uuid: u8, state: i32) -> TaskStatus {
        TaskStatus { uuid: Some(vec![uuid]), state, ..Default::default() }
    }

    #[test]
    fn an_update_is_sent_until_it_is_acknowledged() {
        let mut updates = Updates::default();
        updates.add(status(1, 1));
        updates.add(status(2, 2));
        let due = |updates: &mut Updates, time| updates.take_due(at(time)).map(|s| s.uuid()[0]);
        assert_eq!(due(&mut updates, 0), Some(1));
        assert_eq!(due(&mut updates, 0), Some(2));
        assert_eq!(due(&mut updates, 9), None);
        assert_eq!(updates.next_due(), Some(at(10)));
        assert_eq!(updates.acknowledge(&[1]), Some(status(1, 1)));
        assert_eq!(updates.acknowledge(&[1]), None);
        assert_eq!(due(&mut updates, 10), Some(2));
        assert_eq!(due(&mut updates, 29), None);
        assert_eq!(due(&mut updates, 30), Some(2));
        updates.all_sent(at(40));
        assert_eq!(updates.next_due(), Some(at(50)));
        assert_eq!(updates.statuses().count(), 1);
    }

    #[test]
    fn while_the_agent_is_away_the_newest_of_a_state_stays() {
        let mut updates = Updates::default();
        for uuid in 0..200 {
            updates.add(status(uuid, 1));
        }
        updates.add(status(250, 3));
        assert_eq!(updates.statuses().count(), LIMIT + 1);
        let last: Vec<u8> = updates.statuses().skip(LIMIT - 1).map(|status| status.uuid()[0]).collect();
        assert_eq!(last, [199, 250]);
    }
}
