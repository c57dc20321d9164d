//! Every parser of ours on files that are changed at random: none may panic, and none may ask for a gibibyte.
//!
//! ```sh
//! cargo test --release --locked --test fuzz                        # each for a few seconds: what CI does
//! PRIVYNET_FUZZ_SECONDS=1800 cargo test --release --locked --test fuzz -- onnx npz
//! PRIVYNET_FUZZ_SHARE=1/2 cargo test --release --locked --test fuzz    # every other target, for two at a time: 2/2 is the rest
//! ```
//!
//! Inputs begin as valid files and are cut, spliced, overwritten and crossed. They follow from `PRIVYNET_FUZZ_SEED` (1) and the number of
//! the execution alone, but for how many there is time for; `PRIVYNET_FUZZ_EXECUTIONS` ends a target sooner. Built with coverage
//! counters (README, "Untrusted files"), inputs that reach something new are kept and changed further; `PRIVYNET_FUZZ_CORPUS` names
//! the folder where a next run finds them.
//!
//! An input that fails is written to `fuzz-failure-TARGET` in the folder for temporary files; naming a file as an argument runs it
//! again: `--test fuzz -- onnx=FILE`.

#[allow(unsafe_code, reason = "counters are bytes of the program that its own code changes")]
mod coverage;
#[allow(unsafe_code, reason = "an allocator is unsafe by nature")]
mod memory;
mod mutate;
mod seeds;
mod targets;
mod written;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use coverage::Coverage;
use mutate::Mutator;
use targets::{Parse, Target, all};

/// Seconds for each target where nothing is said.
const SECONDS: f64 = 3.0;

/// No input may take longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Largest input, and how much larger than the largest seed: long inputs are slow ones.
const MOST_BYTES: (usize, usize) = (1 << 20, 16);

/// As large as the stack of a program's first thread.
const STACK: usize = 8 << 20;

fn main() -> ExitCode {
    // On a thread of its own pool, parsers that read in parallel do so without waking others, which costs more than what they read.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).stack_size(STACK).build();
    pool.expect("a thread can be started").install(fuzz)
}

fn fuzz() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<f64>().ok());
    let seconds = number("PRIVYNET_FUZZ_SECONDS").unwrap_or(SECONDS);
    let most = number("PRIVYNET_FUZZ_EXECUTIONS").map_or(u64::MAX, |count| count as u64);
    let seed = number("PRIVYNET_FUZZ_SEED").unwrap_or(1.0) as u64;
    let corpus = std::env::var_os("PRIVYNET_FUZZ_CORPUS").map(PathBuf::from);
    let folder = scratch();
    if let Some((name, file)) = words.iter().find_map(|word| word.split_once('=')) {
        return again(name, Path::new(file), folder.path());
    }
    if std::env::args().any(|word| word == "--list") {
        all().iter().for_each(|target| println!("{}", target.name));
        return ExitCode::SUCCESS;
    }
    let (share, of) = share();
    let chosen = |target: &Target| words.is_empty() || words.iter().any(|word| target.name.contains(word.as_str()));
    let mut failed = false;
    for (_, target) in all().iter().enumerate().filter(|(index, target)| index % of == share && chosen(target)) {
        std::fs::create_dir_all(folder.path().join(target.name))
            .expect("the folder for temporary files can be written");
        let ran = Run::new(target, folder.path(), seed, corpus.as_deref()).fuzz(Duration::from_secs_f64(seconds), most);
        failed |= ran.is_err();
        println!("fuzz {:<12} {}", target.name, ran.unwrap_or_else(|failure| format!("FAILED: {failure}")));
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Which of the targets are this process's: those whose place leaves the first number when divided by the second.
fn share() -> (usize, usize) {
    let Ok(text) = std::env::var("PRIVYNET_FUZZ_SHARE") else {
        return (0, 1);
    };
    let parsed = text.split_once('/').and_then(|(share, of)| Some((share.parse().ok()?, of.parse().ok()?)));
    let (share, of): (usize, usize) = parsed.expect("PRIVYNET_FUZZ_SHARE is a text such as 1/2");
    assert!((1..=of).contains(&share), "PRIVYNET_FUZZ_SHARE is a text such as 1/2, not {text}");
    (share - 1, of)
}

/// What this process's threads took so far: other programs on the machine must not make an input slow.
#[cfg(unix)]
#[allow(unsafe_code, reason = "the system's clock writes where it is told to")]
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is one that the system may write to.
    let known = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) } == 0;
    if known { Duration::new(time.tv_sec as u64, time.tv_nsec as u32) } else { Duration::ZERO }
}

/// Elsewhere the clock has to do.
#[cfg(not(unix))]
fn processor_time() -> Duration {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    START.elapsed()
}

