//! Studies that screen many designs briefly before they measure some.

use super::*;

#[test]
fn screened_designs_are_promoted_and_the_answer_is_as_good() {
    for limit in [26.5, 29.0] {
        let bounds = [MetricBound { metric: Metric::PsnrMean, limit }];
        let folder = tempfile::tempdir().unwrap();
        let problem = Problem { bounds: &bounds, ..screening() };
        let (findings, candidates) = solve_problem(folder.path(), problem, thorough, &Counter::default()).unwrap();
        assert_eq!(findings.status, Status::Verified, "{limit}: {:?}", findings.verdicts);
        let best = |(accuracy, psnr): (f64, f64)| if psnr + 5.0 + 1.8 < limit { accuracy } else { 0.0 };
        let truths = candidates.iter().map(|c| truth(c.split_index, c.design.channels.depth()));
        let optimum = truths.map(best).fold(0.0, f64::max);
        let chosen = &candidates[findings.chosen.unwrap()];
        let (accuracy, psnr) = truth(chosen.split_index, chosen.design.channels.depth());
        assert!(psnr + 5.0 <= limit + 0.2, "{limit}: {} leaks {psnr}", chosen.id);
        assert!(accuracy > optimum - 0.02, "{limit}: {accuracy} is far below {optimum}");
        // More designs were looked at than the allowance has measurements, and no more was spent; one measurement for each
        // attempt may come on top.
        let [full, screened] = [&findings.measured, &findings.screened]
            .map(|of| of.iter().map(|(index, _)| *index).collect::<BTreeSet<_>>());
        assert!(full.union(&screened).count() > 14, "{} and {}", full.len(), screened.len());
        assert!(full.len() as f64 + 0.25 * screened.len() as f64 <= 14.0 + 3.0);
        assert!(full.contains(&findings.chosen.unwrap()), "no answer was screened only");
        let promoted = findings.measured.iter().filter(|(index, _)| screened.contains(index));
        assert!(promoted.clone().count() >= 2);
        assert!(promoted.clone().any(|(_, evaluation)| evaluation.reason.starts_with("promoted")));
        // The models tell the levels apart: where a design was only screened, they say what a full measurement would find.
        for &index in screened.difference(&full) {
            let figures = findings.models.figures(&candidates[index]);
            let psnr = figures.iter().find(|figure| figure.metric == Metric::PsnrMean).unwrap();
            let depth = candidates[index].design.channels.depth() as f64;
            let (constant, slope, _) = crate::estimate::mock::STANDARD_GAIN;
            let expected = truth(candidates[index].split_index, depth as usize).1 + constant + slope * depth.log2();
            assert!((psnr.value - expected).abs() < 3.0 * psnr.sd.max(0.2), "{psnr:?} is not {expected}");
        }
    }
}

#[test]
fn an_interrupted_screening_resumes_to_the_same_answer() {
    let bounds = [MetricBound { metric: Metric::PsnrMean, limit: 26.5 }];
    let solve = |dir: &Path, counter: &Counter| {
        solve_problem(dir, Problem { bounds: &bounds, ..screening() }, thorough, counter)
    };
    let whole = tempfile::tempdir().unwrap();
    let (expected, _) = solve(whole.path(), &Counter::default()).unwrap();
    for stop in [9, 17] {
        let broken = tempfile::tempdir().unwrap();
        assert!(solve(broken.path(), &Counter { stop: Some(stop), ..Counter::default() }).is_err());
        let second = Counter { lanes: 3, ..Counter::default() };
        let (found, _) = solve(broken.path(), &second).unwrap();
        assert_eq!((found.chosen, &found.verdicts), (expected.chosen, &expected.verdicts));
        let seeds = expected.verdicts.iter().map(|v| v.seeds.len()).sum::<usize>();
        assert_eq!(stop + second.fresh(), expected.measured.len() + expected.screened.len() + seeds);
    }
}
