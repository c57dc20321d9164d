//! ONNX files run as a device would: by tract, which shares no code with what wrote them.
//!
//! tract is written in Rust and needs nothing installed; it is not the runtime of most devices, but reads the file by the same
//! specification. No type of its leaves this module.

use std::io::Cursor;
use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;

/// A file that the runtime can't load or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// It is no model that it knows, or one that takes something else than one input of this shape.
    #[error("the ONNX runtime can't load the net: {0}")]
    Load(String),
    /// The values are not what the net takes.
    #[error("{given} values for a net that takes {shape:?}")]
    Input {
        /// How many were given.
        given: usize,
        /// Dimensions of what it takes.
        shape: Vec<usize>,
    },
    /// A value that is no byte, where the net takes bytes.
    #[error("the net takes bytes, {0} is none")]
    NoByte(f32),
    /// It failed on the way.
    #[error("the ONNX runtime can't run the net: {0}")]
    Run(String),
}

/// What a net computed.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Its values, last index fastest.
    pub values: Vec<f32>,
}

/// A loaded file of one input.
pub struct Runtime {
    plan: Arc<TypedRunnableModel>,
    shape: Vec<usize>,
    /// Whether it takes bytes.
    bytes: bool,
}

impl Runtime {
    /// Loads the bytes of an ONNX file for inputs of `shape`: `[n, channels, height, width]`, where `n` is the file's own if that
    /// is fixed. Loading optimises the net and takes longer than running it on an image.
    ///
    /// # Errors
    /// [`RuntimeError::Load`].
    pub fn load(model: &[u8], shape: &[usize]) -> Result<Self, RuntimeError> {
        let (plan, bytes) = load(model, shape).map_err(|error| RuntimeError::Load(format!("{error:#}")))?;
        Ok(Self { plan, shape: shape.to_vec(), bytes })
    }

    /// The first output for an input of the shape that it was loaded for. Where the file takes bytes, values must be whole
    /// numbers from 0 to 255.
    ///
    /// # Errors
    /// [`RuntimeError::Input`], [`RuntimeError::NoByte`], [`RuntimeError::Run`].
    pub fn run(&self, values: &[f32]) -> Result<Output, RuntimeError> {
        if values.len() != self.shape.iter().product::<usize>() {
            return Err(RuntimeError::Input { given: values.len(), shape: self.shape.clone() });
        }
        if self.bytes
            && let Some(&value) = values.iter().find(|&&value| f32::from(value as u8) != value)
        {
            return Err(RuntimeError::NoByte(value));
        }
        self.computed(values).map_err(|error| RuntimeError::Run(format!("{error:#}")))
    }

    fn computed(&self, values: &[f32]) -> TractResult<Output> {
        let input = match self.bytes {
            true => Tensor::from_shape(&self.shape, &values.iter().map(|&value| value as u8).collect::<Vec<u8>>())?,
            false => Tensor::from_shape(&self.shape, values)?,
        };
        let outputs = self.plan.run(tvec!(input.into()))?;
        let output = outputs.first().ok_or_else(|| TractError::msg("it has no output"))?;
        let view = output.to_plain_array_view::<f32>()?;
        Ok(Output { shape: view.shape().to_vec(), values: view.iter().copied().collect() })
    }
}

fn load(model: &[u8], shape: &[usize]) -> TractResult<(Arc<TypedRunnableModel>, bool)> {
    let model = tract_onnx::onnx().model_for_read(&mut Cursor::new(model))?;
    if model.input_outlets()?.len() != 1 {
        return Err(TractError::msg("it does not take one input"));
    }
    let kind = model.input_fact(0)?.datum_type.concretize().unwrap_or(f32::datum_type());
    let bytes = kind == u8::datum_type();
    let plan = model.with_input_fact(0, kind.fact(shape).into())?.into_optimized()?.into_runnable()?;
    Ok((plan, bytes))
}

/// How far what a runtime computed is from what was expected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// The largest difference of two values; infinite where one is no number or there are not as many.
    pub absolute: f32,
    /// The largest difference of two values of one image over the largest of the values expected of that image.
    pub relative: f32,
}

impl Difference {
    /// Compares outputs of `images` images, of the same length each.
    pub fn of(found: &[f32], expected: &[f32], images: usize) -> Self {
        let size = expected.len() / images.max(1);
        let mut difference = Self { absolute: 0.0, relative: 0.0 };
        if found.len() != expected.len() || size == 0 {
            return Self { absolute: f32::INFINITY, relative: f32::INFINITY };
        }
        for (found, expected) in found.chunks(size).zip(expected.chunks(size)) {
            let scale = expected.iter().fold(f32::MIN_POSITIVE, |most, value| most.max(value.abs()));
            for (found, expected) in found.iter().zip(expected) {
                let distance = (found - expected).abs();
                let distance = if distance.is_nan() { f32::INFINITY } else { distance };
                difference.absolute = difference.absolute.max(distance);
                difference.relative = difference.relative.max(distance / scale);
            }
        }
        difference
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_relative_to_each_image() {
        let difference = Difference::of(&[1.0, 2.0, 0.1, 0.2], &[1.0, 2.5, 0.1, 0.25], 2);
        assert_eq!(difference.absolute, 0.5);
        assert!((difference.relative - 0.2).abs() < 1e-6);
        assert_eq!(Difference::of(&[f32::NAN], &[1.0], 1).absolute, f32::INFINITY);
        assert_eq!(Difference::of(&[1.0], &[1.0, 2.0], 1).relative, f32::INFINITY);
    }

    #[test]
    fn what_is_no_net_is_not_loaded() {
        let error = Runtime::load(b"no net", &[1, 3, 4, 4]).err().unwrap();
        assert!(matches!(error, RuntimeError::Load(_)), "{error}");
    }
}
