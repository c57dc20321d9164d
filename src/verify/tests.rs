use super::*;

fn row(metric: Metric, value: f64, std_error: f64, n: u64) -> Measurement {
    Measurement {
        design: "conv3_1-4-0011aabb".parse().unwrap(),
        metric,
        value,
        std_error,
        n,
        fidelity: Fidelity::QuickVerification,
        seed: 1,
        seconds: 1.0,
    }
}

/// A figure of attacks that ended, with an error rate of 0.05.
fn figure(metric: Metric, rows: &[Measurement], limit: Option<f64>) -> VerifiedFigure {
    let rows: Vec<&Measurement> = rows.iter().collect();
    Evidence { rows: &rows, metric, error_rate: 0.05 }.figure(true, limit).unwrap()
}

/// A verdict that holds.
fn verdict(figures: Vec<VerifiedFigure>) -> Verdict {
    Verdict {
        design: "conv3_1-4-0011aabb".parse().unwrap(),
        holds: true,
        failed: false,
        converged: true,
        objections: Vec::new(),
        figures,
        fidelity: Fidelity::QuickVerification,
        seeds: vec![1],
    }
}

#[test]
fn a_verdict_without_inversion_is_none_where_the_attacker_knows_the_net() {
    let verdict = verdict(Vec::new());
    let decoder = row(Metric::PsnrMean, 20.0, 0.1, 1000);
    let inversion = row(Metric::InversionGainMean, 0.3, 0.1, 32);
    assert!(missing_inversion(true, &verdict, &[&decoder]).is_some());
    assert!(missing_inversion(true, &verdict, &[&decoder, &inversion]).is_none());
    assert!(missing_inversion(false, &verdict, &[&decoder]).is_none());
    let two = Verdict { seeds: vec![1, 2], ..verdict };
    assert!(missing_inversion(true, &two, &[&decoder, &inversion]).is_some(), "of every seed");
}

fn mean(more: &[Measurement]) -> VerifiedFigure {
    let mut rows = vec![row(Metric::PsnrMean, 20.0, 0.1, 1000), row(Metric::PsnrMeanExtended, 20.5, 0.1, 1000)];
    rows.extend_from_slice(more);
    figure(Metric::PsnrMean, &rows, Some(22.0))
}

#[test]
fn what_inversion_gains_counts_with_its_own_margin() {
    let alone = mean(&[]);
    assert_eq!((alone.value, alone.extended), (20.0, Some(20.5)));
    let found = mean(&[row(Metric::InversionGainMean, 2.0, 0.2, 32)]);
    assert_eq!((found.value, found.extended), (22.0, Some(22.5)));
    // Student's t of 31 degrees of freedom at 0.95 is 1.6955.
    let more = found.upper.unwrap() - alone.upper.unwrap() - 2.0;
    assert!((more - 1.6955 * 0.2).abs() < 1e-3, "{more}");
}

#[test]
fn a_tail_counts_the_largest_gain_and_the_inverted_images_own() {
    let p95 = |more: &[Measurement]| {
        let mut rows = vec![
            row(Metric::PsnrP95, 24.0, 0.2, 1000),
            row(Metric::PsnrP95Extended, 24.5, 0.2, 1000),
            row(Metric::PsnrP95Upper, 25.0, 0.0, 1000),
        ];
        rows.extend_from_slice(more);
        figure(Metric::PsnrP95, &rows, Some(30.0))
    };
    assert_eq!((p95(&[]).value, p95(&[]).upper), (24.0, Some(25.5)));
    let [tail, most] = [(Metric::InversionGainTail, 1.0), (Metric::InversionGainMax, 3.0)]
        .map(|(metric, value)| row(metric, value, 0.1, 32));
    let found = p95(&[tail.clone(), most.clone()]);
    assert_eq!((found.value, found.extended, found.upper), (25.0, Some(25.5), Some(28.5)));
    // Images that gain most may not be those that the decoder does best.
    let own = [(Metric::InversionPsnrP95, 26.0), (Metric::InversionPsnrP95Extended, 26.25)];
    let own = own.map(|(metric, value)| row(metric, value, 0.5, 100));
    let all = |more: &[Measurement]| p95(&[&[tail.clone(), most.clone()], &own[..], more].concat());
    let found = all(&[]);
    assert_eq!((found.value, found.extended, found.upper), (26.0, Some(26.25), Some(28.5)));
    // They are few, and have a limit of their own.
    let found = all(&[row(Metric::InversionPsnrP95Upper, 29.0, 0.0, 100)]);
    assert_eq!((found.value, found.extended, found.upper), (26.0, Some(26.25), Some(29.25)));
    // One whose descent did not end has none.
    let open = p95(&[tail.clone(), most.clone(), own[0].clone()]);
    assert_eq!((open.value, open.extended, open.upper), (26.0, None, None));
}

