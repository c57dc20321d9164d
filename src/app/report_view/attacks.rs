//! What the report says of the attacker: who he is, which attacks ran, what each recovered.

use super::figures;
use crate::measurement::Metric;
use crate::protocol::Protocol;
use crate::record::Record;
use crate::report::view;
use crate::verify::Verdict;

/// What each attack of a verification recovered, below it what needs no features.
pub(super) fn ladder(record: &Record, verdict: &Verdict) -> Vec<view::Rung> {
    let rung = |attack: &str, pick: &dyn Fn(Metric) -> Option<(f64, f64)>| {
        Some(view::Rung { attack: attack.to_owned(), figures: figures(pick)? })
    };
    let leakage = |metric: Metric| (metric != Metric::Accuracy).then_some(metric);
    let named =
        |metric: Metric, names: &[(Metric, Metric)]| verdict.figure(metric.of(names)?).map(|f| (f.value, f.std_error));
    let nothing = |psnr: f64| move |metric: Metric| (metric == Metric::PsnrMean).then_some((psnr, 0.0));
    let mut rungs = Vec::new();
    if let Some(floors) = &record.floors {
        rungs.push(rung("none: the mean image", &nothing(floors.best_constant)));
        rungs.push(rung("none: each image's mean colour", &nothing(floors.mean_colour)));
    }
    rungs.push(rung("local linear map (ridge regression, 3×3)", &|m| named(m, &Metric::LINEAR)));
    rungs.push(rung("kernel ridge regression", &|m| named(m, &Metric::KERNEL)));
    rungs.push(rung("ensemble of these and the trained decoder", &|m| named(m, &Metric::ENSEMBLE)));
    rungs.push(rung("white-box inversion, on a part of the images", &|m| named(m, &Metric::INVERSION)));
    rungs.push(rung("strongest of these, with what inversion adds", &|m| {
        verdict.figure(leakage(m)?).map(|f| (f.value, f.std_error))
    }));
    rungs.push(rung("the same with 16 times the training", &|m| Some((verdict.figure(leakage(m)?)?.extended?, 0.0))));
    rungs.into_iter().flatten().collect()
}

/// The attacker, and the attacks that ran.
pub(super) fn threat(record: &Record) -> view::Threat {
    let p = &record.provenance;
    let attacker = record.budgets.attacker;
    let [search, verification] = &p.protocols;
    let pairs = |name: &str| {
        let protocol = name.parse().map(Protocol::of).ok();
        let limits = [protocol.and_then(|protocol| protocol.training_images), attacker.limit(), Some(p.images[0])];
        limits.into_iter().flatten().min().unwrap_or(0)
    };
    let inverted = verification.parse().ok().and_then(|fidelity| Protocol::of(fidelity).inversion);
    view::Threat {
        attacker: attacker.describe(p.images[0]),
        attacks: [
            Some(
                "a linear map from each 3×3 neighbourhood of features to the pixels under it, and kernel ridge regression from all \
                 features to all pixels, both in closed form: they need no training, and are floors for what was trained"
                    .to_owned(),
            ),
            Some(format!(
                "in the search: one decoder, trained briefly on {} (feature, image) pairs and scored on validation images \
                 ({search} protocol)",
                pairs(search)
            )),
            Some(format!(
                "in verification: per fresh seed a decoder, trained by squared error and then by its logarithm on {} pairs, \
                 in cycles that double the training, and scored on {} evaluation images; figure by figure the best counts \
                 ({verification} protocol)",
                pairs(verification),
                p.images[2]
            )),
            Some(
                "in both: the ensemble of these, a weighted sum of their reconstructions whose weights serve validation images best; where \
                 it leads, its figures count, extended by what longer training gains the decoder"
                    .to_owned(),
            ),
            inverted.filter(|_| attacker.knows_local_net).map(|inversion| {
                format!(
                    "in verification: inversion of the local net by gradient descent on {} evaluation images, from grey and from the \
                     ensemble's reconstructions, with the prior that serves validation images best; what it gains on these is \
                     added to the figures",
                    inversion.images.min(p.images[2])
                )
            }),
        ]
        .into_iter()
        .flatten()
        .collect(),
        remarks: vec![
            "Figures of the search come from short trainings and underestimate leakage; only verified figures are claims."
                .to_owned(),
            "The confidence is that over the draw of the evaluation images. It doesn't cover how far a stronger attack would get."
                .to_owned(),
            "A mean hides a tail: read the 95th percentile and the maximum beside it.".to_owned(),
        ],
    }
}
