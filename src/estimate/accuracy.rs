//! Utility: the test accuracy of a cloud net trained on the features.

use crate::estimate::bench::Aim;
use crate::estimate::laboratory::Laboratory;
use crate::estimate::{CloudNet, Estimate, EstimateError, Estimator, Request, Watch};
use crate::measurement::{Measurement, Metric};
use crate::nn::{NetSpec, NnError};

/// Trains the cloud net of the reference protocol and scores it on images that it never saw.
#[derive(Debug)]
pub struct CloudAccuracy<'a> {
    laboratory: &'a Laboratory,
}

impl<'a> CloudAccuracy<'a> {
    /// An estimator on `laboratory`'s images and features.
    pub fn new(laboratory: &'a Laboratory) -> Self {
        Self { laboratory }
    }
}

impl Estimator for CloudAccuracy<'_> {
    fn name(&self) -> &'static str {
        "cloud net"
    }

    fn estimate(&self, request: &Request<'_>, watch: &dyn Watch) -> Result<Estimate, EstimateError> {
        let start = std::time::Instant::now();
        let failed = |source: NnError| EstimateError::Training {
            what: "the cloud net",
            design: request.design.id().to_string(),
            source,
        };
        let bench = self.laboratory.bench(request)?;
        let spec = NetSpec::reference_classifier(bench.input(), self.laboratory.classes()).map_err(failed)?;
        let training = request.protocol.task;
        let mut net = bench.build(&spec, request.stream(self.name())).map_err(failed)?;
        bench.train(net.as_mut(), Aim::Labels, training, request.stream("cloud net order"), &mut |done| {
            watch.progress("cloud net", done)
        })?;
        let logits = bench.predict(net.as_mut())?;
        let labels = bench.scored_labels();
        let classes = self.laboratory.classes();
        let right =
            logits.chunks_exact(classes).zip(labels).filter(|&(row, &label)| argmax(row) == usize::from(label)).count();
        let n = labels.len();
        let accuracy = right as f64 / n as f64;
        // Binomial, with the rule-of-succession estimate so that 0 and 1 are not claimed to be exact.
        let p = (right as f64 + 1.0) / (n as f64 + 2.0);
        let std_error = (p * (1.0 - p) / n as f64).sqrt();
        let row = request.row(Metric::Accuracy, accuracy, std_error, n);
        Ok(Estimate {
            measurements: vec![Measurement { seconds: start.elapsed().as_secs_f64(), ..row }],
            cloud_net: match training.validated {
                true => Some(CloudNet {
                    params: net.params().map_err(failed)?,
                    standardisation: bench.standardisation().clone(),
                }),
                false => None,
            },
            ..Estimate::default()
        })
    }
}

/// Index of the largest value; the first of equals.
fn argmax(row: &[f32]) -> usize {
    let mut best = 0;
    for (i, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = i;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::argmax;

    #[test]
    fn argmax_takes_the_first_of_equals() {
        assert_eq!(argmax(&[0.0, 3.0, 3.0, -1.0]), 1);
        assert_eq!(argmax(&[f32::NEG_INFINITY, f32::NAN]), 0);
    }
}