#[test]
fn an_inversion_that_loses_to_the_decoder_takes_nothing_away() {
    assert_eq!(mean(&[row(Metric::InversionGainMean, -3.0, 0.2, 32)]), mean(&[]));
    // It may be a draw: then only its margin counts.
    let drawn = mean(&[row(Metric::InversionGainMean, 0.0, 0.2, 32)]);
    assert!(drawn.value == 20.0 && drawn.upper > mean(&[]).upper);
}

#[test]
fn the_strongest_attack_is_the_figure() {
    let found = mean(&[row(Metric::KernelPsnrMean, 21.0, 0.1, 1000)]);
    assert_eq!((found.value, found.extended), (21.0, Some(21.0)));
    assert!(mean(&[row(Metric::KernelPsnrMean, 19.0, 0.1, 1000)]) == mean(&[]));
}

#[test]
fn an_ensemble_that_leads_is_extended_as_its_decoder_is() {
    let ensemble = row(Metric::EnsemblePsnrMean, 20.75, 0.2, 1000);
    let found = mean(std::slice::from_ref(&ensemble));
    assert_eq!((found.value, found.extended, found.std_error), (20.75, Some(21.25), 0.2));
    let inverted = mean(&[ensemble.clone(), row(Metric::InversionGainMean, 2.0, 0.0, 32)]);
    assert_eq!((inverted.value, inverted.extended), (22.75, Some(23.25)));
    // Kernel ridge alone may lead a poor ensemble.
    let led = mean(&[ensemble, row(Metric::KernelPsnrMean, 21.0, 0.1, 1000)]);
    assert_eq!((led.value, led.extended), (21.0, Some(21.25)));
    assert!(mean(&[row(Metric::EnsemblePsnrMean, 19.0, 0.1, 1000)]) == mean(&[]));
}

#[test]
fn each_seed_is_extended_with_its_own_ensemble() {
    let seed = |seed, decoder, extended, ensemble| {
        let values =
            [(Metric::PsnrMean, decoder), (Metric::PsnrMeanExtended, extended), (Metric::EnsemblePsnrMean, ensemble)];
        values.map(|(metric, value)| Measurement { seed, ..row(metric, value, 0.1, 1000) })
    };
    let rows = [seed(1, 20.0, 20.25, 20.25), seed(2, 19.5, 20.0, 20.5)].concat();
    let found = figure(Metric::PsnrMean, &rows, None);
    assert_eq!((found.value, found.extended), (20.5, Some(21.0)));
}

#[test]
fn a_decoder_that_learnt_nothing_is_told_by_its_own_figures() {
    let candidate = |decoder, kernel| {
        let rows = [
            row(Metric::PsnrMean, decoder, 0.1, 1000),
            row(Metric::LinearPsnrMean, 10.0, 0.1, 1000),
            row(Metric::KernelPsnrMean, kernel, 0.1, 1000),
            row(Metric::EnsemblePsnrMean, kernel + 0.1, 0.1, 1000),
        ];
        let verdict = verdict(vec![figure(Metric::PsnrMean, &rows, None)]);
        weaknesses(&verdict, &rows.iter().collect::<Vec<_>>(), 10.9, std::iter::empty()).len()
    };
    assert_eq!(candidate(11.0, 15.0), 2, "behind kernel ridge and at the floor");
    assert_eq!(candidate(14.0, 15.5), 1);
    assert_eq!(candidate(14.6, 15.0), 0);
}

