//! What is known of each measurement that went out, and what is to be done about it. Nothing here talks to a cluster.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::queue::{Row, State};
use crate::measurement::{Failure, Outcome};

/// How long a result may be on its way through a shared file system after its task ended: as long as such a system may keep what it
/// knows of a folder.
pub const GRACE: Duration = Duration::from_secs(60);

/// In so many answers of the controller, one after the other, a task must be missing before it counts as lost.
const MISSING: u32 = 3;

/// One measurement.
#[derive(Debug, Default)]
pub(super) struct Tracked {
    /// Arrays and places in them that it went out as, the last one last.
    sent: Vec<Place>,
    /// Ends without a result.
    pub(super) ends: u32,
    /// Those at which its command failed by its own words.
    refusals: u32,
    missing: u32,
    ended: Option<Instant>,
    /// Nodes on which its command failed.
    pub(super) avoid: BTreeSet<String>,
    /// The last row that spoke of it.
    pub(super) last: Option<Row>,
    pub(super) started: bool,
}

/// A task of an array.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) token: String,
    pub(super) index: u32,
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// Nothing: it waits, runs, or its result is on its way.
    Wait,
    /// Send it out.
    Send,
    /// Send it out, and cancel this one, which stays in the queue and will never run.
    Replace(Row),
    /// It failed.
    Fail(Outcome),
    /// Its command fails by itself wherever it runs: the row that says so.
    Broken(Row),
}

/// How a command ended: `squeue` gives the raw status of `wait` (512 is code 2, 9 is SIGKILL), `scontrol` writes `CODE:SIGNAL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct End {
    code: u32,
    signal: u32,
}

impl End {
    fn parse(text: &str) -> Self {
        let number = |text: &str| text.trim().parse().unwrap_or(0);
        match text.split_once(':') {
            Some((code, signal)) => Self { code: number(code), signal: number(signal) },
            None => {
                let raw: u32 = number(text);
                Self { code: raw >> 8 & 0xff, signal: raw & 0x7f }
            }
        }
    }

    /// Whether it was killed, as for its memory; a shell adds 128 to the signal. With a code of its own it said why, and 0:53 says that its
    /// log could not be opened.
    fn is_killed(self) -> bool {
        (1..=31).contains(&self.signal) || self.code > 128
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.signal {
            0 => write!(f, "code {}", self.code),
            signal => write!(f, "signal {signal}"),
        }
    }
}

impl Tracked {
    /// One that has not gone out, and keeps away from these nodes.
    pub(super) fn avoiding(avoid: BTreeSet<String>) -> Self {
        Self { avoid, ..Self::default() }
    }

    /// Nodes that the try after this outcome keeps away from: what failed for no reason of its own may do better elsewhere.
    pub(super) fn to_avoid_after(&self, outcome: &Outcome) -> BTreeSet<String> {
        let mut avoid = self.avoid.clone();
        if let (Some(row), Outcome::Failed { kind: Failure::Other | Failure::Panicked, .. }) = (&self.last, outcome) {
            avoid.extend(Some(row.node.clone()).filter(|node| !node.is_empty()));
        }
        avoid
    }

    pub(super) fn sent_as(&mut self, place: Place) {
        self.sent.push(place);
        (self.missing, self.ended) = (0, None);
    }

    /// Takes back the last [`sent_as`](Self::sent_as).
    pub(super) fn not_sent(&mut self) {
        self.sent.pop();
    }

    pub(super) fn places(&self) -> &[Place] {
        &self.sent
    }

