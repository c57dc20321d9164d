//! Jobs side by side on the thread pool.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// How many jobs run at once.
///
/// A lane is a thread of rayon's pool that takes one job after the other. What a job does in parallel, idle threads of
/// the pool help with: no core waits for a lane's last job. A single lane is the calling thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lanes(usize);

/// What a job is told of those beside it.
#[derive(Debug, Clone, Copy)]
pub struct Beside<'a> {
    /// Lanes that run, this one included.
    pub lanes: usize,
    failed: &'a AtomicBool,
}

impl Beside<'_> {
    /// Whether another job failed, so that this one's result is not wanted any more.
    pub fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }
}

impl Lanes {
    /// Lanes where nobody asks for a number: each has its nets in memory.
    const MOST: usize = 8;

    /// At most `wanted` lanes; as many as the pool has threads, but at most eight, where that is absent.
    pub fn new(wanted: Option<usize>) -> Self {
        Self(wanted.unwrap_or(rayon::current_num_threads().min(Self::MOST)).max(1))
    }

    /// How many jobs run at once where there are enough.
    pub fn at_most(self) -> usize {
        self.0.min(rayon::current_num_threads())
    }

    /// Runs `jobs` in their order as long as `more` says so; the results in that order, `None` for jobs that were not begun.
    ///
    /// # Errors
    /// The error that came first. No job is begun after one failed, and [`Beside::failed`] tells those
    /// that are running.
    pub fn run<T: Sync, R: Send, E: Send>(
        self,
        jobs: &[T],
        more: impl Fn() -> bool + Sync,
        run: impl Fn(&T, Beside<'_>) -> Result<R, E> + Sync,
    ) -> Result<Vec<Option<R>>, E> {
        let lanes = self.at_most().min(jobs.len()).max(1);
        let next = AtomicUsize::new(0);
        let failed = AtomicBool::new(false);
        let error = Mutex::new(None);
        let lane = || {
            let mut done: Vec<(usize, R)> = Vec::new();
            while !failed.load(Ordering::Relaxed) && more() {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(job) = jobs.get(index) else {
                    break;
                };
                match run(job, Beside { lanes, failed: &failed }) {
                    Ok(result) => done.push((index, result)),
                    Err(found) => {
                        failed.store(true, Ordering::Relaxed);
                        error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(found);
                    }
                }
            }
            done
        };
        let done: Vec<(usize, R)> = match lanes {
            1 => lane(),
            _ => {
                let all = rayon::broadcast(|thread| if thread.index() < lanes { lane() } else { Vec::new() });
                all.into_iter().flatten().collect()
            }
        };
        if let Some(error) = error.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let mut results: Vec<Option<R>> = jobs.iter().map(|_| None).collect();
        for (index, result) in done {
            results[index] = Some(result);
        }
        Ok(results)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Barrier;

    use rayon::prelude::*;

    use super::*;

    fn pool() -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap()
    }

    #[test]
    fn jobs_run_at_once_and_their_results_are_in_order() {
        let barrier = Barrier::new(3);
        let threads = Mutex::new(HashSet::new());
        let run = |&job: &u64, beside: Beside<'_>| -> Result<u64, ()> {
            if job < 3 {
                barrier.wait();
            }
            assert_eq!(beside.lanes, 3);
            threads.lock().unwrap().insert(std::thread::current().id());
            Ok((0..job * 1000).into_par_iter().sum())
        };
        let jobs: Vec<u64> = (0..20).collect();
        let found = pool().install(|| Lanes::new(Some(8)).run(&jobs, || true, run)).unwrap();
        let expected: Vec<_> = jobs.iter().map(|&job| Some((0..job * 1000).sum())).collect();
        assert_eq!(found, expected);
        assert_eq!(threads.lock().unwrap().len(), 3);
    }

    #[test]
    fn no_job_begins_when_there_is_to_be_no_more() {
        let begun = AtomicUsize::new(0);
        let run = |_: &(), _: Beside<'_>| -> Result<(), ()> {
            begun.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        let found = Lanes::new(Some(1)).run(&[(); 9], || begun.load(Ordering::Relaxed) < 4, run).unwrap();
        assert_eq!(found.iter().flatten().count(), 4);
        assert!(found[..4].iter().all(Option::is_some));
    }

    #[test]
    fn an_error_stops_the_others() {
        let begun = AtomicUsize::new(0);
        let run = |&job: &usize, beside: Beside<'_>| {
            begun.fetch_add(1, Ordering::Relaxed);
            if job == 1 {
                return Err("broken");
            }
            while !beside.failed() {
                std::thread::yield_now();
            }
            Ok(job)
        };
        let jobs: Vec<usize> = (0..9).collect();
        assert_eq!(pool().install(|| Lanes::new(Some(2)).run(&jobs, || true, run)), Err("broken"));
        assert_eq!(begun.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_single_lane_is_the_calling_thread() {
        let here = std::thread::current().id();
        let run = |_: &(), beside: Beside<'_>| -> Result<bool, ()> {
            Ok(beside.lanes == 1 && std::thread::current().id() == here)
        };
        assert_eq!(Lanes::new(Some(0)).run(&[(); 2], || true, run), Ok(vec![Some(true); 2]));
    }
}
