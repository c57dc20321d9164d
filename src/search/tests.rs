//! The whole loop on a mock estimator: seconds, not minutes, and an answer that is known.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::backbone::Architecture;
use crate::config::{EffortLevel, PrecisionEntry};
use crate::estimate::mock::{MockEstimator, truth};
use crate::estimate::{Estimator, Watch};
use crate::exec::{Job, Lanes, LocalWorkers, Observer, Worker, Workers};
use crate::measurement::Outcome;
use crate::space::{ChannelChoice, Cost, Design, Selection};
use crate::store::{Header, Inputs, Study};

mod faults;
mod kills;
mod listing;
mod screening;
mod verification;

/// Counts fresh measurements, on so many lanes, and interrupts those that begin after `stop` of them.
#[derive(Default)]
struct Counter {
    fresh: AtomicUsize,
    stop: Option<usize>,
    lanes: usize,
}

impl Counter {
    fn fresh(&self) -> usize {
        self.fresh.load(Ordering::Relaxed)
    }
}

impl Observer for Counter {
    fn started(&self, _: &Job<'_>, _: usize, _: usize) {}

    fn progress(&self, _: usize, _: &str, _: f64) -> ControlFlow<()> {
        match self.stop {
            Some(stop) if self.fresh() >= stop => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }

    fn failed(&self, _: &Job<'_>, _: &Evaluation, _: usize) {}

    fn finished(&self, _: &Job<'_>, _: &Evaluation, _: usize, fresh: bool) {
        self.fresh.fetch_add(usize::from(fresh), Ordering::Relaxed);
    }
}

fn candidates() -> Vec<Candidate> {
    let mut all = Vec::new();
    let convolutions = Architecture::vgg16().layers().iter().filter(|layer| layer.mixable);
    for (index, layer) in convolutions.enumerate().skip(1).take(6) {
        for depth in [4usize, 8, 16, 32, 64] {
            for draw in 0..3u16 {
                let design = Design {
                    split: layer.name.to_owned(),
                    channels: ChannelChoice::set((0..depth as u16).map(|c| (c + 7 * draw) % 64).collect()),
                };
                if design.channels.depth() < 64 || draw == 0 {
                    all.push(Candidate {
                        id: design.id(),
                        split_index: index,
                        selections: vec![Selection::Random { seed: draw.into() }],
                        cost: Cost::new(Architecture::vgg16(), layer, 32, depth, PrecisionEntry::default()).unwrap(),
                        linear_attack: 20.0 - index as f64 + (depth as f64).log2(),
                        class_separation: (depth as f64).log2() + index as f64,
                        design,
                    });
                }
            }
        }
    }
    all
}

fn study(dir: &Path) -> (Study, Vec<crate::store::Event>) {
    let hash = |text: &str| text.to_owned();
    let inputs =
        Inputs { budget: hash("b"), space: hash("s"), data: hash("d"), weights: hash("w"), protocols: hash("p") };
    let header = Header::new("mock", inputs, serde_json::Value::Null);
    let (study, recovered) = Study::open(dir, &header).unwrap();
    (study, recovered.events)
}

fn solve(
    dir: &Path,
    limit: f64,
    mock: impl Fn() -> MockEstimator,
    counter: &Counter,
) -> Result<(Findings, Vec<Candidate>), SearchError> {
    solve_within(dir, limit, None, mock, counter)
}

fn solve_within(
    dir: &Path,
    limit: f64,
    seconds: Option<f64>,
    mock: impl Fn() -> MockEstimator,
    counter: &Counter,
) -> Result<(Findings, Vec<Candidate>), SearchError> {
    let bounds = [MetricBound { metric: Metric::PsnrMean, limit }];
    solve_problem(dir, Problem { bounds: &bounds, seconds, ..problem() }, mock, counter)
}

/// Nothing is known but the candidates.
struct NoSets;

impl ChannelSets for NoSets {
    fn live(&self, _: &str) -> Vec<u16> {
        Vec::new()
    }

    fn with_channels(&self, _: &Candidate, _: Vec<u16>) -> Option<Candidate> {
        None
    }
}

/// What the tests vary.
fn problem() -> Problem<'static> {
    static NONE: LazyLock<Candidates<'static>> = LazyLock::new(|| [].into_iter().collect());
    Problem {
        candidates: &NONE,
        sets: &NoSets,
        bounds: &[],
        confidence: 0.95,
        floor: FLOOR,
        inverted: false,
        seed: 3,
        chance: 0.1,
        objective: Objective::Accuracy,
        strategy: Strategy::Model,
        plan: Plan { evaluations: 18, ..Plan::of(EffortLevel::Quick) },
        seconds: None,
        work: &even,
    }
}

fn solve_problem(
    dir: &Path,
    problem: Problem<'_>,
    mock: impl Fn() -> MockEstimator,
    counter: &Counter,
) -> Result<(Findings, Vec<Candidate>), SearchError> {
    let candidates = candidates();
    let listed: Candidates<'_> = candidates.iter().cloned().collect();
    Ok((solve_among(dir, Problem { candidates: &listed, ..problem }, mock, counter)?, candidates))
}

fn solve_among(
    dir: &Path,
    problem: Problem<'_>,
    mock: impl Fn() -> MockEstimator,
    counter: &Counter,
) -> Result<Findings, SearchError> {
    let (study, recovered) = study(dir);
    let estimators: Vec<Box<dyn Estimator>> = vec![Box::new(mock())];
    let mut executor = Executor::new(study, &recovered, local(estimators, counter.lanes), counter, 18, 0);
    run(&problem, &mut executor)
}

fn local<'a>(estimators: Vec<Box<dyn Estimator + 'a>>, lanes: usize) -> Box<dyn Workers + 'a> {
    Box::new(LocalWorkers::new(Worker::new(estimators, None), Lanes::new(Some(lanes))))
}

