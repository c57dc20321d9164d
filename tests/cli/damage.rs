//! Damage to a study that the program made: every undamaged row is read, or the file is refused by name with a remedy; no figure
//! is ever another.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::LazyLock;

use privynet::store::{Event, Header, Study, StudyReader};

use crate::support::{TinySpace, stderr};

/// Of each file, so many damaged copies are read.
const COPIES: usize = 200;

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// A file, cut somewhere or with a bit that changed.
struct Damaged {
    bytes: Vec<u8>,
    /// Where.
    at: usize,
    cut: bool,
}

impl std::fmt::Display for Damaged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at byte {}", if self.cut { "cut" } else { "a bit changed" }, self.at)
    }
}

/// Half of the copies are cut, in the other half a bit changed.
fn damaged(good: &[u8]) -> impl Iterator<Item = Damaged> {
    let mut numbers = Numbers(good.len() as u64);
    (0..2 * COPIES).map(move |copy| {
        let (at, cut) = (numbers.below(good.len()), copy % 2 == 0);
        let mut bytes = good.to_vec();
        match cut {
            true => bytes.truncate(at),
            false => bytes[at] ^= 1 << numbers.below(8),
        }
        Damaged { bytes, at, cut }
    })
}

/// A folder with a concluded study, made by the program once for all tests.
static SPACE: LazyLock<TinySpace> = LazyLock::new(|| {
    let space = TinySpace::new();
    let output = space.run(&["optimize", "budget.yaml", "--quiet"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    space
});

/// A copy of that study.
struct Copied {
    results: tempfile::TempDir,
    dir: PathBuf,
    events: Vec<Event>,
    header: Header,
}

impl Copied {
    fn new() -> Self {
        let results = tempfile::tempdir().expect("a study that can be copied");
        let (from, dir) = (SPACE.path("results/tiny"), results.path().join("tiny"));
        for folder in ["", "blobs"] {
            std::fs::create_dir(dir.join(folder)).expect("a study that can be copied");
            for entry in
                std::fs::read_dir(from.join(folder)).expect("a study that can be copied").filter_map(Result::ok)
            {
                if entry.file_type().expect("a study that can be copied").is_file() {
                    std::fs::copy(entry.path(), dir.join(folder).join(entry.file_name()))
                        .expect("a study that can be copied");
                }
            }
        }
        let reader = StudyReader::open(&dir).expect("a study that can be copied");
        let (events, header) = (reader.events().to_vec(), reader.header().clone());
        assert!(events.len() > 3);
        Self { results, dir, events, header }
    }

    /// The program, on this copy.
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = SPACE.command(arguments);
        command.arg("--results").arg(self.results.path()).arg("--reports").arg(self.results.path().join("reports"));
        command.output().expect("a study that can be copied")
    }

    /// Names of the side files.
    fn blobs(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.join("blobs")).expect("a study that can be copied");
        entries.map(|entry| entry.expect("a readable folder").file_name().to_string_lossy().into_owned()).collect()
    }

    /// Puts damaged copies in the place of a file, has each looked at, and the good one back.
    fn each(&self, path: &Path, mut look: impl FnMut(&Damaged)) {
        let good = std::fs::read(path).expect("a study that can be copied");
        for copy in damaged(&good) {
            std::fs::write(path, &copy.bytes).expect("a study that can be copied");
            look(&copy);
        }
        std::fs::write(path, good).expect("a study that can be copied");
    }
}

/// A refusal names the file and says what to do.
fn names_file_and_remedy(message: &str, path: &Path, remedies: &[&str]) {
    assert!(message.contains(&*path.to_string_lossy()), "{message}");
    assert!(remedies.iter().any(|remedy| message.contains(remedy)), "{message}");
}

