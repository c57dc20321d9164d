//! White-box inversion: the image whose features are those that were seen, sought by gradient descent.
//!
//! Threat model: the attacker knows the local net, weights and all, and holds pairs, as the decoder's attacker does.
//!
//! For features z, standardised by the training images' spread so that an uninformed guess has a loss of about 1, projected
//! gradient descent ([`descent`]) minimises
//!
//! ```text
//! mean (f(x) − z)² + λ TV(x) + μ mean (x − d)² / v          x in [0, 1]
//! ```
//!
//! TV is the mean of the absolute differences between neighbouring pixels (Mahendran and Vedaldi, *Understanding deep image
//! representations by inverting them*, 2015; He et al. 2019, from grey and without the last term). Few features leave most of an
//! image open, and total variation is a poor guess at the rest: the last term ties the image to another attack's reconstruction d,
//! as closely as its mean squared error v on validation images says that it can be trusted. At conv2_1 with 4 channels of
//! Fashion-MNIST the decoder has 26.5 dB, inversion from the decoder's output without that term 20.5 dB, with it 30.7 dB.
//!
//! Where all of the attacker's images are grey, a pixel is one unknown: 32.6 dB.
//!
//! The attacker tries several λ and μ, from grey and from d, on validation images, weaker ones as long as they serve, and goes on
//! in cycles that double the steps, until the mean PSNR stands still. Where the features settle the image a prior only holds it
//! back, and the more so the longer the descent: so a weaker one is tried in every cycle again. The scored images then follow
//! the schedule that was found.
//!
//! Neither rule of following the gradient serves everywhere, so both are tried. With cifar10-jpeg, the reference decoder's 37.4 and
//! 28.2 dB to start from and 600 steps, Barzilai and Borwein's steps have 51.7 dB and Adam's 46.5 at conv1_2 with 16 channels, 38.5 and
//! 37.6 dB at conv2_2 with 64; but from the deep decoder's 20.6 dB at conv3_3 with 64 they have 22.0 dB, Adam's large ones 23.3.

mod descent;

use self::descent::{Cycle, Descender, Halt, Prior, Rule, Sought};
use crate::estimate::attack::curves::Curves;
use crate::estimate::attack::scores::{Scores, mean_psnr};
use crate::estimate::bench::{Bench, Pairs};
use crate::estimate::laboratory::Laboratory;
use crate::estimate::{Estimate, EstimateError, Estimator, Gallery, Reconstructions, Request, Watch};
use crate::measurement::Metric;
use crate::nn::{Inverse, NnError};
use crate::protocol::{Descent, Schedule};

/// What a schedule may begin with: from another attack's reconstruction where there is an anchor, and from grey.
const STARTS: [(Prior, Rule); 7] = [
    (Prior { variation: 0.02, anchor: Some(1e-1) }, Rule::BarzilaiBorwein),
    (Prior { variation: 0.02, anchor: Some(1e-2) }, Rule::BarzilaiBorwein),
    (Prior { variation: 0.005, anchor: Some(1e-4) }, Rule::BarzilaiBorwein),
    (Prior { variation: 0.02, anchor: Some(1e-2) }, Rule::Adam(0.05)),
    (Prior { variation: 0.02, anchor: Some(1e-4) }, Rule::Adam(0.05)),
    (Prior { variation: 0.02, anchor: Some(1e-4) }, Rule::Adam(0.01)),
    (Prior { variation: 0.02, anchor: None }, Rule::Adam(0.05)),
];

/// Validation images that they are tried on.
const TRIED_ON: usize = 12;

/// How often more than planned a descent is doubled while its curve can't be extended: it gains ever more.
const UNSETTLED: usize = 2;

/// A weaker prior must gain as much on validation images, dB.
const FLAT_DB: f64 = 0.1;

/// Inverts the local net on the scored images.
#[derive(Debug)]
pub struct InversionAttack<'a> {
    laboratory: &'a Laboratory,
    descent: Descent,
    /// Another attack's reconstructions, to start from and to hold on to, beside grey.
    start: Option<&'a Reconstructions>,
}

impl<'a> InversionAttack<'a> {
    /// An attack on `laboratory`'s images and features; `start` are another attack's reconstructions.
    pub fn new(laboratory: &'a Laboratory, descent: Descent, start: Option<&'a Reconstructions>) -> Self {
        Self { laboratory, descent, start }
    }

    /// The local net with outputs of the training features' spread.
    fn local_net(&self, request: &Request<'_>, bench: &Bench<'_>) -> Result<Inverse, EstimateError> {
        let failed = |source| failed(request, source);
        let backbone = self.laboratory.backbone();
        let known = crate::features::FeatureError::from;
        let layer = backbone.layer(&request.design.split).map_err(known)?;
        let net = backbone.local(layer, request.attacked()).map_err(known)?;
        let net = net.scaled(&bench.standardisation().inverse_sd).map_err(|error| failed(error.into()))?;
        Inverse::of_graph(&net, self.laboratory.image_side(), bench.device).map_err(failed)
    }

