//! The special function behind quantiles and their errors.

/// Regularised incomplete beta function `I_x(a, b)`, for positive `a` and `b` and `x` in `[0, 1]`.
///
/// By the continued fraction of Abramowitz and Stegun 26.5.8, evaluated forward by Lentz's method on the side where it
/// converges fast.
pub(super) fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let ln_front = ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p();
    if x < (a + 1.0) / (a + b + 2.0) {
        (ln_front - a.ln()).exp() / continued_fraction(a, b, x)
    } else {
        1.0 - (ln_front - b.ln()).exp() / continued_fraction(b, a, 1.0 - x)
    }
}

/// `1 + d₁/(1 + d₂/(1 + …))` with `d₂ₘ = m (b - m) x / ((a + 2m - 1)(a + 2m))` and
/// `d₂ₘ₊₁ = -(a + m)(a + b + m) x / ((a + 2m)(a + 2m + 1))`.
fn continued_fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    // Far more than convergence takes, which is about the square root of the larger of `a` and `b`.
    const MAX_TERMS: u32 = 100_000;
    let away_from_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let (mut value, mut numerator, mut denominator) = (1.0_f64, 1.0_f64, 0.0_f64);
    for term in 1..=MAX_TERMS {
        let m = f64::from(term / 2);
        let coefficient = if term % 2 == 0 {
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
        } else {
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
        };
        denominator = 1.0 / away_from_zero(1.0 + coefficient * denominator);
        numerator = away_from_zero(1.0 + coefficient / numerator);
        let factor = numerator * denominator;
        value *= factor;
        if (factor - 1.0).abs() < 1e-15 {
            break;
        }
    }
    value
}

/// Logarithm of the gamma function for positive `x`, by Stirling's series after shifting `x` to at least 10.
fn ln_gamma(x: f64) -> f64 {
    let (mut shifted, mut product) = (x, 1.0_f64);
    while shifted < 10.0 {
        product *= shifted;
        shifted += 1.0;
    }
    // B₂ₖ / (2k (2k - 1) x²ᵏ⁻¹)
    let inverse = 1.0 / shifted;
    let square = inverse * inverse;
    let series = inverse
        * (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square * (1.0 / 1680.0 - square / 1188.0))));
    let half_ln_two_pi = 0.5 * (2.0 * std::f64::consts::PI).ln();
    (shifted - 0.5) * shifted.ln() - shifted + half_ln_two_pi + series - product.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ln_gamma_equals_scipy() {
        // scipy.special.gammaln
        let golden = [
            (0.5, 0.5723649429247),
            (1.0, 0.0),
            (2.0, 0.0),
            (3.7, 1.428072326665388),
            (100.25, 360.28455963776423),
            (1e5, 1051287.7089736569),
        ];
        for (x, expected) in golden {
            let found = ln_gamma(x);
            assert!((found - expected).abs() < 1e-12 * expected.max(1.0), "{x}: {found}");
        }
    }

    #[test]
    fn incomplete_beta_equals_scipy() {
        // scipy.special.betainc
        let golden = [
            (2.0, 3.0, 0.4, 0.5248),
            (0.5, 0.5, 0.1, 0.20483276469913345),
            (950.0, 51.0, 0.95, 0.537529040801425),
            (951.0, 50.0, 0.93, 0.003981514565326277),
            (0.01, 3.0, 0.5, 0.9993117371897107),
            (50.0, 50.0, 0.5, 0.5),
        ];
        for (a, b, x, expected) in golden {
            let found = incomplete_beta(a, b, x);
            assert!((found - expected).abs() < 1e-11, "{a} {b} {x}: {found}");
        }
        assert_eq!((incomplete_beta(2.0, 3.0, 0.0), incomplete_beta(2.0, 3.0, 1.0)), (0.0, 1.0));
    }
}