#[test]
fn a_damaged_journal_gives_all_undamaged_rows_or_a_refusal() {
    let made = Copied::new();
    let path = made.dir.join("journal.jsonl");
    let good = std::fs::read(&path).unwrap();
    let ends: Vec<usize> = (0..good.len()).filter(|&at| good[at] == b'\n').collect();
    let (mut recovered, mut refused) = (0, 0);
    made.each(&path, |copy| {
        // Lines, from 0, the first of which is the journal's head.
        let line = ends.iter().filter(|&&end| end < copy.at).count();
        let is_last = line + 1 == ends.len();
        let remedies = ["backup", "another folder", "open it with"];
        match StudyReader::open(&made.dir) {
            Ok(reader) => {
                recovered += 1;
                // A line that only lost its line feed is whole.
                let whole = if copy.at == ends[line] { line } else { line - 1 };
                assert_eq!(reader.events(), &made.events[..whole], "{copy}");
                assert!(copy.cut || is_last, "{copy}: not noticed");
            }
            Err(error) => {
                refused += 1;
                let message = error.to_string();
                names_file_and_remedy(&message, &path, &remedies);
                assert!(message.contains(&format!("line {}", line + 1)), "{copy}: {message}");
                assert!(line == 0 || !copy.cut, "{copy}: a journal that was cut is read up to there");
            }
        }
        // To go on with it is to say what is missing.
        let opened = Study::open(&made.dir, &made.header);
        let Ok((study, again)) = opened else { return };
        let lost = made.events.len() - again.events.len();
        assert_eq!(again.events, made.events[..again.events.len()], "{copy}");
        // With its line feed or without, the line before the cut is whole.
        let between_lines = copy.cut && (copy.at == 0 || ends.contains(&(copy.at - 1)) || ends.contains(&copy.at));
        assert!(lost == 0 || between_lines || !again.warnings.is_empty(), "{copy}: {lost} lost without a word");
        drop(study);
    });
    assert!(recovered > COPIES / 2 && refused > COPIES / 2, "{recovered} and {refused}");
}

#[test]
fn a_damaged_header_is_refused() {
    let made = Copied::new();
    let path = made.dir.join("study.json");
    made.each(&path, |copy| {
        for error in [StudyReader::open(&made.dir).err(), Study::open(&made.dir, &made.header).err()] {
            let message = error.unwrap_or_else(|| panic!("{copy}: not noticed")).to_string();
            names_file_and_remedy(&message, &path, &["backup", "another folder"]);
        }
    });
}

#[test]
fn damaged_side_files_are_refused() {
    let made = Copied::new();
    for prefix in ["gallery", "cloud-net"] {
        let name = made.blobs().into_iter().find(|name| name.starts_with(prefix)).expect("one of each");
        let path = made.dir.join("blobs").join(&name);
        made.each(&path, |copy| {
            let reader = StudyReader::open(&made.dir).unwrap();
            let error = reader.load_blob(&name).err().unwrap_or_else(|| panic!("{name}, {copy}: not noticed"));
            names_file_and_remedy(&error.to_string(), &path, &["backup"]);
        });
    }
}

#[test]
fn no_command_shows_a_figure_of_a_damaged_conclusion_or_picture() {
    let made = Copied::new();
    let refused = |arguments: &[&str], path: &Path, remedy: &str| {
        let output = made.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
        names_file_and_remedy(&stderr(&output), path, &[remedy]);
    };
    let blobs = made.dir.join("blobs");
    let conclusion = blobs.join("conclusion.json");
    let mut seen = 0;
    made.each(&conclusion, |_| {
        seen += 1;
        // A process each: some of them.
        if seen % 40 == 0 {
            for command in [["show", "tiny"], ["report", "tiny"]] {
                refused(&command, &conclusion, "run the study's `privynet optimize` command again");
            }
        }
    });
    // What the message says helps: the conclusion is made anew from the journal, and nothing is measured.
    let good = std::fs::read(&conclusion).unwrap();
    let journal = std::fs::read(made.dir.join("journal.jsonl")).unwrap();
    std::fs::write(&conclusion, &good[..good.len() / 2]).unwrap();
    let output = made.run(&["optimize", "budget.yaml", "--quiet"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(std::fs::read(made.dir.join("journal.jsonl")).unwrap(), journal);

    let names = made.blobs();
    let verification =
        |prefix: &str| names.iter().find(|name| name.starts_with(prefix) && name.contains("verification"));
    for (prefix, command) in [
        ("gallery", &["report", "tiny"][..]),
        ("cloud-net", &["export", "tiny", "--out", "package", "--allow-unverified"]),
    ] {
        let path = blobs.join(verification(prefix).expect("one of the verification"));
        let mut bytes = std::fs::read(&path).unwrap();
        // A digit of a picture, a bit of a weight: neither makes the file unreadable.
        let at = match prefix {
            "gallery" => bytes.windows(2).rposition(|two| two[0].is_ascii_digit() && two[1] == b',').unwrap(),
            _ => bytes.len() - 3,
        };
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        refused(command, &path, "remove it");
        std::fs::remove_file(&path).unwrap();
        let output = made.run(command);
        assert_eq!(output.status.code(), Some(0), "without it: {}", stderr(&output));
    }
}