    /// The features of `count` pairs as the local net gives them.
    fn features(&self, bench: &Bench<'_>, pairs: &Pairs<'_>, count: usize) -> Result<Vec<f32>, EstimateError> {
        let by = bench.standardisation();
        let rows: Vec<usize> = (0..count.min(pairs.count)).collect();
        let mut features = vec![0.0; rows.len() * bench.input().len()];
        pairs.view.fill(&rows, &mut features)?;
        for position in features.chunks_exact_mut(by.mean.len()) {
            for ((value, mean), inverse_sd) in position.iter_mut().zip(&by.mean).zip(&by.inverse_sd) {
                *value += mean * inverse_sd;
            }
        }
        Ok(features)
    }
}

fn failed(request: &Request<'_>, source: NnError) -> EstimateError {
    EstimateError::Training { what: "the inversion", design: request.design.id().to_string(), source }
}

/// What serves validation images best.
struct Route {
    /// The cycles that led to the best reconstructions; none where no descent improved on its start.
    cycles: Vec<Cycle>,
    /// Whether they begin with the other attack's reconstructions.
    anchored: bool,
    /// The figures of the start and after each cycle that was tried.
    curves: Curves,
    /// The validation images, reconstructed.
    found: Vec<f32>,
}

impl Route {
    /// One cycle of a weak prior, found without trials.
    fn sketch(steps: usize, anchored: bool) -> Self {
        let prior = Prior { variation: 1e-3, anchor: anchored.then_some(1e-4) };
        let cycles = vec![Cycle { prior, rule: Rule::BarzilaiBorwein, steps }];
        Self { cycles, anchored, curves: Curves::new(Metric::PsnrMean), found: Vec::new() }
    }
}

/// Every image's descent on the validation images, whose truth the attacker knows.
struct Trials<'a, 'b> {
    descender: &'a mut Descender,
    laboratory: &'a Laboratory,
    sought: &'a Sought<'b>,
    originals: &'a [f32],
    /// Steps that were taken.
    spent: usize,
    /// Told of them.
    tell: &'a dyn Fn(usize) -> Result<(), EstimateError>,
}

/// What a cycle came to.
struct Trial {
    cycle: Cycle,
    images: Vec<f32>,
    psnr: f64,
}

impl Trials<'_, '_> {
    /// Follows `cycle` from `images`, or from its prior's start.
    fn run(&mut self, cycle: Cycle, images: Option<&[f32]>) -> Result<Trial, Halt> {
        let start = || self.descender.start(self.sought, cycle.prior.anchor.is_some());
        let mut images = images.map_or_else(start, <[f32]>::to_vec);
        let (spent, tell) = (self.spent, self.tell);
        self.descender.descend(&mut images, self.sought, cycle, &|step| tell(spent + step))?;
        self.spent += cycle.steps;
        let psnr = mean_psnr(&images, self.originals, self.laboratory).map_err(Halt::Told)?;
        Ok(Trial { cycle, images, psnr })
    }

    /// Adds a cycle's figures; returns whether its mean PSNR is the best so far.
    fn judge(&self, curves: &mut Curves, images: &[f32]) -> Result<bool, Halt> {
        let scores = Scores::new(images, self.originals, self.laboratory).map_err(Halt::Told)?;
        Ok(curves.push(&scores).map_err(Halt::Told)?.contains(&Metric::PsnrMean))
    }

    /// Finds a schedule: the best of several priors, then ever weaker ones while they serve, then cycles as long as all before.
    fn schedule(&mut self, descent: Descent) -> Result<Route, Halt> {
        let stronger = |a: Trial, b: Trial| if b.psnr > a.psnr { b } else { a };
        let steps = descent.steps;
        let mut last: Option<Trial> = None;
        let possible = |prior: Prior| prior.anchor.is_none() || self.sought.anchor.is_some();
        let starts: Vec<(Prior, Rule)> = STARTS.into_iter().filter(|&(prior, _)| possible(prior)).collect();
        for (prior, rule) in starts {
            let trial = self.run(Cycle { prior, rule, steps }, None)?;
            last = Some(match last {
                Some(best) => stronger(best, trial),
                None => trial,
            });
        }
        let mut last = last.unwrap_or_else(|| unreachable!("one prior needs no decoder"));
        loop {
            let trial = self.run(Cycle { prior: last.cycle.prior.weaker(), ..last.cycle }, None)?;
            if trial.psnr < last.psnr + FLAT_DB {
                break;
            }
            last = trial;
        }
        let anchored = last.cycle.prior.anchor.is_some();
        let start = self.descender.start(self.sought, anchored);
        let mut curves = Curves::new(Metric::PsnrMean);
        self.judge(&mut curves, &start)?;
        let mut route = Route { cycles: Vec::new(), anchored, curves, found: start };
        let (mut passed, mut done) = (Vec::new(), 0);
        loop {
            passed.push(last.cycle);
            done += last.cycle.steps;
            if self.judge(&mut route.curves, &last.images)? {
                route.cycles.clone_from(&passed);
                route.found.clone_from(&last.images);
            }
            let longest = descent.longest();
            let lead = route.curves.lead();
            let settled = done >= longest && (lead.left_to_gain().is_some() || lead.is_flat());
            // A mean may stand still while the images recovered best gain.
            if route.curves.are_flat() || settled || done >= longest << UNSETTLED {
                return Ok(route);
            }
            let same = Cycle { steps: done, ..last.cycle };
            let weaker = Cycle { prior: same.prior.weaker(), ..same };
            let straight = Cycle { rule: Rule::BarzilaiBorwein, ..weaker };
            let mut best = self.run(same, Some(&last.images))?;
            for other in [weaker, straight].into_iter().take(if weaker == straight { 1 } else { 2 }) {
                best = stronger(best, self.run(other, Some(&last.images))?);
            }
            last = best;
        }
    }
}