/// Every measurement takes as long.
fn even(_: &Place, _: Fidelity) -> f64 {
    1.0
}

/// What an attacker reaches without features, dB.
const FLOOR: f64 = 5.0;

/// What verification adds, as the quick plan expects.
const GAIN: f64 = 3.5;

fn honest() -> MockEstimator {
    MockEstimator { noise: 0.1, gain: GAIN, converges: true, linear: -2.0, open_from: usize::MAX }
}

/// The best accuracy that meets the limit for certain.
fn optimum(limit: f64) -> f64 {
    candidates()
        .iter()
        .map(|c| truth(c.split_index, c.design.channels.depth()))
        .filter(|(_, psnr)| psnr + GAIN + 1.8 < limit)
        .map(|(accuracy, _)| accuracy)
        .fold(0.0, f64::max)
}

#[test]
fn finds_a_verified_design_near_the_optimum() {
    for limit in [24.0, 26.5, 29.0] {
        let folder = tempfile::tempdir().unwrap();
        let (findings, candidates) = solve(folder.path(), limit, honest, &Counter::default()).unwrap();
        assert_eq!(findings.status, Status::Verified, "{limit}: {:?}", findings.verdicts);
        let chosen = &candidates[findings.chosen.unwrap()];
        let (accuracy, psnr) = truth(chosen.split_index, chosen.design.channels.depth());
        assert!(psnr + GAIN <= limit + 0.2, "{limit}: {} leaks {psnr}", chosen.id);
        assert!(accuracy > optimum(limit) - 0.015, "{limit}: {accuracy} is far below {}", optimum(limit));
        let chosen_is_measured = findings.measured.iter().any(|(index, _)| Some(*index) == findings.chosen);
        assert!(chosen_is_measured, "nothing is verified by prediction alone");
        assert!((18..=18 + 3).contains(&findings.measured.len()));
    }
}

#[test]
fn every_strategy_and_objective_ends_with_a_design_that_holds() {
    let bounds = [MetricBound { metric: Metric::PsnrMean, limit: 26.5 }];
    for (strategy, objective) in [
        (Strategy::Random, Objective::Accuracy),
        (Strategy::Hierarchical, Objective::Accuracy),
        (Strategy::Exhaustive, Objective::Accuracy),
        (Strategy::Model, Objective::Front),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let plan = Plan { evaluations: if strategy == Strategy::Exhaustive { 200 } else { 18 }, ..problem().plan };
        let problem = Problem { bounds: &bounds, strategy, objective, plan, ..problem() };
        let (findings, candidates) = solve_problem(folder.path(), problem, honest, &Counter::default()).unwrap();
        assert_eq!(findings.status, Status::Verified, "{strategy}: {:?}", findings.verdicts);
        let chosen = &candidates[findings.chosen.unwrap()];
        let (accuracy, psnr) = truth(chosen.split_index, chosen.design.channels.depth());
        assert!(psnr + GAIN <= 26.7, "{strategy}: {} leaks {psnr}", chosen.id);
        if strategy == Strategy::Exhaustive {
            assert_eq!(findings.measured.len(), candidates.len());
            assert!(accuracy > optimum(26.5) - 0.015, "{accuracy} is far below {}", optimum(26.5));
        }
        let expected = if objective == Objective::Front { "hypervolume".to_owned() } else { strategy.to_string() };
        assert!(findings.measured.iter().any(|(_, e)| e.reason.contains(&expected)), "{expected}");
    }
}

