//! What verification refuses, and what is tried after it.

use super::*;

#[test]
fn an_attack_that_does_not_converge_is_never_verified() {
    let folder = tempfile::tempdir().unwrap();
    let mock = || MockEstimator { converges: false, ..honest() };
    let (findings, _) = solve(folder.path(), 26.5, mock, &Counter::default()).unwrap();
    assert_ne!(findings.status, Status::Verified);
    assert!(findings.verdicts.iter().all(|v| !v.holds && !v.converged && v.figures.iter().all(|f| f.upper.is_none())));
}

#[test]
fn a_verification_below_what_the_search_found_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mock = || MockEstimator { gain: -5.0, ..honest() };
    let (findings, _) = solve(folder.path(), 26.5, mock, &Counter::default()).unwrap();
    assert_ne!(findings.status, Status::Verified);
    assert!(findings.verdicts.iter().all(|v| v.objections.iter().any(|o| o.contains("under-trained"))));
}

#[test]
fn a_verification_above_the_limit_refutes_and_the_next_design_is_tried() {
    let folder = tempfile::tempdir().unwrap();
    let mock = || MockEstimator { gain: 2.0 * GAIN, ..honest() };
    let (findings, candidates) = solve(folder.path(), 26.5, mock, &Counter::default()).unwrap();
    assert!(!findings.verdicts[0].holds, "the plan expects half of what verification adds");
    assert!(findings.verdicts.len() > 1);
    if findings.status == Status::Verified {
        let chosen = &candidates[findings.chosen.unwrap()];
        assert!(truth(chosen.split_index, chosen.design.channels.depth()).1 + 2.0 * GAIN < 26.7);
    }
}

#[test]
fn one_design_that_inversion_opens_does_not_condemn_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let mock = || MockEstimator { open_from: 8, ..honest() };
    let (findings, candidates) = solve(folder.path(), 29.0, mock, &Counter::default()).unwrap();
    assert!(findings.verdicts.iter().any(|verdict| !verdict.holds), "none was surprising");
    assert_eq!(findings.status, Status::Verified, "{:?}", findings.verdicts);
    assert_eq!(candidates[findings.chosen.unwrap()].design.channels.depth(), 4);
}

#[test]
fn what_one_seed_refutes_no_other_is_asked_about() {
    // Verification finds far more than is expected: the first attempts are refuted.
    let surprise = || MockEstimator { gain: 2.0 * GAIN, ..honest() };
    let bounds = [MetricBound { metric: Metric::PsnrMean, limit: 26.5 }];
    let plan = Plan { verification_seeds: 3, ..problem().plan };
    let folder = tempfile::tempdir().unwrap();
    let problem = Problem { bounds: &bounds, plan, ..problem() };
    let (findings, _) = solve_problem(folder.path(), problem, surprise, &Counter::default()).unwrap();
    let refuted = findings.verdicts.iter().filter(|verdict| !verdict.holds);
    assert!(refuted.clone().count() > 0 && refuted.clone().all(|verdict| verdict.seeds.len() == 1));
    let held = findings.verdicts.iter().find(|verdict| verdict.holds).unwrap();
    assert_eq!(held.seeds.len(), 3);
}

#[test]
fn a_decoder_weaker_than_a_linear_map_is_never_verified() {
    let folder = tempfile::tempdir().unwrap();
    let mock = || MockEstimator { linear: 0.2, ..honest() };
    let (findings, _) = solve(folder.path(), 26.5, mock, &Counter::default()).unwrap();
    assert_ne!(findings.status, Status::Verified);
    assert!(findings.verdicts.iter().all(|v| v.objections.iter().any(|o| o.contains("linear map"))));
}

#[test]
fn a_decoder_that_recovers_no_more_than_the_mean_image_is_never_verified() {
    let folder = tempfile::tempdir().unwrap();
    let mock = || MockEstimator { gain: -100.0, ..honest() };
    let (findings, _) = solve(folder.path(), 26.5, mock, &Counter::default()).unwrap();
    assert_ne!(findings.status, Status::Verified);
    assert!(findings.verdicts.iter().all(|v| v.objections.iter().any(|o| o.contains("mean image"))));
}
