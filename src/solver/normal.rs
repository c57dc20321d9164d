//! The standard normal distribution, accurate far into its tails.
//!
//! In the tails everything rests on the continued fraction of the Mills ratio,
//!
//! ```text
//! Φ(−x) / φ(x) = 1 / (x + K(x)),   K(x) = 1 / (x + 2 / (x + 3 / (x + …)))        (x > 0)
//! ```
//!
//! (Laplace; Abramowitz and Stegun, 26.2.14), which has positive terms only and therefore no cancellation. Near zero the
//! power series `Φ(z) = ½ + φ(z) (z + z³/3 + z⁵/15 + …)` (26.2.11) is used.

/// Where series and continued fraction meet.
const TAIL: f64 = 2.5;
/// `½ ln 2π`.
const HALF_LN_TAU: f64 = 0.918_938_533_204_672_8;

/// Natural logarithm of the density.
fn log_density(z: f64) -> f64 {
    -0.5 * z * z - HALF_LN_TAU
}

/// `K(x)` for x ≥ [`TAIL`].
///
/// The terms left out are replaced by the fixed point `t = k / (x + t)` of a slowly growing `k`.
fn mills_fraction(x: f64) -> f64 {
    let terms = if x < 2.0 * TAIL { 60 } else { 30 };
    let rest = 2.0 * f64::from(terms) / (x + (x * x + 4.0 * f64::from(terms)).sqrt());
    (1..terms).rev().fold(rest, |rest, k| f64::from(k) / (x + rest))
}

/// `Φ(z)` for |z| ≤ [`TAIL`].
fn central_cdf(z: f64) -> f64 {
    let (mut term, mut sum, mut k) = (z, z, 1.0);
    while term.abs() > 1e-18 * sum.abs() {
        k += 2.0;
        term *= z * z / k;
        sum += term;
    }
    0.5 + log_density(z).exp() * sum
}

/// `ln Φ(z)`, from −∞ at −∞ to 0 at ∞; NaN for NaN.
pub(super) fn log_cdf(z: f64) -> f64 {
    if z == f64::NEG_INFINITY {
        z
    } else if z < -TAIL {
        log_density(z) - (mills_fraction(-z) - z).ln()
    } else if z > TAIL {
        // ln(1 − Φ(−z)).
        (-log_cdf(-z).exp()).ln_1p()
    } else {
        central_cdf(z).ln()
    }
}

/// `ln h(z)` with `h(z) = φ(z) + z Φ(z)`, the expected improvement of a standard normal over −z.
///
/// In the lower tail `h = φ K / (x + K)` with x = −z: no difference of nearly equal numbers (compare Ament et al.,
/// "Unexpected improvements to expected improvement", NeurIPS 2023, who switch between three formulas).
pub(super) fn log_expected_positive_part(z: f64) -> f64 {
    if z == f64::NEG_INFINITY {
        z
    } else if z < -TAIL {
        let fraction = mills_fraction(-z);
        log_density(z) + fraction.ln() - (fraction - z).ln()
    } else if z > TAIL {
        // h(z) = z + h(−z).
        (z + log_expected_positive_part(-z).exp()).ln()
    } else {
        (log_density(z).exp() + z * central_cdf(z)).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (z, ln Φ(z), ln h(z)) with 400 digits; beyond |z| = 1e3 by the asymptotic series:
    ///
    /// ```python
    /// import mpmath as mp
    /// mp.mp.dps = 400
    /// phi = lambda z: mp.exp(-z * z / 2) / mp.sqrt(2 * mp.pi)
    /// Phi = lambda z: mp.erfc(-z / mp.sqrt(2)) / 2
    /// print(mp.log(Phi(z)), mp.log(phi(z) + z * Phi(z)))
    /// ```
    #[rustfmt::skip]
    const GOLDEN: [(f64, f64, f64); 15] = [
        (-1e10, -5.0e+19, -5.0e+19),
        (-1e4, -50_000_010.129_278_91, -50_000_019.339_619_31),
        (-200.0, -20_006.217_280_898_19, -20_011.515_648_259_739),
        (-38.0, -726.557_216_018_820_1, -730.196_183_402_113_8),
        (-10.0, -53.231_285_150_512_47, -55.553_122_036_122_35),
        (-5.0, -15.064_998_393_988_726, -16.744_301_162_660_99),
        (-2.5001, -5.081_930_556_313_596, -6.212_851_492_044_046),
        (-2.5, -5.081_648_277_278_69, -6.212_541_645_443_513),
        (-1.0, -1.841_021_645_009_263_5, -2.485_121_025_712_641_3),
        (0.0, -std::f64::consts::LN_2, -0.918_938_533_204_672_8),
        (0.3, -0.481_410_161_588_481_2, -0.567_817_153_677_937),
        (2.5, -0.006_229_025_485_860_002, 0.917_092_065_592_164_5),
        (2.5001, -0.006_227_261_925_323_767, 0.917_131_784_610_217_9),
        (6.0, -9.865_876_455_243_758e-10, 1.791_759_469_254_114_5),
        (9.0, -1.128_588_405_953_840_6e-19, 2.197_224_577_336_219_4),
    ];

    #[test]
    fn logarithms_equal_high_precision_numbers() {
        for (z, cdf, positive_part) in GOLDEN {
            let error = (log_cdf(z) / cdf - 1.0).abs();
            assert!(error < 2e-13, "ln Φ({z}): relative error {error:e}");
            let error = (log_expected_positive_part(z) / positive_part - 1.0).abs();
            assert!(error < 2e-13, "ln h({z}): relative error {error:e}");
        }
    }

    #[test]
    fn infinities_and_nan_pass_through() {
        for f in [log_cdf, log_expected_positive_part] {
            assert_eq!(f(f64::NEG_INFINITY), f64::NEG_INFINITY);
            assert_eq!(f(-1e200), f64::NEG_INFINITY);
            assert!(f(f64::NAN).is_nan());
        }
        assert_eq!(log_cdf(f64::INFINITY), 0.0);
        assert_eq!(log_expected_positive_part(f64::INFINITY), f64::INFINITY);
    }
}
