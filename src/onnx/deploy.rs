//! The two nets of a split as files: what runs on the device, and what the cloud runs on its features.

use std::sync::Arc;

use super::write::{Batch, ImageInput, WeightPrecision, WriteError, WriteOptions, write};
use crate::nn::{Graph, GraphOp as Op, NetSpec, Params};

/// Name of the local net's input.
pub const IMAGE: &str = "image";

/// Name of the local net's output and the cloud net's input.
pub const FEATURES: &str = "features";

/// Name of the cloud net's output.
pub const LOGITS: &str = "logits";

/// `local_net.onnx`: from one RGB image to the features of the kept channels.
///
/// - `graph` is the local net, cut to what is kept ([`Graph::local`]); nothing else is computed.
/// - `image` is how pixels become what it takes: [`IMAGE`] is `[1, 3, rows, columns]` of the images before their border.
/// - `precision` is that of the weights; the graph must be [quantised](Graph::quantised) for [`WeightPrecision::Int8`].
/// - `metadata` is provenance for whoever finds the file: the study, the design, hashes.
///
/// [`FEATURES`] is `[1, channels, rows, columns]`, float32: rounding it for an upload is the caller's.
///
/// # Errors
/// [`WriteError`], as [`write()`].
pub fn local_net(
    graph: &Graph,
    image: &ImageInput,
    precision: WeightPrecision,
    metadata: &[(String, String)],
) -> Result<Vec<u8>, WriteError> {
    let options = WriteOptions {
        input: IMAGE,
        output: FEATURES,
        size: [image.side; 2],
        image: Some(image),
        batch: Batch::One,
        precision,
        metadata,
    };
    write(graph, &options)
}

/// `cloud_net.onnx`: from features to class scores.
///
/// [`FEATURES`] is `[N, channels, rows, columns]`, as the local net gives them: their standardisation, `(value − mean) ·
/// inverse_sd` for each channel, is part of the net. [`LOGITS`] is `[N, classes]`. Weights are float32.
///
/// # Errors
/// [`WriteError::Standardisation`] where there are not as many means as channels; [`WriteError::Net`] for weights that don't fit
/// the description, and a layer that a graph has no node for; [`WriteError`], as [`write()`].
pub fn cloud_net(
    spec: &NetSpec,
    params: &Params,
    mean: &[f32],
    inverse_sd: &[f32],
    metadata: &[(String, String)],
) -> Result<Vec<u8>, WriteError> {
    let channels = spec.input.channels;
    if mean.len() != channels || inverse_sd.len() != channels {
        let (means, scales) = (mean.len(), inverse_sd.len());
        return Err(WriteError::Standardisation { means, scales, channels });
    }
    let mut graph = Graph::new(channels);
    // Two steps, not one scale and shift: of a channel that hardly varies nothing is left but rounding then.
    let centre =
        Op::Affine { scale: Arc::new(vec![1.0; channels]), shift: Arc::new(mean.iter().map(|mean| -mean).collect()) };
    let centred = graph.push("centred", centre, vec![0])?;
    let shift = Arc::new(vec![0.0; channels]);
    graph.push("standardised", Op::Affine { scale: Arc::new(inverse_sd.to_vec()), shift }, vec![centred])?;
    graph.append_net(spec, params)?;
    let options = WriteOptions {
        input: FEATURES,
        output: LOGITS,
        size: [spec.input.height, spec.input.width],
        image: None,
        batch: Batch::Any,
        precision: WeightPrecision::F32,
        metadata,
    };
    write(&graph, &options)
}
