//! The speed of a large matrix product: what other kernels are measured by.

use std::time::{Duration, Instant};

use candle_core::{Device as CandleDevice, Tensor};

use super::error::NnError;
use super::network::Device;
use super::tensors::{backend_error, open};

/// Rows and columns of the factors.
const SIZE: usize = 1536;

/// How long products are tried.
const BUDGET: Duration = Duration::from_millis(1500);

/// Operations per second (multiplications and additions) of the fastest of some products of two square f32 matrices by
/// candle on `device`.
///
/// # Errors
/// [`NnError::Device`] for a device that can't be used, [`NnError::Backend`].
pub fn gemm_rate(device: Device) -> Result<f64, NnError> {
    fastest(&open(device)?).map_err(|error| backend_error(device, error))
}

fn fastest(device: &CandleDevice) -> candle_core::Result<f64> {
    let factor = Tensor::rand(-1f32, 1.0, (SIZE, SIZE), device)?;
    let operations = 2.0 * (SIZE as f64).powi(3);
    let begin = Instant::now();
    let mut least = f64::INFINITY;
    while begin.elapsed() < BUDGET {
        let start = Instant::now();
        let product = factor.matmul(&factor)?;
        // A value is asked for, so that an asynchronous device has finished.
        product.narrow(0, 0, 1)?.sum_all()?.to_scalar::<f32>()?;
        least = least.min(start.elapsed().as_secs_f64());
    }
    Ok(operations / least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_multiplies_some_numbers() {
        let rate = gemm_rate(Device::Cpu).unwrap();
        assert!(rate.is_finite() && rate > 1e6, "{rate}");
    }
}
