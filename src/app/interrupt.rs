//! Ctrl-C and SIGTERM: the first ends the running measurement cleanly, the second ends the program at once.

use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Installs the handler; where the system refuses, an interrupt ends the program as it would without it.
pub(super) fn install() {
    let handler = || {
        if INTERRUPTED.swap(true, Ordering::SeqCst) {
            std::process::exit(i32::from(super::exit::INTERRUPTED));
        }
    };
    // An error means that a handler is installed already (a second command in one process).
    let _ = ctrlc::set_handler(handler);
}

/// The flag that the handler sets.
pub(super) fn flag() -> &'static AtomicBool {
    &INTERRUPTED
}

/// Whether the user asked to stop.
pub(super) fn requested() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}
