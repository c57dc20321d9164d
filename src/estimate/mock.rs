//! An analytic stand-in for both trainings: figures as smooth functions of the design, with seeded noise.

use super::{Estimate, EstimateError, Estimator, Request, Watch};
use crate::measurement::{Fidelity, Measurement, Metric};

/// Accuracy grows and leakage falls towards deeper splits; both grow with depth.
pub(crate) struct MockEstimator {
    /// Standard deviation of the noise on PSNR, dB.
    pub(crate) noise: f64,
    /// What verification finds above the search's PSNR, dB.
    pub(crate) gain: f64,
    /// Whether the attack converges in verification.
    pub(crate) converges: bool,
    /// What the linear attack's PSNR lies above the decoder's, dB.
    pub(crate) linear: f64,
    /// Channels from which on verification recovers 15 dB more than from fewer, as inversion may.
    pub(crate) open_from: usize,
}

/// What a standard search finds above a quick one: of PSNR, dB, at a depth's logarithm, and of accuracy.
pub(crate) const STANDARD_GAIN: (f64, f64, f64) = (1.0, 0.1, 0.02);

/// The exact accuracy and PSNR of a design.
pub(crate) fn truth(split_index: usize, depth: usize) -> (f64, f64) {
    let (layer, log_depth) = (split_index as f64, (depth as f64).log2());
    let accuracy = 0.45 + 0.02 * layer + 0.05 * log_depth.sqrt() + 0.015 * log_depth;
    (accuracy.min(0.99), 26.0 - 2.0 * layer + 1.1 * log_depth)
}

impl Estimator for MockEstimator {
    fn name(&self) -> &'static str {
        "mock"
    }

    fn estimate(&self, request: &Request<'_>, watch: &dyn Watch) -> Result<Estimate, EstimateError> {
        if watch.progress("mock", 0.5).is_break() {
            return Err(EstimateError::Interrupted);
        }
        // Convolutions are counted, not the pools between them.
        let mut convolutions = crate::backbone::Architecture::vgg16().layers().iter().filter(|layer| layer.mixable);
        let split_index = convolutions.position(|layer| layer.name == request.design.split).unwrap_or(0);
        let (accuracy, psnr) = truth(split_index, request.design.channels.depth());
        // Uniform in [-√3, √3]: unit variance.
        let unit = (request.stream("noise") >> 11) as f64 / (1u64 << 53) as f64;
        let noise = (2.0 * unit - 1.0) * 3f64.sqrt();
        let verification = request.fidelity == Fidelity::QuickVerification;
        let (accuracy, psnr) = match request.fidelity {
            Fidelity::Standard => {
                let (constant, slope, gained) = STANDARD_GAIN;
                (accuracy + gained, psnr + constant + slope * (request.design.channels.depth() as f64).log2())
            }
            _ => (accuracy, psnr),
        };
        let open = request.design.channels.depth() >= self.open_from;
        let gain = self.gain + if open { 15.0 } else { 0.0 };
        let psnr = psnr + self.noise * noise + if verification { gain } else { 0.0 };
        let row = |metric, value, se| Measurement { seconds: 0.01, ..request.row(metric, value, se, 500) };
        let mut measurements = vec![
            row(Metric::Accuracy, accuracy + 0.004 * noise, 0.01),
            row(Metric::PsnrMean, psnr, 0.08),
            row(Metric::PsnrP95, psnr + 3.0, 0.2),
            row(Metric::PsnrMax, psnr + 8.0, 0.0),
            row(Metric::PsnrPooled, psnr - 0.5, 0.1),
            row(Metric::LinearPsnrMean, psnr + self.linear, 0.08),
            row(Metric::LinearPsnrP95, psnr + 3.0 + self.linear, 0.2),
            row(Metric::SsimMean, (psnr / 30.0).clamp(0.0, 1.0), 0.01),
        ];
        if verification && self.converges {
            measurements.push(row(Metric::PsnrMeanExtended, psnr, 0.08));
            measurements.push(row(Metric::PsnrP95Extended, psnr + 3.0, 0.2));
            measurements.push(row(Metric::PsnrP95Upper, psnr + 3.4, 0.0));
        }
        if verification {
            measurements.push(row(Metric::AttackConverged, f64::from(u8::from(self.converges)), 0.0));
        }
        Ok(Estimate { measurements, ..Estimate::default() })
    }
}
