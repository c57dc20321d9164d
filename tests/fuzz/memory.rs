//! An allocator that counts, and ends the process where a parser asks for more than a gibibyte.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering::Relaxed};

/// Most bytes that may be asked for at once, and held in all.
const MOST: isize = 1 << 30;

/// Whether a parser runs.
static WATCHING: AtomicBool = AtomicBool::new(false);
/// Bytes held more than when it began.
static LIVE: AtomicIsize = AtomicIsize::new(0);
/// The most of them.
static PEAK: AtomicIsize = AtomicIsize::new(0);
/// What it was given, and where to put that.
static INPUT: Mutex<(Vec<u8>, String)> = Mutex::new((Vec::new(), String::new()));

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: memory is the system allocator's, layouts are handed on unchanged; counting touches none of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // While it moves there are both.
        count(size as isize);
        LIVE.fetch_sub(layout.size() as isize, Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn count(bytes: isize) {
    let live = LIVE.fetch_add(bytes, Relaxed) + bytes;
    if !WATCHING.load(Relaxed) {
        return;
    }
    PEAK.fetch_max(live, Relaxed);
    if bytes > MOST || live > MOST {
        // Telling of it takes memory, too.
        WATCHING.store(false, Relaxed);
        let trace = std::backtrace::Backtrace::force_capture();
        let place = INPUT.try_lock().map(|input| {
            let _ = std::fs::write(&input.1, &input.0);
            input.1.clone()
        });
        let place = place.unwrap_or_default();
        eprintln!("FAILED: {bytes} bytes were asked for, {live} are held; the input is {place}\n{trace}");
        std::process::abort();
    }
}

/// Runs what parses `input`; returns the most bytes that it held. An input that makes it ask for too much is written to `failure`
/// before the process ends.
pub fn watch(input: &[u8], failure: &Path, parse: impl FnOnce()) -> usize {
    if let Ok(mut kept) = INPUT.lock() {
        kept.0.clear();
        kept.0.extend_from_slice(input);
        if kept.1.is_empty() || Path::new(&kept.1) != failure {
            kept.1 = failure.display().to_string();
        }
    }
    run(parse)
}

/// The same of an input that is in a file.
pub fn watched(file: &Path, parse: impl FnOnce()) -> usize {
    let copy = std::env::temp_dir().join("fuzz-failure-again");
    watch(&std::fs::read(file).unwrap_or_default(), &copy, parse)
}

fn run(parse: impl FnOnce()) -> usize {
    /// Ends the watch, also where the parser panics.
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            WATCHING.store(false, Relaxed);
        }
    }
    LIVE.store(0, Relaxed);
    PEAK.store(0, Relaxed);
    WATCHING.store(true, Relaxed);
    let end = End;
    parse();
    drop(end);
    PEAK.load(Relaxed).max(0) as usize
}
