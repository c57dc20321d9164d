//! SIGINT and SIGTERM end a study at any moment, with nothing left that says that it runs. How soon, `tests/faults.py` measures.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{TinySpace, stderr};

/// Waits for a file, but not for ever.
fn await_file(path: &Path) {
    let start = Instant::now();
    while !path.exists() && start.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn both_signals_end_a_study_with_130_and_the_page_says_that_it_stopped() {
    for (signal, awaited) in
        [("-INT", "results/tiny/live.json"), ("-TERM", "reports/tiny/index.html"), ("-INT", "reports/tiny/index.html")]
    {
        let space = TinySpace::new();
        let mut command = space.command(&["optimize", "budget.yaml"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        await_file(&space.path(awaited));
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{signal}: {}", stderr(&output));
        assert_eq!(stderr(&output).matches("interrupted").count(), 1, "{signal}: {}", stderr(&output));
        assert!(!space.path("results/tiny/live.json").exists(), "{signal}: a sign of life is left");
        let page = space.path("reports/tiny/index.html");
        if page.exists() {
            let page = std::fs::read_to_string(page).unwrap();
            assert!(!page.contains("data-again"), "{signal}: the page waits for more");
        }
    }
}
