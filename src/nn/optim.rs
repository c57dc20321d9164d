//! Adam, learning-rate schedules and weight averaging: pure functions of numbers.

use super::error::NnError;
use super::params::Params;

/// The constants of Adam (Kingma & Ba 2015) with decoupled weight decay (AdamW, Loshchilov & Hutter 2019), as in
/// `torch.optim.Adam` and `AdamW`. What changes from step to step is in [`Step`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Decay of the second moment, in (0, 1).
    pub beta2: f32,
    /// Added to the root of the second moment; above 0.
    pub epsilon: f32,
    /// Each step first multiplies every weight and bias by `1 − learning_rate · weight_decay`. 0 is plain Adam.
    pub weight_decay: f32,
}

impl Default for Adam {
    fn default() -> Self {
        Self { beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 }
    }
}

/// What an optimiser step takes from the schedule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Learning rate.
    pub learning_rate: f32,
    /// Decay of Adam's first moment.
    pub beta1: f32,
}

/// The scalars of one Adam update, bias corrections worked out.
#[derive(Clone, Copy, Debug)]
pub(super) struct AdamStep {
    /// Factor of the old weight.
    pub keep: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Learning rate divided by the first bias correction.
    pub step_size: f32,
    /// One over the root of the second bias correction.
    pub root_scale: f32,
    /// Added to the root.
    pub epsilon: f32,
}

impl Adam {
    /// Checks the constants' domains.
    pub(super) fn check(&self) -> Result<(), NnError> {
        let error = |option, value: f32, accepted| Err(NnError::Option { option, value: value.to_string(), accepted });
        if !(self.beta2 > 0.0 && self.beta2 < 1.0) {
            return error("beta2", self.beta2, "in (0, 1)");
        }
        if !(self.epsilon > 0.0 && self.epsilon.is_finite()) {
            return error("epsilon", self.epsilon, "a positive number");
        }
        if !(self.weight_decay >= 0.0 && self.weight_decay.is_finite()) {
            return error("weight_decay", self.weight_decay, "a number of at least 0");
        }
        Ok(())
    }

    /// The scalars of update number `count` (from 1). As PyTorch, the bias correction uses the present `beta1` as if
    /// it had been in force from the start.
    pub(super) fn at(&self, step: Step, count: u64) -> AdamStep {
        let correction = |beta: f32| 1.0 - f64::from(beta).powf(count as f64);
        AdamStep {
            keep: (1.0 - f64::from(step.learning_rate) * f64::from(self.weight_decay)) as f32,
            beta1: step.beta1,
            beta2: self.beta2,
            step_size: (f64::from(step.learning_rate) / correction(step.beta1)) as f32,
            root_scale: (1.0 / correction(self.beta2).sqrt()) as f32,
            epsilon: self.epsilon,
        }
    }
}

impl AdamStep {
    /// Updates weights `p` and the moments `m`, `v` by the gradient `g`; all of one length.
    #[inline(always)]
    pub(super) fn apply(&self, p: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32]) {
        for (((p, m), v), g) in p.iter_mut().zip(m).zip(v).zip(g) {
            *m += (g - *m) * (1.0 - self.beta1);
            *v = *v * self.beta2 + g * g * (1.0 - self.beta2);
            *p = *p * self.keep - self.step_size * *m / (v.sqrt() * self.root_scale + self.epsilon);
        }
    }
}

/// The learning rate and first-moment decay over the steps of a training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Schedule {
    /// PyTorch's `OneCycleLR(opt, peak, total_steps)` by its defaults (Smith & Topin 2019): from peak/25 to the peak
    /// over 30 % of the steps, then to peak/250000, both along half a cosine. With it go Adam's β₁ from 0.95 to 0.85
    /// and back, as PyTorch does (`cycle_momentum`).
    OneCycle {
        /// Highest learning rate.
        peak: f32,
    },
    /// Half a cosine from the peak to 0 (`CosineAnnealingLR` with `T_max` = total), β₁ = 0.9.
    Cosine {
        /// First learning rate.
        peak: f32,
    },
}

impl Schedule {
    /// The values for step `index` (from 0) of `total`.
    pub fn at(&self, index: u64, total: u64) -> Step {
        // From `start` to `end` along half a cosine, at `fraction` of the way.
        let anneal = |start: f64, end: f64, fraction: f64| {
            end + (start - end) / 2.0 * (1.0 + (std::f64::consts::PI * fraction).cos())
        };
        let (index, total) = (index as f64, total as f64);
        match *self {
            Schedule::OneCycle { peak } => {
                let peak = f64::from(peak);
                let (initial, least) = (peak / 25.0, peak / 25.0 / 1e4);
                let (turn, last) = (0.3 * total - 1.0, total - 1.0);
                let (rate, beta1) = if index <= turn && turn > 0.0 {
                    let fraction = index / turn;
                    (anneal(initial, peak, fraction), anneal(0.95, 0.85, fraction))
                } else {
                    let fraction = (index - turn) / (last - turn);
                    (anneal(peak, least, fraction), anneal(0.85, 0.95, fraction))
                };
                Step { learning_rate: rate as f32, beta1: beta1 as f32 }
            }
            Schedule::Cosine { peak } => {
                Step { learning_rate: anneal(f64::from(peak), 0.0, index / total.max(1.0)) as f32, beta1: 0.9 }
            }
        }
    }

    /// The highest learning rate.
    pub fn peak(&self) -> f32 {
        match *self {
            Schedule::OneCycle { peak } | Schedule::Cosine { peak } => peak,
        }
    }
}