#[test]
fn a_stronger_attack_with_a_smaller_margin_takes_nothing_from_a_claim() {
    let p95 = |ensemble: f64, upper: f64| {
        let rows = [
            row(Metric::PsnrP95, 27.09, 0.2, 1000),
            row(Metric::PsnrP95Extended, 27.30, 0.2, 1000),
            row(Metric::PsnrP95Upper, 27.6, 0.0, 1000),
            row(Metric::EnsemblePsnrP95, ensemble, 0.2, 1000),
            row(Metric::EnsemblePsnrP95Upper, upper, 0.0, 1000),
            row(Metric::InversionGainTail, 0.543, 0.0, 96),
            row(Metric::InversionGainMax, 3.0, 0.0, 96),
            row(Metric::InversionPsnrP95, 30.0, 0.5, 96),
            row(Metric::InversionPsnrP95Extended, 30.0, 0.5, 96),
        ];
        figure(Metric::PsnrP95, &rows, None).upper.unwrap()
    };
    assert!(p95(27.50, 27.72) > p95(27.20, 27.698));
}

#[test]
fn seeds_keep_their_own_margins_and_extensions() {
    let seed = |seed, value, extended, upper| {
        let values = [(Metric::PsnrP95, value), (Metric::PsnrP95Extended, extended), (Metric::PsnrP95Upper, upper)];
        values.map(|(metric, value)| Measurement { seed, ..row(metric, value, 0.1, 1000) })
    };
    let rows = [seed(1, 24.0, 27.0, 25.8), seed(2, 25.0, 25.5, 25.5)].concat();
    let found = figure(Metric::PsnrP95, &rows, None);
    assert_eq!((found.value, found.extended), (25.0, Some(27.0)));
    assert!((found.upper.unwrap() - 28.8).abs() < 1e-9, "{found:?}");
}

#[test]
fn the_tail_of_an_ensemble_has_a_margin_of_its_own() {
    let rows = [
        row(Metric::PsnrP95, 24.0, 0.2, 1000),
        row(Metric::PsnrP95Extended, 24.5, 0.2, 1000),
        row(Metric::PsnrP95Upper, 24.25, 0.0, 1000),
        row(Metric::EnsemblePsnrP95, 25.0, 0.2, 1000),
        row(Metric::EnsemblePsnrP95Upper, 25.75, 0.0, 1000),
    ];
    let found = figure(Metric::PsnrP95, &rows, Some(30.0));
    assert_eq!((found.value, found.extended, found.upper), (25.0, Some(25.5), Some(26.25)));
}

/// What is said of an attack that did not come to its end, with a limit of 22 dB on the mean.
fn of_an_open_attack(more: Measurement) -> Vec<String> {
    let rows = vec![row(Metric::PsnrMean, 20.0, 0.1, 1000), row(Metric::AttackConverged, 0.0, 0.0, 1), more];
    let design: DesignId = "conv3_1-4-0011aabb".parse().unwrap();
    let evaluation = Evaluation {
        design: design.clone(),
        fidelity: Fidelity::QuickVerification,
        seed: 1,
        order: 0,
        reason: String::new(),
        outcome: Outcome::Done(rows),
        seconds: 1.0,
        from: None,
        files: Default::default(),
    };
    let bounds = [MetricBound { metric: Metric::PsnrMean, limit: 22.0 }];
    let verdict = judge(&design, &[evaluation], &bounds, 0.05, Fidelity::QuickVerification);
    assert!(!verdict.holds && !verdict.converged && verdict.figure(Metric::PsnrMean).unwrap().upper.is_none());
    verdict.objections
}

#[test]
fn an_attack_that_did_not_end_is_explained_by_what_it_reached() {
    let below = of_an_open_attack(row(Metric::KernelPsnrMean, 19.0, 0.1, 1000));
    assert!(below.len() == 1 && below[0].contains("can't be extended"), "{below:?}");
    // Whichever attack it is that broke the limit.
    let above = of_an_open_attack(row(Metric::KernelPsnrMean, 23.0, 0.1, 1000));
    assert!(above.len() == 2 && above[0].contains("above a limit"), "{above:?}");
    assert!(above[1].contains("at least 23.00, above its limit 22.00"), "{above:?}");
}
