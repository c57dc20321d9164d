//! A search that is killed again and again ends as if nothing had happened.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::*;
use crate::estimate::{Estimate, EstimateError, Request};
use crate::measurement::DesignId;
use crate::nn::{Device, NnError};
use crate::store::{Event, StudyReader};

const CHILD: &str = "search::tests::kills::searches_until_killed";
const CHILD_DIR: &str = "PRIVYNET_TEST_SEARCH";

/// How long a measurement takes: about as long as it takes to write.
const PAUSE: Duration = Duration::from_millis(3);

/// The mock, which takes its time and fails with some designs at the first try.
struct Slow;

impl Estimator for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn estimate(&self, request: &Request<'_>, watch: &dyn Watch) -> Result<Estimate, EstimateError> {
        std::thread::sleep(PAUSE);
        if request.design.channels.depth() == 16 && request.attempt == 0 {
            let source = NnError::Backend { device: Device::Cpu.to_string(), message: "out of memory".to_owned() };
            return Err(EstimateError::Training { what: "attack", design: request.design.id().to_string(), source });
        }
        let gallery = crate::estimate::Gallery::default();
        Ok(Estimate { gallery: Some(gallery), ..thorough().estimate(request, watch)? })
    }
}

/// One try, as both sides name it.
fn name(evaluation: &Evaluation) -> String {
    let done = if matches!(evaluation.outcome, Outcome::Done(_)) { "done" } else { "failed" };
    format!("{}-{}-{} {done}", evaluation.design, evaluation.fidelity, evaluation.seed)
}

/// Says what is durable.
struct Acknowledging;

impl Observer for Acknowledging {
    fn started(&self, _: &Job<'_>, _: usize, _: usize) {}

    fn progress(&self, _: usize, _: &str, _: f64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn failed(&self, _: &Job<'_>, evaluation: &Evaluation, _: usize) {
        println!("\nacknowledged {}", name(evaluation));
    }

    fn finished(&self, _: &Job<'_>, evaluation: &Evaluation, _: usize, fresh: bool) {
        if fresh {
            println!("\nacknowledged {}", name(evaluation));
        }
    }
}

/// What a search found, but for the time that it took.
fn answer(findings: &Findings) -> String {
    let timeless = |measured: &[(usize, Evaluation)]| -> Vec<(usize, Evaluation)> {
        measured.iter().map(|(index, e)| (*index, Evaluation { seconds: 0.0, ..e.clone() })).collect()
    };
    let Findings { status, chosen, probability, verdicts, binding, measured, screened, relaxations, warnings, .. } =
        findings;
    let (measured, screened) = (timeless(measured), timeless(screened));
    serde_json::to_string(&(status, chosen, probability, verdicts, binding, measured, screened, relaxations, warnings))
        .unwrap()
}

/// Not a test by itself: the process that the next tests kill.
#[test]
#[ignore = "started by the tests that kill it"]
fn searches_until_killed() {
    let Ok(dir) = std::env::var(CHILD_DIR) else {
        return;
    };
    let candidates: Candidates<'_> = candidates().into_iter().collect();
    let bounds = [MetricBound { metric: Metric::PsnrMean, limit: 26.5 }];
    let problem = Problem { candidates: &candidates, bounds: &bounds, ..screening() };
    let (study, recovered) = study(Path::new(&dir));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let findings = pool.install(|| {
        let workers = local(vec![Box::new(Slow)], 2);
        let mut executor = Executor::new(study, &recovered, workers, &Acknowledging, 18, Executor::RETRIES);
        run(&problem, &mut executor).unwrap()
    });
    println!("\nconcluded {}", answer(&findings));
}

fn start(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([CHILD, "--exact", "--ignored", "--nocapture"])
        .env(CHILD_DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What a child acknowledged before it ended, and its answer where it came to one.
fn heard(child: &mut Child) -> (Vec<String>, Option<String>) {
    let (mut acknowledged, mut concluded) = (Vec::new(), None);
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        if let Some(name) = line.strip_prefix("acknowledged ") {
            acknowledged.push(name.to_owned());
        } else if let Some(answer) = line.strip_prefix("concluded ") {
            concluded = Some(answer.to_owned());
        }
    }
    (acknowledged, concluded)
}

/// The journal's tries, in its order, by measurement.
fn tries(dir: &Path) -> BTreeMap<(DesignId, String), Vec<String>> {
    let mut tries: BTreeMap<_, Vec<String>> = BTreeMap::new();
    // A child that was killed at once left no study.
    let Ok(reader) = StudyReader::open(dir) else { return tries };
    for event in reader.events() {
        if let Event::Evaluation(e) = event {
            tries.entry((e.design.clone(), format!("{} {}", e.fidelity, e.seed))).or_default().push(name(e));
        }
    }
    tries
}

/// Kills searches `kills` times; those that came to an end must all have ended alike.
fn end_alike_after(kills: usize) {
    let whole = tempfile::tempdir().unwrap();
    let begin = Instant::now();
    let mut child = start(whole.path());
    let (_, expected) = heard(&mut child);
    let span = begin.elapsed();
    assert!(child.wait().unwrap().success() && expected.is_some(), "the search that nobody disturbs");
    let expected_tries = tries(whole.path());
    assert!(expected_tries.values().any(|tries| tries.len() > 1), "something is tried again");

    let mut random = ChaCha8Rng::seed_from_u64(kills as u64);
    let (mut killed, mut concluded) = (0, 0);
    while killed < kills {
        let dir = tempfile::tempdir().unwrap();
        let mut acknowledged = Vec::new();
        loop {
            let mut child = start(dir.path());
            if killed < kills {
                std::thread::sleep(span.mul_f64(f64::from(random.next_u32()) / f64::from(u32::MAX)));
                // SIGKILL: no destructor runs.
                child.kill().unwrap();
            }
            let (new, answer) = heard(&mut child);
            killed += usize::from(!child.wait().unwrap().success());
            acknowledged.extend(new);
            let found: Vec<String> = tries(dir.path()).into_values().flatten().collect();
            for name in &acknowledged {
                assert!(found.contains(name), "{name} was acknowledged and is lost");
            }
            if let Some(answer) = answer {
                assert_eq!(Some(answer), expected, "killed {killed} times");
                assert_eq!(tries(dir.path()), expected_tries, "each try once");
                concluded += 1;
                break;
            }
        }
    }
    println!("{killed} kills, {concluded} studies concluded alike");
}

#[test]
fn a_search_that_is_killed_at_random_moments_ends_as_if_it_had_not_been() {
    end_alike_after(12);
}

/// `cargo test --release --lib two_hundred_kills -- --ignored --nocapture`
#[test]
#[ignore = "a minute; the test above does the same less often"]
fn two_hundred_kills_lose_and_repeat_nothing() {
    end_alike_after(200);
}
