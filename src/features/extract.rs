//! One run of the frozen net over a set of images.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use super::FeatureError;
use super::cache::Wanted;
use super::file::Writer;
use crate::backbone::Backbone;
use crate::data::ImageSet;
use crate::nn::{Device, Frozen};

/// Images that are preprocessed and run at a time.
const CHUNK: usize = 64;

/// What to compute, and who is told.
pub struct Extraction<'a> {
    /// The net.
    pub backbone: &'a Backbone,
    /// The images, of one part.
    pub images: &'a ImageSet,
    /// Names of the layers whose outputs (before the activation) are wanted.
    pub layers: &'a [&'a str],
    /// Where the net runs.
    pub device: Device,
    /// Set from elsewhere to stop.
    pub interrupt: &'a AtomicBool,
    /// Told the number of images done and of all.
    pub progress: &'a mut dyn FnMut(usize, usize),
}

impl fmt::Debug for Extraction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extraction")
            .field("images", &self.images.len())
            .field("layers", &self.layers)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

/// Computes the wanted files in one pass.
pub(super) fn run(wanted: &[Wanted], extraction: &mut Extraction<'_>) -> Result<(), FeatureError> {
    let Some(deepest) = wanted.iter().map(|file| file.layer).max_by_key(|layer| layer.index) else {
        return Ok(());
    };
    let (backbone, images) = (extraction.backbone, extraction.images);
    let net = backbone.tapped(&deepest);
    let mut frozen = Frozen::of_graph(&net, images.side(), extraction.device).map_err(FeatureError::Net)?;
    let taps: Vec<usize> = wanted.iter().map(|file| file.layer.tap).collect();
    let mut writers = wanted
        .iter()
        .map(|file| Writer::create(file.path.clone(), file.contents, file.layer.name))
        .collect::<Result<Vec<_>, _>>()?;

    let size = images.side() * images.side() * 3;
    let preprocess = backbone.architecture().preprocess();
    let mut input = vec![0.0; CHUNK * size];
    let mut done = 0;
    for pixels in images.pixels().chunks(CHUNK * size) {
        if extraction.interrupt.load(Ordering::Relaxed) {
            return Err(FeatureError::Interrupted);
        }
        (extraction.progress)(done, images.len());
        let (n, input) = (pixels.len() / size, &mut input[..pixels.len()]);
        preprocess.apply(pixels, input);
        frozen
            .forward_taps(input, n, &taps, &mut |tap, values| {
                let receivers = taps.iter().zip(&mut writers).filter(|&(&of, _)| of == tap);
                for (_, writer) in receivers {
                    writer.append(values)?;
                }
                Ok(())
            })
            .map_err(FeatureError::from_net)?;
        done += n;
    }
    writers.into_iter().try_for_each(Writer::finish)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::FeatureCache;
    use super::super::fixtures::{ensure, images};
    use super::*;
    use crate::backbone::BackboneFile;

    /// ```python
    /// import torch, torch.nn.functional as F
    /// from safetensors.torch import load_file
    /// w = load_file("spaces/fashion-mnist-vgg16/vgg16-conv1_1-conv3_3.f16.safetensors")
    /// w = {name: tensor.float() for name, tensor in w.items()}
    /// n, y, x, c = torch.meshgrid(*map(torch.arange, (2, 16, 16, 3)), indexing="ij")
    /// h = ((7 * y + 13 * x + 101 * c + 29 * n + y * x) % 256).permute(0, 3, 1, 2).float()
    /// h = h - torch.tensor([123.68, 116.779, 103.939]).view(1, 3, 1, 1)
    /// for layer in "conv1_1 conv1_2 conv2_1 conv2_2 conv3_1 conv3_2 conv3_3".split():
    ///     if layer in ("conv2_1", "conv3_1"): h = F.max_pool2d(h, 2)
    ///     h = F.relu(F.conv2d(h, w[layer + ".weight"], w[layer + ".bias"], padding=1))
    ///     if layer in ("conv1_2", "conv2_2", "conv3_3"):
    ///         v = h.permute(0, 2, 3, 1).flatten()
    ///         print(layer, v.mean(), v.max(), v.argmax(), v[1000:1064].sum(), v[-500:-436].sum(), len(v))
    /// ```
    #[test]
    fn the_embedded_weights_give_pytorchs_features() {
        let weights = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("spaces/fashion-mnist-vgg16/vgg16-conv1_1-conv3_3.f16.safetensors");
        let backbone = Backbone::load(&BackboneFile::known("vgg16", weights), "conv3_3").unwrap();
        let (folder, images) = (tempfile::tempdir().unwrap(), images(2));
        let layers = ["conv3_3", "conv1_2", "conv2_2"];
        ensure(folder.path(), &backbone, &images, &layers, &AtomicBool::new(false)).unwrap();
        let golden: [(&str, usize, [f32; 4], usize); 3] = [
            ("conv1_2", 32768, [174.66632, 2448.462, 9162.981, 5955.657], 22034),
            ("conv2_2", 16384, [494.96616, 10173.351, 22377.033, 29632.41], 3476),
            ("conv3_3", 8192, [645.44543, 16323.481, 37931.477, 57978.707], 7734),
        ];
        for (layer, len, expected, argmax) in golden {
            let features = FeatureCache::new(folder.path()).open(&backbone, layer, &images).unwrap();
            let v = [features.image(0).unwrap(), features.image(1).unwrap()].concat();
            assert_eq!(v.len(), len);
            let sum = |values: &[f32]| values.iter().sum::<f32>();
            let found = [sum(&v) / len as f32, v[argmax], sum(&v[1000..1064]), sum(&v[len - 500..len - 436])];
            for (found, expected) in found.into_iter().zip(expected) {
                assert!((found / expected - 1.0).abs() < 5e-4, "{layer}: {found} {expected}");
            }
        }
    }
}