    /// Draws conclusions from an answer of the controller, in which `rows` are of this measurement: all of the array that it went out
    /// in last, and of earlier ones what still lives. `heard` is whether the controller ever spoke of that array, `limit` how often the
    /// measurement may end without a result and go out again.
    pub(super) fn judge(&mut self, rows: &[&Row], heard: bool, now: Instant, grace: Duration, limit: u32) -> Next {
        if self.sent.is_empty() {
            return Next::Send;
        }
        // Of several copies one that lives is enough, of those the one that runs.
        let alive = rows.iter().filter(|row| row.state.is_alive());
        if let Some(row) = alive.max_by_key(|row| row.state == State::Running) {
            self.last = Some((*row).clone());
            (self.missing, self.ended) = (0, None);
            return Next::Wait;
        }
        let Some(row) = rows.iter().max_by_key(|row| row.job) else {
            // Cancelled while it waited, finished long ago, or forgotten by the controller.
            self.missing += 1;
            return match self.missing < MISSING {
                true => Next::Wait,
                false if heard => self.again(limit, "the queue has forgotten it"),
                // It never went out, which is not its fault.
                false => {
                    self.missing = 0;
                    Next::Send
                }
            };
        };
        self.missing = 0;
        let row = (*row).clone();
        self.last = Some(row.clone());
        let waited = now.duration_since(*self.ended.get_or_insert(now));
        // What ended for lack of time or memory may have been done just before: a failure would give up its result.
        let may_have_result = matches!(row.state, State::Completed | State::TimedOut | State::OutOfMemory);
        if may_have_result && waited < grace {
            return Next::Wait;
        }
        if row.state == State::Stuck && self.ends < limit {
            self.again(limit, "");
            return Next::Replace(row);
        }
        let node = if row.node.is_empty() { String::new() } else { format!(" on {}", row.node) };
        match &row.state {
            State::TimedOut => {
                let reason = format!(
                    "the cluster ended it{node} for taking longer than its time; `executor.slurm.time` may allow more"
                );
                Next::Fail(Outcome::timed_out(None, reason))
            }
            State::OutOfMemory => {
                let reason = format!(
                    "the cluster ended it{node} for taking more than its memory; `executor.slurm.memory` may allow more"
                );
                Next::Fail(Outcome::failed(Failure::OutOfMemory, reason))
            }
            // Its command never began: no other node has what the array asks for.
            State::Failed if row.reason == "BadConstraints" && !self.avoid.is_empty() => {
                self.avoid.clear();
                Next::Send
            }
            State::Failed => {
                let end = End::parse(&row.exit_code);
                if !end.is_killed() {
                    self.refusals += 1;
                    self.avoid.extend(Some(row.node.clone()).filter(|node| !node.is_empty()));
                }
                match self.again(limit, &format!("its command ended{node} with {end}")) {
                    // And nothing else ever happened to it.
                    Next::Fail(_) if self.refusals == self.ends => Next::Broken(row),
                    next => next,
                }
            }
            state => {
                let state = state.clone();
                self.again(limit, &format!("{state}{node}"))
            }
        }
    }

