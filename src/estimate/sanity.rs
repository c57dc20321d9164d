//! Is the instrument sound? What every study checks before it believes a leakage figure.
//!
//! The linear attack, which needs no training, runs with images, splits and metrics of the study on two made-up local nets:
//! the *identity*, whose features are the pixels, must give the images back; *noise*, features that have nothing to do with
//! the images, must give no more than a map that knows no features does. A peak of 255, mistaken metrics or a reference that
//! leaks into the reconstruction show here, in a second; what a study does with its own features does not.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::data::ImageSet;
use crate::estimate::EstimateError;
use crate::estimate::attack::mean_psnr;
use crate::estimate::bench::to_unit;
use crate::estimate::laboratory::{Floors, Laboratory};
use crate::ridge::{Geometry, RidgeMoments};

/// Images that the maps are fitted to and scored on.
const IMAGES: usize = 500;

/// The identity must reach this mean PSNR, dB.
const IDENTITY_DB: f64 = 35.0;

/// Noise may give this much more than what a constant gives, dB.
const NOISE_DB: f64 = 0.3;

/// Penalty of the maps, as a share of the features' mean square.
const PENALTY: f64 = 1e-6;

/// What is wrong with the instrument, in words; empty where nothing is.
///
/// # Errors
/// [`EstimateError::Metrics`] where the images can't be scored at all.
pub fn sanity(laboratory: &Laboratory, floors: &Floors) -> Result<Vec<String>, EstimateError> {
    let side = laboratory.image_side();
    let identity = |images: &ImageSet, n: usize| -> Vec<f32> {
        let pixels = to_unit(&images.pixels()[..n * side * side * 3]);
        pixels.into_iter().map(|value| 4.0 * value - 2.0).collect()
    };
    let noise_side = side / 4;
    let noise = |images: &ImageSet, n: usize| -> Vec<f32> {
        // Another stream for every part, as other images have other noise.
        let mut rng = ChaCha8Rng::from_seed(*images.hash().as_bytes());
        let value = |rng: &mut ChaCha8Rng| (rng.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0;
        (0..n * noise_side * noise_side * 8).map(|_| 1.7 * value(&mut rng)).collect()
    };
    let mut found = Vec::new();
    let recovered = attack(laboratory, Geometry { side, depth: 3, image_side: side }, &identity)?;
    if recovered < IDENTITY_DB {
        found.push(format!(
            "sanity: from the pixels themselves the linear attack recovers {recovered:.1} dB, not {IDENTITY_DB} dB or more: \
             leakage is measured too low"
        ));
    }
    let geometry = Geometry { side: noise_side, depth: 8, image_side: side };
    let recovered = attack(laboratory, geometry, &noise)?;
    // A shared map without features has the mean colours of a block's pixels, which is less than the mean image.
    let silent = |_: &ImageSet, n: usize| vec![0.0; n * noise_side * noise_side * 8];
    let nothing = attack(laboratory, geometry, &silent)?.min(floors.best_constant);
    if recovered > nothing + NOISE_DB {
        found.push(format!(
            "sanity: from noise the linear attack recovers {recovered:.1} dB where a constant has {nothing:.1} dB: leakage is \
             measured where there is none"
        ));
    }
    Ok(found)
}

/// Mean PSNR of the linear attack on evaluation images, from features that a function makes of images.
fn attack(
    laboratory: &Laboratory,
    geometry: Geometry,
    features: &dyn Fn(&ImageSet, usize) -> Vec<f32>,
) -> Result<f64, EstimateError> {
    let size = laboratory.image_side().pow(2) * 3;
    let parts = laboratory.parts();
    let of = |images: &ImageSet| {
        let n = images.len().min(IMAGES);
        (features(images, n), to_unit(&images.pixels()[..n * size]))
    };
    let (fitted, pixels) = of(&parts.training);
    let mut moments = RidgeMoments::new(geometry);
    moments.add(&fitted, &pixels);
    let channels: Vec<usize> = (0..geometry.depth).collect();
    let Some(map) = moments.solve(&channels, PENALTY) else {
        return Ok(f64::NEG_INFINITY);
    };
    let (scored, originals) = of(&parts.evaluation);
    mean_psnr(&map.apply(&scored), &originals, laboratory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Part, Parts, Region};
    use crate::features::FeatureCache;
    use crate::nn::Device;

    /// Images of smooth waves that differ in direction and phase.
    fn images(part: Part, n: usize, phase: f32) -> ImageSet {
        let pixel = |i: usize| {
            let (image, y, x, c) = (i / 768, i / 48 % 16, i / 3 % 16, i % 3);
            let wave =
                (image as f32 * 1.3 + phase + y as f32 * (0.2 + image as f32 % 7.0 * 0.05) + x as f32 * 0.3).sin();
            (127.0 + 100.0 * wave + 9.0 * c as f32) as u8
        };
        let labels = (0..n).map(|i| (i % 2) as u16).collect();
        ImageSet::new(part, 16, Region::full(16), (0..n * 768).map(pixel).collect(), labels).unwrap()
    }

    fn laboratory() -> Laboratory {
        let parts = Parts::new(
            images(Part::Training, 60, 0.0),
            images(Part::Validation, 10, 0.4),
            images(Part::Evaluation, 40, 0.9),
            vec!["a".to_owned(), "b".to_owned()],
        );
        let backbone = crate::backbone::vgg16_with(1, |_, _, bias| if bias { 0.0 } else { 0.1 });
        Laboratory::new(parts, backbone, FeatureCache::new("nowhere"), Device::Cpu)
    }

    #[test]
    fn a_sound_instrument_raises_no_objection() {
        let laboratory = laboratory();
        let floors = laboratory.floors().unwrap();
        assert_eq!(sanity(&laboratory, &floors).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_floor_that_noise_exceeds_is_found() {
        let laboratory = laboratory();
        let floors = Floors { best_constant: 1.0, ..laboratory.floors().unwrap() };
        let found = sanity(&laboratory, &floors).unwrap();
        assert!(found.len() == 1 && found[0].contains("from noise"), "{found:?}");
    }

    #[test]
    fn features_of_other_images_recover_nothing() {
        let laboratory = laboratory();
        let side = laboratory.image_side();
        // The pixels, but of the image before: what a mistake in pairing looks like.
        let mixed = |images: &ImageSet, n: usize| -> Vec<f32> {
            (0..n).flat_map(|i| to_unit(images.image((i + n - 1) % n))).map(|v| 4.0 * v - 2.0).collect()
        };
        let geometry = Geometry { side, depth: 3, image_side: side };
        let found = attack(&laboratory, geometry, &mixed).unwrap();
        assert!(found < IDENTITY_DB - 10.0, "{found}");
    }
}