/// A folder in memory where there is one: most parsers read files.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.or_else(|_| tempfile::tempdir()).expect("a temporary folder can be made")
}

/// Runs one input.
fn again(name: &str, file: &Path, folder: &Path) -> ExitCode {
    let targets = all();
    let Some(target) = targets.iter().find(|target| target.name == name) else {
        println!("no target is called {name}");
        return ExitCode::FAILURE;
    };
    std::fs::create_dir_all(folder.join(name)).expect("the folder for temporary files can be written");
    let bytes = std::fs::read(file).expect("the file can be read");
    let begin = Instant::now();
    let most = memory::watched(file, || (target.start)(&folder.join(name))(&bytes));
    println!("{name}: {} bytes, {:.3} s, {most} bytes of memory at most", bytes.len(), begin.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}

/// One target under test.
struct Run<'a> {
    target: &'a Target,
    parse: Parse,
    corpus: Vec<Vec<u8>>,
    mutator: Mutator,
    coverage: Coverage,
    failure: PathBuf,
    /// Where kept inputs stay.
    kept: Option<PathBuf>,
}

impl<'a> Run<'a> {
    fn new(target: &'a Target, folder: &Path, seed: u64, kept: Option<&Path>) -> Self {
        let mut corpus = (target.seeds)();
        assert!(!corpus.is_empty(), "{} has no seeds", target.name);
        let kept = kept.map(|folder| folder.join(target.name));
        if let Some(folder) = &kept {
            std::fs::create_dir_all(folder).expect("the corpus's folder can be written");
            corpus.extend(seeds::kept(folder));
        }
        Self {
            target,
            parse: (target.start)(&folder.join(target.name)),
            corpus,
            mutator: Mutator::new(seed, target.words),
            coverage: Coverage::new(),
            failure: std::env::temp_dir().join(format!("fuzz-failure-{}", target.name)),
            kept,
        }
    }

    /// Runs seeds, then changed ones until the processor's time is over or there were `most`; tells how many.
    fn fuzz(mut self, time: Duration, most_executions: u64) -> Result<String, String> {
        let begin = processor_time();
        let (seeds, mut executions, mut most, mut slowest) = (self.corpus.len(), 0_u64, 0, Duration::ZERO);
        let longest = (self.target.seeds)().iter().map(Vec::len).max().unwrap_or(0);
        let most_bytes = (MOST_BYTES.1 * longest).clamp(1 << 10, MOST_BYTES.0);
        while executions < seeds as u64 || (executions < most_executions && processor_time() - begin < time) {
            let input = match self.corpus.get(executions as usize).filter(|_| executions < seeds as u64) {
                Some(seed) => seed.clone(),
                None => self.mutator.next(&self.corpus, most_bytes),
            };
            let (bytes, took) = self.execute(&input)?;
            (most, slowest) = (most.max(bytes), slowest.max(took));
            executions += 1;
            // Slow inputs are not worth changing further.
            if self.coverage.is_new() && executions > seeds as u64 && took < PATIENCE / 20 {
                if let Some(folder) = &self.kept {
                    let name = &blake3::hash(&input).to_hex()[..16];
                    std::fs::write(folder.join(name), &input).expect("the corpus's folder can be written");
                }
                self.corpus.push(input);
            }
        }
        let seconds = (processor_time() - begin).as_secs_f64();
        let rate = executions as f64 / seconds;
        let kept = match self.coverage.is_there() {
            true => format!(", {} inputs kept, {} places reached", self.corpus.len() - seeds, self.coverage.reached()),
            false => String::new(),
        };
        Ok(format!(
            "{executions} executions in {seconds:.0} s, {rate:.0}/s, at most {:.1} MiB and {:.3} s for one{kept}",
            most as f64 / f64::from(1 << 20),
            slowest.as_secs_f64()
        ))
    }

    /// Runs one input; returns the most memory that it had and how long it took.
    fn execute(&mut self, input: &[u8]) -> Result<(usize, Duration), String> {
        let begin = processor_time();
        let outcome = {
            let parse = &mut self.parse;
            catch_unwind(AssertUnwindSafe(|| memory::watch(input, &self.failure, || parse(input))))
        };
        let took = processor_time().saturating_sub(begin);
        let told = |what: &str| {
            let saved = std::fs::write(&self.failure, input);
            let place = saved.map_or_else(|error| error.to_string(), |()| self.failure.display().to_string());
            Err(format!("{what}; the input is {place}"))
        };
        match outcome {
            Ok(most) if took < PATIENCE => Ok((most, took)),
            Ok(_) => told(&format!("an input of {} bytes took {:.1} s", input.len(), took.as_secs_f64())),
            Err(_) => told(&format!("{} panicked", self.target.name)),
        }
    }
}
