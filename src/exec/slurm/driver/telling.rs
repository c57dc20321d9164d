//! What the driver says of a round that is on its way.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::Driver;
use crate::exec::slurm::Queue;

/// Looks after which a hindrance is worth a line: a busy controller fails to answer now and then.
const LASTING: u32 = 3;

impl<Q: Queue> Driver<'_, '_, Q> {
    /// Says how the first `count` open measurements are doing.
    pub(super) fn tell(&self, count: usize) -> ControlFlow<()> {
        for &index in self.open.iter().take(count) {
            let text = match &self.tracked[index].last {
                None => self.trouble().unwrap_or_else(|| "sent out".to_owned()),
                Some(row) if row.node.is_empty() && row.reason.is_empty() => row.state.to_string(),
                Some(row) if row.node.is_empty() => format!("{} ({})", row.state, row.reason),
                Some(row) => format!("{} on {}", row.state, row.node),
            };
            self.round.observer.progress(self.pending[index].number, &text, 0.0)?;
        }
        ControlFlow::Continue(())
    }

    /// Why the cluster takes nothing at the moment.
    fn trouble(&self) -> Option<String> {
        self.trouble.clone().or_else(|| self.held.as_ref().map(|(_, said)| said.clone()))
    }

    /// Says once what holds the round up, and that it is over.
    pub(super) fn tell_hindrance(&mut self) {
        let Some(what) = self.hindrance() else {
            self.held_up = 0;
            if !self.told.is_empty() {
                self.told.clear();
                self.round.observer.notice("the cluster goes on");
            }
            return;
        };
        self.held_up += 1;
        if self.held_up >= LASTING && self.told.insert(what.clone()) {
            self.round.observer.notice(&what);
        }
    }

    /// What holds measurements up, other than the queue's order.
    fn hindrance(&self) -> Option<String> {
        if let Some(trouble) = self.trouble() {
            return Some(trouble);
        }
        let last = self.open.iter().filter_map(|&index| self.tracked[index].last.as_ref());
        let held = last.filter(|row| row.is_held_up());
        let reasons: BTreeSet<&str> = held.map(|row| row.reason.as_str()).collect();
        let first = reasons.first()?;
        Some(format!("the cluster does not start measurements: {first} (`man squeue` explains it)"))
    }
}
