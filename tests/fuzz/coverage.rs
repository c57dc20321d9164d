//! Which places of the program an input reaches, where it was built with LLVM's counters.

use std::sync::Mutex;

/// The counters that the program's constructors announced: first and last address. None where it was built without.
static COUNTERS: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());

/// Called by code that `-Cpasses=sancov-module` instrumented, once for each object file, before `main`.
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, stop: *mut u8) {
    let range = (start as usize, stop as usize);
    if let Ok(mut counters) = COUNTERS.lock()
        && range.0 < range.1
        && !counters.contains(&range)
    {
        counters.push(range);
    }
}

/// What was reached so far.
pub struct Coverage {
    counters: Vec<(usize, usize)>,
    /// Of each counter the magnitudes that were seen, as bits.
    seen: Vec<u8>,
    reached: usize,
}

impl Coverage {
    pub fn new() -> Self {
        let counters = COUNTERS.lock().map(|counters| counters.clone()).unwrap_or_default();
        let places = counters.iter().map(|(start, stop)| stop - start).sum();
        Self { counters, seen: vec![0; places], reached: 0 }
    }

    pub fn is_there(&self) -> bool {
        !self.counters.is_empty()
    }

    /// Places that were reached.
    pub fn reached(&self) -> usize {
        self.reached
    }

    /// Whether a place was reached, or one more often by a magnitude, that never was before. Sets all counters to zero.
    pub fn is_new(&mut self) -> bool {
        let (mut new, mut base) = (false, 0);
        for &(start, stop) in &self.counters {
            // SAFETY: the range is a section of this program's data that only instrumented code changes, a byte at a time; what
            // another thread counts meanwhile is read as it was or as it will be, or lost.
            let counts = unsafe { std::slice::from_raw_parts_mut(start as *mut u8, stop - start) };
            for (place, line) in counts.chunks_mut(64).enumerate() {
                // Nearly all are zero: without a branch for each, the whole section takes microseconds.
                if line.iter().fold(0, |any, &count| any | count) == 0 {
                    continue;
                }
                for (at, count) in line.iter_mut().enumerate().filter(|(_, count)| **count > 0) {
                    let seen = &mut self.seen[base + 64 * place + at];
                    let bit = 1 << magnitude(std::mem::take(count));
                    self.reached += usize::from(*seen == 0);
                    new |= *seen & bit == 0;
                    *seen |= bit;
                }
            }
            base += stop - start;
        }
        new
    }
}

/// 1, 2, 3, 4 to 7, 8 to 15, 16 to 31, 32 to 127, more: 0 to 7.
fn magnitude(count: u8) -> u32 {
    match count {
        0..=3 => u32::from(count.max(1)) - 1,
        4..=7 => 3,
        8..=15 => 4,
        16..=31 => 5,
        32..=127 => 6,
        _ => 7,
    }
}
