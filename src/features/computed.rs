//! Features that are computed whenever they are read, where keeping them costs more than that.

use std::sync::{Mutex, PoisonError};

use super::FeatureError;
use super::file::{encode, exponent_for};
use crate::backbone::{Backbone, Layer};
use crate::data::ImageSet;
use crate::nn::{Device, Frozen, Graph, NnError};
use crate::space::ChannelChoice;

/// A frozen net up to one node, and the images that it runs on.
///
/// Values are rounded as a file of them would: figures don't depend on where features come from.
pub(super) struct Computed {
    /// The split layer.
    layer: &'static str,
    net: Graph,
    /// The node whose output is wanted.
    tap: usize,
    images: ImageSet,
    device: Device,
    preprocess: crate::backbone::Preprocess,
    exponent: i32,
    /// Nets that nobody runs at the moment: as many as threads ever read at once.
    idle: Mutex<Vec<Frozen>>,
}

impl std::fmt::Debug for Computed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Computed").field("layer", &self.layer).field("images", &self.images.len()).finish()
    }
}

impl Computed {
    /// All channels of a layer before its activation.
    pub fn new(backbone: &Backbone, layer: Layer, images: &ImageSet, device: Device) -> Result<Self, FeatureError> {
        Self::of_net(backbone, layer, backbone.tapped(&layer), layer.tap, images, device)
    }

    /// What a device uploads that keeps `choice` of a layer.
    pub fn local(
        backbone: &Backbone,
        layer: Layer,
        choice: &ChannelChoice,
        images: &ImageSet,
        device: Device,
    ) -> Result<Self, FeatureError> {
        let net = backbone.local(&layer, choice)?;
        let last = net.nodes().len() - 1;
        Self::of_net(backbone, layer, net, last, images, device)
    }

    fn of_net(
        backbone: &Backbone,
        layer: Layer,
        net: Graph,
        tap: usize,
        images: &ImageSet,
        device: Device,
    ) -> Result<Self, FeatureError> {
        let mut computed = Self {
            net,
            layer: layer.name,
            tap,
            images: images.clone(),
            device,
            preprocess: backbone.architecture().preprocess(),
            exponent: 0,
            idle: Mutex::default(),
        };
        // The scale that the first block of a file fixes.
        let first: Vec<usize> = (0..images.len().min(Frozen::BLOCK)).collect();
        let mut largest = 0.0_f32;
        computed.run(&first, |values| {
            largest = values.iter().fold(largest, |most, value| most.max(value.abs()));
            Ok(())
        })?;
        computed.exponent = exponent_for(largest);
        Ok(computed)
    }

    /// A stored value times two to this power is the layer's output before its activation.
    pub fn exponent(&self) -> i32 {
        self.exponent
    }

    /// Replaces `bytes` by what a file would hold of these images, `[rows, side, side, channels]`.
    pub fn read(&self, rows: &[usize], bytes: &mut Vec<u8>) -> Result<(), FeatureError> {
        bytes.clear();
        self.run(rows, |values| encode(values, self.exponent, self.layer, bytes))
    }

    /// Runs the net on these images, block by block.
    fn run(
        &self,
        rows: &[usize],
        mut receive: impl FnMut(&[f32]) -> Result<(), FeatureError>,
    ) -> Result<(), FeatureError> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let found = idle().pop();
        let mut frozen = match found {
            Some(frozen) => frozen,
            None => Frozen::of_graph(&self.net, self.images.side(), self.device).map_err(FeatureError::Net)?,
        };
        let tap = self.tap;
        let size = self.images.side() * self.images.side() * 3;
        let mut input = vec![0.0; Frozen::BLOCK.min(rows.len()) * size];
        for rows in rows.chunks(Frozen::BLOCK) {
            let input = &mut input[..rows.len() * size];
            for (input, &row) in input.chunks_exact_mut(size).zip(rows) {
                self.preprocess.apply(self.images.image(row), input);
            }
            let result = frozen.forward_taps(input, rows.len(), &[tap], &mut |_, values| Ok(receive(values)?));
            result.map_err(FeatureError::from_net)?;
        }
        idle().push(frozen);
        Ok(())
    }
}

impl FeatureError {
    /// What failed inside the net's run: a receiver of features, or the net.
    pub(super) fn from_net(error: NnError) -> Self {
        match error {
            NnError::Sink { tap, source } => match source.downcast::<FeatureError>() {
                Ok(error) => *error,
                Err(source) => FeatureError::Net(NnError::Sink { tap, source }),
            },
            error => FeatureError::Net(error),
        }
    }
}