    /// Out again, unless it was often enough.
    fn again(&mut self, limit: u32, why: &str) -> Next {
        self.ends += 1;
        (self.missing, self.ended) = (0, None);
        if self.ends <= limit {
            return Next::Send;
        }
        let times = self.ends;
        Next::Fail(Outcome::failed(
            Failure::Lost,
            format!("sent out {times} times without a result; the last time: {why}"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(state: State, job: u64) -> Row {
        Row {
            job,
            index: 0,
            state,
            reason: String::new(),
            exit_code: "0:0".to_owned(),
            node: "node1".to_owned(),
            token: "t".to_owned(),
        }
    }

    fn sent() -> Tracked {
        let mut tracked = Tracked::default();
        tracked.sent_as(Place { token: "t".to_owned(), index: 0 });
        tracked
    }

    fn judge(tracked: &mut Tracked, rows: &[Row]) -> Next {
        let rows: Vec<&Row> = rows.iter().collect();
        tracked.judge(&rows, true, Instant::now(), Duration::ZERO, 1)
    }

    #[test]
    fn what_was_not_sent_is_and_what_lives_is_waited_for() {
        assert_eq!(judge(&mut Tracked::default(), &[]), Next::Send);
        for state in [State::Pending, State::Running, State::Unknown("ODD".to_owned())] {
            assert_eq!(judge(&mut sent(), &[row(state, 1)]), Next::Wait);
        }
        // A copy that is gone does not matter beside one that runs.
        assert_eq!(judge(&mut sent(), &[row(State::Failed, 2), row(State::Running, 1)]), Next::Wait);
    }

    #[test]
    fn a_task_is_lost_only_when_it_is_missing_again_and_again() {
        let mut tracked = sent();
        assert_eq!(judge(&mut tracked, &[]), Next::Wait);
        assert_eq!(judge(&mut tracked, &[]), Next::Wait);
        assert_eq!(judge(&mut tracked, &[row(State::Pending, 1)]), Next::Wait);
        assert_eq!([(); 3].map(|()| judge(&mut tracked, &[])), [Next::Wait, Next::Wait, Next::Send]);
    }

    #[test]
    fn what_the_cluster_loses_goes_out_again_up_to_a_limit() {
        for state in [State::Cancelled, State::NodeLost("NODE_FAIL".to_owned())] {
            let mut tracked = sent();
            assert_eq!(judge(&mut tracked, &[row(state.clone(), 1)]), Next::Send);
            tracked.sent_as(Place { token: "u".to_owned(), index: 0 });
            let Next::Fail(Outcome::Failed { kind, reason, .. }) = judge(&mut tracked, &[row(state, 2)]) else {
                panic!("the limit is one")
            };
            assert_eq!(kind, Failure::Lost);
            assert!(reason.contains("2 times") && reason.contains("node1"), "{reason}");
        }
    }

    #[test]
    fn what_never_went_out_counts_as_no_end() {
        let mut tracked = sent();
        let mut unheard = || tracked.judge(&[], false, Instant::now(), Duration::ZERO, 0);
        for _ in 0..5 {
            assert_eq!([(); 3].map(|()| unheard()), [Next::Wait, Next::Wait, Next::Send]);
        }
    }

    #[test]
    fn a_node_that_is_the_only_one_is_not_kept_away_from() {
        let mut tracked = sent();
        tracked.avoid.insert("node1".to_owned());
        let nowhere = Row { reason: "BadConstraints".to_owned(), exit_code: "1".to_owned(), ..row(State::Failed, 1) };
        assert_eq!((judge(&mut tracked, &[nowhere]), tracked.ends), (Next::Send, 0));
        assert!(tracked.avoid.is_empty());
    }

    #[test]
    fn a_try_that_failed_on_a_node_goes_to_another() {
        let mut tracked = sent();
        judge(&mut tracked, &[row(State::Running, 1)]);
        let after = |kind| tracked.to_avoid_after(&Outcome::failed(kind, "")).len();
        assert_eq!(
            [Failure::Other, Failure::Panicked, Failure::Diverged, Failure::OutOfMemory].map(after),
            [1, 1, 0, 0]
        );
    }

    #[test]
    fn what_the_scheduler_holds_is_replaced() {
        let mut tracked = sent();
        assert!(matches!(judge(&mut tracked, &[row(State::Stuck, 1)]), Next::Replace(row) if row.job == 1));
        let Next::Fail(Outcome::Failed { reason, .. }) = judge(&mut tracked, &[row(State::Stuck, 2)]) else {
            panic!("the limit is one")
        };
        assert!(reason.contains("held"), "{reason}");
    }

    #[test]
    fn a_result_may_be_on_its_way() {
        let (now, hour) = (Instant::now(), Duration::from_secs(3600));
        for state in [State::Completed, State::TimedOut, State::OutOfMemory] {
            let (mut tracked, row) = (sent(), row(state, 1));
            assert_eq!(tracked.judge(&[&row], true, now, hour, 1), Next::Wait);
            let next = tracked.judge(&[&row], true, now + 2 * hour, hour, 1);
            assert_eq!(next == Next::Send, row.state == State::Completed, "{next:?}");
            assert!(matches!(next, Next::Send | Next::Fail(_)), "{next:?}");
        }
    }

    #[test]
    fn time_and_memory_are_the_measurements_own_failures() {
        for (state, expected) in [(State::TimedOut, Failure::TimedOut), (State::OutOfMemory, Failure::OutOfMemory)] {
            let next = judge(&mut sent(), &[row(state, 1)]);
            assert!(matches!(next, Next::Fail(Outcome::Failed { kind, .. }) if kind == expected), "{next:?}");
        }
    }

    #[test]
    fn a_command_that_fails_everywhere_ends_the_study_and_one_that_is_killed_does_not() {
        let fails = |exit_code: &str| {
            let mut tracked = sent();
            let failed = Row { exit_code: exit_code.to_owned(), ..row(State::Failed, 1) };
            assert_eq!(judge(&mut tracked, std::slice::from_ref(&failed)), Next::Send);
            assert_eq!(tracked.avoid.contains("node1"), !End::parse(exit_code).is_killed());
            judge(&mut tracked, &[failed])
        };
        // 512 and 9 are what Slurm 22.05's `squeue` gives of exit 2 and of SIGKILL.
        for broken in ["512", "2:0", "0:53", "13568"] {
            assert!(matches!(fails(broken), Next::Broken(_)), "{broken}");
        }
        // One bad node after a preemption says nothing of the others.
        let mut tracked = sent();
        assert_eq!(judge(&mut tracked, &[row(State::NodeLost("PREEMPTED".to_owned()), 1)]), Next::Send);
        let failed = Row { exit_code: "512".to_owned(), ..row(State::Failed, 2) };
        assert!(matches!(judge(&mut tracked, &[failed]), Next::Fail(_)));
        for killed in ["9", "0:9", "137:0", "35072"] {
            assert!(matches!(fails(killed), Next::Fail(_)), "{killed}");
        }
    }
}