/// Sets of channels about which the models' inputs say that the higher numbers are better: less leakage, more utility.
struct HighIsGood;

impl ChannelSets for HighIsGood {
    fn live(&self, _: &str) -> Vec<u16> {
        (0..128).collect()
    }

    fn with_channels(&self, base: &Candidate, channels: Vec<u16>) -> Option<Candidate> {
        let mean = channels.iter().map(|&c| f64::from(127 - c)).sum::<f64>() / channels.len() as f64;
        let design = Design { split: base.design.split.clone(), channels: ChannelChoice::set(channels) };
        Some(Candidate {
            id: design.id(),
            selections: Vec::new(),
            linear_attack: base.linear_attack - 8.0 + mean / 8.0,
            class_separation: base.class_separation + 4.0 - mean / 16.0,
            design,
            ..base.clone()
        })
    }
}

#[test]
fn the_last_measurement_goes_to_a_set_that_no_rule_makes() {
    let folder = tempfile::tempdir().unwrap();
    let bounds = [MetricBound { metric: Metric::PsnrMean, limit: 26.5 }];
    let problem = Problem { bounds: &bounds, sets: &HighIsGood, ..problem() };
    let (findings, candidates) = solve_problem(folder.path(), problem, honest, &Counter::default()).unwrap();
    let [refined] = &findings.refined[..] else {
        panic!("one set is refined: {:?}", findings.refined.len());
    };
    assert!(candidates.iter().all(|known| known.id != refined.id));
    assert_eq!(refined.selection_names(), "local search");
    let measured = findings.measured.iter().filter(|(_, evaluation)| evaluation.design == refined.id);
    let reasons: Vec<&str> = measured.map(|(_, evaluation)| evaluation.reason.as_str()).collect();
    assert!(reasons.len() == 1 && reasons[0].contains("local search"), "{reasons:?}");
    let again = solve_problem(folder.path(), problem, honest, &Counter::default()).unwrap().0;
    assert_eq!((again.chosen, again.refined[0].id.clone()), (findings.chosen, refined.id.clone()));
}

#[test]
fn attempts_that_are_left_go_to_more_accurate_designs() {
    let bounds = [MetricBound { metric: Metric::PsnrMean, limit: 29.0 }];
    let accuracy = |improves| {
        let folder = tempfile::tempdir().unwrap();
        // What verification adds is overestimated, so that the first design is chosen too carefully.
        let plan = Plan { improves, expected_gain: (9.0, 2.0), verification_attempts: 4, ..problem().plan };
        let problem = Problem { bounds: &bounds, plan, ..problem() };
        let (findings, candidates) = solve_problem(folder.path(), problem, honest, &Counter::default()).unwrap();
        assert_eq!(findings.status, Status::Verified, "{:?}", findings.verdicts);
        let chosen = &candidates[findings.chosen.unwrap()];
        let verdict = findings.verdicts.iter().find(|verdict| verdict.design == chosen.id).unwrap();
        assert!(verdict.holds);
        (truth(chosen.split_index, chosen.design.channels.depth()).0, findings.verdicts.len())
    };
    let (first, improved) = (accuracy(false), accuracy(true));
    assert!(improved.0 > first.0 + 0.005 && improved.1 > first.1, "{first:?} {improved:?}");
}

#[test]
fn never_measures_a_design_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (findings, _) = solve(folder.path(), 26.5, honest, &Counter::default()).unwrap();
    let distinct: BTreeSet<usize> = findings.measured.iter().map(|(index, _)| *index).collect();
    assert_eq!(distinct.len(), findings.measured.len());
}

