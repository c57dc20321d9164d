//! Which of very many designs are listed.

use super::*;

/// Searches among `candidates`; says what is listed.
fn listed(candidates: &Candidates<'_>) -> (Findings, Listing) {
    let folder = tempfile::tempdir().unwrap();
    let bounds = [MetricBound { metric: Metric::PsnrMean, limit: 26.5 }];
    let problem = Problem { bounds: &bounds, candidates, ..problem() };
    let findings = solve_among(folder.path(), problem, honest, &Counter::default()).unwrap();
    let listing = findings.listing(&problem);
    (findings, listing)
}

#[test]
fn few_designs_are_all_listed() {
    let few: Candidates<'_> = candidates().into_iter().collect();
    let (_, listing) = listed(&few);
    assert_eq!((listing.shown.len(), listing.left_out), (few.len(), 0));
}

#[test]
fn of_very_many_designs_the_tried_and_the_most_accurate_are_listed() {
    let some = candidates();
    let shifted = |base: &Candidate, by: u16| {
        let set = base.design.channels.channels().unwrap().iter().map(|channel| channel + 64 * by).collect();
        let design = Design { channels: ChannelChoice::set(set), ..base.design.clone() };
        let class_separation = base.class_separation + f64::from(by) / 100.0;
        Candidate { id: design.id(), design, class_separation, ..base.clone() }
    };
    let many: Candidates<'_> = (0..40).flat_map(|by| some.iter().map(move |base| shifted(base, by))).collect();
    let (findings, listing) = listed(&many);
    let tried: BTreeSet<usize> = findings.measured.iter().map(|&(index, _)| index).collect();
    assert!(listing.shown.is_superset(&tried) && listing.shown.contains(&findings.chosen.unwrap()));
    assert_eq!(listing.shown.len(), tried.len() + 2_000);
    assert_eq!(listing.left_out, many.len() - listing.shown.len());
    let accuracy = |index: usize| {
        let candidate = many.get(index);
        let figures = findings.models.figures(&candidate);
        let figure = figures.into_iter().find(|figure| figure.metric == Metric::Accuracy).unwrap();
        findings.gain.expected(figure, Openness::new(candidate.split_index, candidate.cost.upload_bytes.0)).value
    };
    let worst = listing.shown.difference(&tried).map(|&index| accuracy(index)).fold(f64::INFINITY, f64::min);
    let best = (0..many.len()).filter(|index| !listing.shown.contains(index)).map(accuracy).fold(0.0, f64::max);
    assert!(worst >= best - 1e-9, "{worst} is listed, {best} is not");
}
