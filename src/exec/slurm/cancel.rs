//! Taking back what is out.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::queue::{Queue, Refusal, Row, State};

/// How long it is tried.
const PATIENCE: Duration = Duration::from_secs(6);

/// Between two looks: a task that was about to start when it was cancelled comes back to the queue at times.
const PAUSE: Duration = Duration::from_secs(1);

/// Cancels every array that carries one of the `tokens`, until the queue has none: an id alone may have been given to another's.
///
/// # Errors
/// [`Refusal`] where the queue can't be asked, or does not let them go, in [`PATIENCE`].
pub(super) fn cancel<Q: Queue>(queue: &Q, tokens: &BTreeSet<String>) -> Result<(), Refusal> {
    let start = Instant::now();
    loop {
        let left = queue.rows().and_then(|rows| {
            let own = rows.iter().filter(|row| is_left(row) && tokens.contains(&row.token));
            let jobs: BTreeSet<u64> = own.map(|row| row.job).collect();
            queue.cancel(&jobs.iter().map(u64::to_string).collect::<Vec<_>>())?;
            Ok(!jobs.is_empty())
        });
        match left {
            Ok(false) => return Ok(()),
            Ok(true) if start.elapsed() > PATIENCE => {
                return Err(Refusal::Away("they are still in its queue".to_owned()));
            }
            Err(refusal) if start.elapsed() > PATIENCE => return Err(refusal),
            _ => {}
        }
        std::thread::sleep(PAUSE);
    }
}

/// Whether it would still run, or wait for somebody who lets it.
pub(super) fn is_left(row: &Row) -> bool {
    row.state == State::Stuck || row.state.is_alive() && row.state != State::Ending
}