#[test]
fn an_impossible_bound_is_infeasible_and_names_what_binds() {
    let folder = tempfile::tempdir().unwrap();
    let (findings, candidates) = solve(folder.path(), 9.0, honest, &Counter::default()).unwrap();
    assert_eq!(findings.status, Status::Infeasible);
    assert_eq!(findings.binding, Some(Metric::PsnrMean));
    let nearest = &candidates[findings.chosen.unwrap()];
    assert_eq!((nearest.design.split.as_str(), nearest.design.channels.depth()), ("conv3_3", 4));
    assert!(findings.verdicts.is_empty(), "nothing hopeless is put to verification");
}

#[test]
fn what_no_model_foretells_is_not_called_infeasible() {
    let folder = tempfile::tempdir().unwrap();
    let mock = || MockEstimator { noise: 30.0, ..honest() };
    let bounds = [MetricBound { metric: Metric::PsnrMean, limit: -300.0 }];
    let problem = |floor| Problem { bounds: &bounds, floor, ..problem() };
    let (findings, _) = solve_problem(folder.path(), problem(-400.0), mock, &Counter::default()).unwrap();
    assert_eq!(findings.status, Status::Unverified);
    assert!(findings.warnings.iter().any(|warning| warning.contains("were not judged")), "{:?}", findings.warnings);
    // What needs no features has more: no model is needed.
    let other = tempfile::tempdir().unwrap();
    let (findings, _) = solve_problem(other.path(), problem(FLOOR), mock, &Counter::default()).unwrap();
    assert_eq!(findings.status, Status::Infeasible);
}

#[test]
fn an_interrupted_study_resumes_to_the_same_answer_and_repeats_nothing() {
    let whole = tempfile::tempdir().unwrap();
    let (expected, _) = solve(whole.path(), 26.5, honest, &Counter::default()).unwrap();
    let broken = tempfile::tempdir().unwrap();
    let first = Counter { stop: Some(7), ..Counter::default() };
    let stopped = solve(broken.path(), 26.5, honest, &first);
    assert!(matches!(stopped, Err(SearchError::Exec(ExecError::Interrupted))));
    let second = Counter::default();
    let (found, _) = solve(broken.path(), 26.5, honest, &second).unwrap();
    assert_eq!(found.chosen, expected.chosen);
    assert_eq!(found.verdicts, expected.verdicts);
    let order = |f: &Findings| f.measured.iter().map(|(i, _)| *i).collect::<Vec<_>>();
    assert_eq!(order(&found), order(&expected));
    assert_eq!(first.fresh(), 7);
    let total = expected.measured.len() + expected.verdicts.iter().map(|v| v.seeds.len()).sum::<usize>();
    assert_eq!(first.fresh() + second.fresh(), total);
}

#[test]
fn designs_side_by_side_change_nothing_and_resume_alike() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let order = |f: &Findings| f.measured.iter().map(|(i, e)| (*i, e.order)).collect::<Vec<_>>();
    let alone = tempfile::tempdir().unwrap();
    let (expected, _) = solve(alone.path(), 26.5, honest, &Counter::default()).unwrap();
    let together = tempfile::tempdir().unwrap();
    let first = Counter { stop: Some(5), lanes: 3, ..Counter::default() };
    let stopped = pool.install(|| solve(together.path(), 26.5, honest, &first));
    assert!(matches!(stopped, Err(SearchError::Exec(ExecError::Interrupted))));
    let second = Counter { lanes: 3, ..Counter::default() };
    let (found, _) = pool.install(|| solve(together.path(), 26.5, honest, &second)).unwrap();
    assert_eq!((found.chosen, &found.verdicts), (expected.chosen, &expected.verdicts));
    assert_eq!(order(&found), order(&expected));
    let total = expected.measured.len() + expected.verdicts.iter().map(|v| v.seeds.len()).sum::<usize>();
    assert_eq!(first.fresh() + second.fresh(), total);
}

