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
    let linear = |metric: Metric| {
        let (_, linear) = Metric::LINEAR.into_iter().find(|(of, _)| *of == metric)?;
        verdict.figure(linear).map(|f| (f.value, f.std_error))
    };
    let nothing = |psnr: f64| move |metric: Metric| (metric == Metric::PsnrMean).then_some((psnr, 0.0));
    let mut rungs = Vec::new();
    if let Some(floors) = &record.floors {
        rungs.push(rung("none: the mean image", &nothing(floors.best_constant)));
        rungs.push(rung("none: each image's mean colour", &nothing(floors.mean_colour)));
    }
    rungs.push(rung("linear map (ridge regression, 3×3)", &linear));
    rungs.push(rung("trained decoder", &|m| verdict.figure(leakage(m)?).map(|f| (f.value, f.std_error))));
    rungs
        .push(rung("trained decoder, 16 times the training", &|m| Some((verdict.figure(leakage(m)?)?.extended?, 0.0))));
    rungs.into_iter().flatten().collect()
}

/// The attacker, and the attacks that ran.
pub(super) fn threat(record: &Record) -> view::Threat {
    let p = &record.provenance;
    let [search, verification] = &p.protocols;
    let pairs = |name: &str| {
        let protocol = name.parse().map(Protocol::of).ok();
        protocol.and_then(|protocol| protocol.training_images).map_or(p.images[0], |n| n.min(p.images[0]))
    };
    view::Threat {
        pairs: pairs(verification),
        knows_local_net: false,
        knows_channels: true,
        attacks: vec![
            "a linear map from each 3×3 neighbourhood of features to the pixels under it, in closed form: it needs no training, \
             and is the floor that trained attacks must reach"
                .to_owned(),
            format!(
                "in the search: one decoder, trained briefly on {} (feature, image) pairs and scored on validation images \
                 ({search} protocol)",
                pairs(search)
            ),
            format!(
                "in verification: per fresh seed a decoder, trained by squared error and then by its logarithm on {} pairs, \
                 in cycles that double the training, and scored on {} evaluation images; figure by figure the best counts \
                 ({verification} protocol)",
                pairs(verification),
                p.images[2]
            ),
        ],
        remarks: vec![
            "Figures of the search come from short trainings and underestimate leakage; only verified figures are claims."
                .to_owned(),
            "An attacker with more pairs, a larger decoder or the local net itself may recover more.".to_owned(),
            "The confidence is that over the draw of the evaluation images. It doesn't cover how far a stronger attack would get."
                .to_owned(),
            "A mean hides a tail: read the 95th percentile and the maximum beside it.".to_owned(),
        ],
    }
}