impl Estimator for InversionAttack<'_> {
    fn name(&self) -> &'static str {
        "inversion"
    }

    fn estimate(&self, request: &Request<'_>, watch: &dyn Watch) -> Result<Estimate, EstimateError> {
        let begin = std::time::Instant::now();
        let bench = self.laboratory.bench(request)?;
        let side = self.laboratory.image_side();
        let size = side * side * 3;
        let (count, tried) = (bench.scored.count, TRIED_ON.min(bench.validation.count));
        let originals = &bench.validation_images()[..tried * size];
        let anchors = self
            .start
            .and_then(|start| Some((start.validation.get(..tried * size)?, start.scored.get(..count * size)?)));
        let error = anchors.map_or(1.0, |(validation, _)| {
            let squares: f32 = validation.iter().zip(originals).map(|(x, y)| (x.clamp(0.0, 1.0) - y).powi(2)).sum();
            (squares / originals.len() as f32).max(1e-6)
        });
        let mut descender = Descender {
            net: self.local_net(request, &bench)?,
            preprocess: self.laboratory.backbone().architecture().preprocess(),
            side,
            content: self.laboratory.content(),
            grey: bench.training.are_grey(),
            error,
        };
        let known = Sought {
            count: tried,
            seen: self.features(&bench, &bench.validation, tried)?,
            anchor: anchors.map(|(validation, _)| validation),
        };
        // Parts of the whole in units of an image's steps, if the descent goes on as long as it may.
        let longest = self.descent.longest();
        let trials = ((STARTS.len() + 2) * self.descent.steps + 3 * longest) * tried;
        let tell = |done: usize| watch.tell(self.name(), (done as f64 / (trials + longest * count) as f64).min(1.0));
        let halted = |halt| match halt {
            Halt::Net(error) => failed(request, error),
            Halt::Told(error) => error,
        };
        let (laboratory, tell_trials) = (self.laboratory, |steps: usize| tell((steps * tried).min(trials)));
        let mut on_known =
            Trials { descender: &mut descender, laboratory, sought: &known, originals, spent: 0, tell: &tell_trials };
        let route = match self.descent.schedule {
            Schedule::Tried => on_known.schedule(self.descent).map_err(halted)?,
            Schedule::Fixed => Route::sketch(self.descent.steps, anchors.is_some()),
        };

        let seen = self.features(&bench, &bench.scored, count)?;
        let unknown = Sought { count, seen, anchor: anchors.map(|(_, scored)| scored) };
        let mut scored = descender.start(&unknown, route.anchored);
        let mut done = 0;
        for &cycle in &route.cycles {
            let tell = |step| tell(trials + (done + step) * count);
            descender.descend(&mut scored, &unknown, cycle, &tell).map_err(halted)?;
            done += cycle.steps;
        }
        // A descent that gains nothing on another attack has ended, too; one that gains nothing on grey is stuck there.
        let lead = route.curves.lead();
        let ended = lead.is_flat() && self.start.is_some();
        let left = lead.left_to_gain().or_else(|| ended.then_some(0.0));
        let originals = bench.scored_images();
        let scores = Scores::new(&scored, &originals, self.laboratory)?;
        let mut measurements = scores.rows(request, bench.scored_labels())?;
        measurements.extend(route.curves.extended_by(left, request, &measurements));
        let seconds = begin.elapsed().as_secs_f64();
        measurements.iter_mut().for_each(|row| row.seconds = seconds);
        let gallery = Some(Gallery::pick(&scores, &scored, &originals, self.laboratory));
        let reconstructions = Some(Reconstructions { validation: route.found, scored });
        Ok(Estimate { measurements, gallery, reconstructions, ..Estimate::default() })
    }
}