#[test]
fn a_limit_on_time_ends_the_search_and_a_resumed_one_ends_alike() {
    let folder = tempfile::tempdir().unwrap();
    let first = Counter::default();
    // Whatever one measurement takes is more than this.
    let (found, _) = solve_within(folder.path(), 26.5, Some(1e-9), honest, &first).unwrap();
    assert_eq!(found.measured.len(), 1, "what was measured spends the allowance");
    let second = Counter::default();
    let (again, _) = solve_within(folder.path(), 26.5, Some(1e-9), honest, &second).unwrap();
    assert_eq!((again.chosen, again.status, again.measured.len()), (found.chosen, found.status, 1));
    assert_eq!(second.fresh(), 0, "nothing is measured again");
}

#[test]
fn a_design_contains_those_of_its_channels_alone() {
    let design = |split: &str, channels: &[u16]| Design {
        split: split.to_owned(),
        channels: ChannelChoice::set(channels.to_vec()),
    };
    let whole = design("conv2_1", &[1, 5, 9]);
    assert!(whole.contains(&whole) && whole.contains(&design("conv2_1", &[9, 1])));
    assert!(!whole.contains(&design("conv2_1", &[1, 2])) && !whole.contains(&design("conv2_2", &[1])));
}

#[test]
fn an_attack_that_was_stopped_never_lowers_the_belief() {
    let folder = tempfile::tempdir().unwrap();
    let mock = || MockEstimator { converges: false, gain: 0.5, ..honest() };
    let (findings, candidates) = solve(folder.path(), 26.5, mock, &Counter::default()).unwrap();
    let expected = |gain: &Gain| {
        let figures = findings.models.figures(&candidates[findings.chosen.unwrap()]);
        let figure = figures.into_iter().find(|f| f.metric == Metric::PsnrMean).unwrap();
        gain.expected(figure, Openness::new(0, 1)).value
    };
    assert!(!findings.verdicts.is_empty());
    assert!(expected(&findings.gain) >= expected(&Gain::prior(&Plan::of(EffortLevel::Quick))) - 1e-9);
}

struct Failing;
impl Estimator for Failing {
    fn name(&self) -> &'static str {
        "failing"
    }
    fn estimate(
        &self,
        request: &crate::estimate::Request<'_>,
        watch: &dyn Watch,
    ) -> Result<crate::estimate::Estimate, crate::estimate::EstimateError> {
        if request.design.channels.depth() == 8 {
            panic!("depth 8 is not to its taste");
        }
        honest().estimate(request, watch)
    }
}

#[test]
fn a_panicking_measurement_is_recorded_and_does_not_stop_the_study() {
    let folder = tempfile::tempdir().unwrap();
    let candidates: Candidates<'_> = candidates().into_iter().collect();
    let bounds = [MetricBound { metric: Metric::PsnrMean, limit: 26.5 }];
    let plan = Plan { evaluations: 20, ..Plan::of(EffortLevel::Quick) };
    let (confidence, seconds) = (0.95, None);
    let problem = Problem {
        candidates: &candidates,
        sets: &NoSets,
        bounds: &bounds,
        confidence,
        floor: FLOOR,
        inverted: false,
        seed: 3,
        chance: 0.1,
        objective: Objective::Accuracy,
        strategy: Strategy::Model,
        plan,
        seconds,
        work: &even,
    };
    let (study, recovered) = study(folder.path());
    let counter = Counter::default();
    let mut executor = Executor::new(study, &recovered, local(vec![Box::new(Failing)], 2), &counter, 20, 1);
    let findings = run(&problem, &mut executor).unwrap();
    assert_eq!(findings.status, Status::Verified);
    let failed: Vec<_> = (executor.evaluations().into_iter())
        .filter_map(|e| match e.outcome {
            Outcome::Failed { reason, .. } => Some(reason),
            Outcome::Done(_) => None,
        })
        .collect();
    assert!(!failed.is_empty() && failed.iter().all(|r| r.contains("not to its taste")), "{failed:?}");
}

/// A plan that screens at a quarter of the cost.
fn screening() -> Problem<'static> {
    fn work(_: &Place, fidelity: Fidelity) -> f64 {
        if fidelity == Fidelity::Quick { 0.25 } else { 1.0 }
    }
    let plan = Plan { screening: Some(Fidelity::Quick), search: Fidelity::Standard, evaluations: 14, ..problem().plan };
    Problem { plan, work: &work, ..problem() }
}

/// What verification adds to the standard search's figures, as the plan expects.
fn thorough() -> MockEstimator {
    MockEstimator { gain: 5.0, ..honest() }
}