/// An exponential moving average of a net's weights.
#[derive(Clone, Debug)]
pub struct Averaged {
    decay: f32,
    updates: u32,
    params: Params,
}

impl Averaged {
    /// Starts at these weights. `decay` in [0, 1) is the weight of the old average at each update, less at first:
    /// update number t uses at most (1 + t) / (10 + t), so that the start is forgotten.
    pub fn new(params: Params, decay: f32) -> Self {
        Self { decay, updates: 0, params }
    }

    /// Moves the average towards `params`, which must be of the same net.
    ///
    /// # Errors
    /// [`NnError::Param`] if they are not.
    pub fn update(&mut self, params: &Params) -> Result<(), NnError> {
        let t = self.updates as f32;
        let take = 1.0 - self.decay.min((1.0 + t) / (10.0 + t));
        self.updates = self.updates.saturating_add(1);
        if self.params.0.len() != params.0.len() {
            let reason = format!("{} parameters instead of {}", params.0.len(), self.params.0.len());
            return Err(NnError::Param { name: "*".to_owned(), reason });
        }
        for (average, param) in self.params.0.iter_mut().zip(&params.0) {
            if average.dims != param.dims {
                let reason = format!("shape {:?} instead of {:?}", param.dims, average.dims);
                return Err(NnError::Param { name: param.name.clone(), reason });
            }
            for (a, p) in average.data.iter_mut().zip(&param.data) {
                *a += (p - *a) * take;
            }
        }
        Ok(())
    }

    /// The average.
    pub fn params(&self) -> &Params {
        &self.params
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Param;

    fn close(a: f32, b: f64) -> bool {
        (f64::from(a) - b).abs() <= 2e-7 * b.abs().max(1e-3)
    }

    #[test]
    fn one_cycle_equals_torchs() {
        // opt = torch.optim.Adam([p], 1e-3); s = OneCycleLR(opt, 2e-3, total_steps=total); per step:
        // opt.param_groups[0]["lr"], opt.param_groups[0]["betas"][0]; opt.step(); s.step()      (torch 2)
        let ten = [
            (8e-05, 0.95),
            (0.00104, 0.9),
            (0.002, 0.85),
            (0.00190096926, 0.854951557),
            (0.00162349131, 0.86882551),
            (0.00122252404, 0.888873953),
            (0.000777483956, 0.911126047),
            (0.000376516692, 0.93117449),
            (9.9038736e-05, 0.945048443),
            (8e-09, 0.95),
        ];
        let seven = [
            (8e-05, 0.95),
            (0.00196111325, 0.852025351),
            (0.00183808875, 0.858095595),
            (0.00134536767, 0.882731747),
            (0.000715477551, 0.914226379),
            (0.000198593584, 0.940070681),
            (8e-09, 0.95),
        ];
        let schedule = Schedule::OneCycle { peak: 2e-3 };
        for golden in [&ten[..], &seven[..]] {
            for (index, &(rate, beta1)) in golden.iter().enumerate() {
                let step = schedule.at(index as u64, golden.len() as u64);
                assert!(close(step.learning_rate, rate) && close(step.beta1, beta1), "{index}: {step:?}");
            }
        }
    }

    #[test]
    fn schedules_are_finite_for_any_length() {
        for schedule in [Schedule::OneCycle { peak: 1.0 }, Schedule::Cosine { peak: 1.0 }] {
            for total in 1..20 {
                for index in 0..total {
                    let step = schedule.at(index, total);
                    assert!(step.learning_rate >= 0.0 && step.learning_rate <= 1.0 + 1e-6, "{index} {total} {step:?}");
                    assert!(step.beta1 > 0.8 && step.beta1 < 0.96);
                }
            }
        }
    }

    #[test]
    fn adam_equals_torchs() {
        // p = [0.5, -1.0]; opt = torch.optim.AdamW([p], 1e-2, weight_decay=wd); for i in range(3):
        //   opt.param_groups[0]["betas"] = (0.95 - 0.05 * i, 0.999); p.grad = [0.1 * (i + 1), -0.3 + 0.2 * i]; step
        let golden = [
            (0.0, [[0.49000001, -0.99000001], [0.481845886, -0.984467566], [0.473951519, -0.983794034]]),
            (0.1, [[0.489500016, -0.989000022], [0.480856389, -0.982478619], [0.472481161, -0.980822623]]),
        ];
        for (weight_decay, golden) in golden {
            let adam = Adam { weight_decay, ..Adam::default() };
            let (mut p, mut m, mut v) = ([0.5, -1.0], [0.0; 2], [0.0; 2]);
            for (i, golden) in golden.iter().enumerate() {
                let step = Step { learning_rate: 1e-2, beta1: 0.95 - 0.05 * i as f32 };
                let gradient = [0.1 * (i as f32 + 1.0), -0.3 + 0.2 * i as f32];
                adam.at(step, i as u64 + 1).apply(&mut p, &mut m, &mut v, &gradient);
                assert!(close(p[0], golden[0]) && close(p[1], golden[1]), "{p:?} {golden:?}");
            }
        }
    }

    #[test]
    fn average_follows_and_refuses_foreign_weights() {
        let params = |value: f32| Params(vec![Param { name: "w".to_owned(), dims: vec![2], data: vec![value; 2] }]);
        let mut average = Averaged::new(params(0.0), 0.5);
        average.update(&params(1.0)).unwrap();
        assert_eq!(average.params(), &params(0.9));
        for _ in 0..40 {
            average.update(&params(1.0)).unwrap();
        }
        assert!((average.params().0[0].data[0] - 1.0).abs() < 1e-6);
        assert!(average.update(&Params::default()).is_err());
    }
}
