//! Named weights in PyTorch's layout, and their initialisation.

use super::error::NnError;
use super::random::{Purpose, stream, uniform};
use super::spec::NetSpec;

/// One weight or bias.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// As in [`NetSpec::param_shapes`].
    pub name: String,
    /// PyTorch's layout: `[out, in, 3, 3]`, `[out, in]` or `[out]`. A linear layer after a `Flatten` has its inputs in
    /// the order height, width, channels.
    pub dims: Vec<usize>,
    /// The values, last index fastest.
    pub data: Vec<f32>,
}

/// All weights of a net, in the order of [`NetSpec::param_shapes`].
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Params(pub Vec<Param>);

impl Params {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.0.iter().map(|param| param.data.len()).sum()
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The parameter of this name.
    pub fn get(&self, name: &str) -> Option<&Param> {
        self.0.iter().find(|param| param.name == name)
    }

    /// Checks that these are the weights of `spec`: same names, shapes and order, all values finite.
    ///
    /// # Errors
    /// [`NnError::Param`] for the first difference.
    pub fn check(&self, spec: &NetSpec) -> Result<(), NnError> {
        let shapes = spec.param_shapes();
        for (index, shape) in shapes.iter().enumerate() {
            let error = |reason: String| Err(NnError::Param { name: shape.name.clone(), reason });
            let Some(param) = self.0.get(index) else {
                return error("it is missing".to_owned());
            };
            if param.name != shape.name {
                return error(format!("`{}` stands in its place", param.name));
            }
            if param.dims != shape.dims || param.data.len() != shape.len() {
                let (got, count) = (&param.dims, param.data.len());
                return error(format!("shape {got:?} with {count} values instead of {:?}", shape.dims));
            }
            if let Some(at) = param.data.iter().position(|value| !value.is_finite()) {
                return error(format!("value {at} is {}", param.data[at]));
            }
        }
        match self.0.get(shapes.len()) {
            Some(extra) => {
                Err(NnError::Param { name: extra.name.clone(), reason: "the net has no such parameter".to_owned() })
            }
            None => Ok(()),
        }
    }
}

/// Fresh weights by PyTorch's default for convolutions and linear layers: weight and bias uniform in
/// ±1/√fan_in (`kaiming_uniform_` with a = √5). The values depend on the seed alone.
pub fn initialise(spec: &NetSpec, seed: u64) -> Params {
    let mut rng = stream(seed, Purpose::Weights);
    Params(
        spec.param_shapes()
            .into_iter()
            .map(|shape| {
                let bound = 1.0 / (shape.fan_in as f32).sqrt();
                let data = (0..shape.len()).map(|_| (2.0 * uniform(&mut rng) - 1.0) * bound).collect();
                Param { name: shape.name, dims: shape.dims, data }
            })
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Shape;

    #[test]
    fn initial_weights_fill_the_bound_of_their_fan_in() {
        let spec = NetSpec::reference_classifier(Shape::new(8, 8, 64), 10).unwrap();
        let params = initialise(&spec, 1);
        params.check(&spec).unwrap();
        let largest = |name: &str| params.get(name).unwrap().data.iter().fold(0f32, |a, b| a.max(b.abs()));
        let bound = 1.0 / (64f32 * 9.0).sqrt();
        assert!(largest("0.weight") <= bound && largest("0.weight") > 0.99 * bound);
        assert!(largest("0.bias") <= bound && largest("0.bias") > 0.8 * bound);
        let bound = 1.0 / 1024f32.sqrt();
        assert!(largest("5.weight") <= bound && largest("5.weight") > 0.99 * bound);
        let mean = params.get("5.weight").unwrap().data.iter().sum::<f32>() / 131_072.0;
        assert!(mean.abs() < 0.02 * bound, "{mean}");
        assert_ne!(initialise(&spec, 2), params);
        assert_eq!(initialise(&spec, 1), params);
    }

    #[test]
    fn foreign_weights_are_refused_by_name() {
        let spec = NetSpec::reference_decoder(Shape::new(8, 8, 4), 16).unwrap();
        let good = initialise(&spec, 0);
        let refused = |change: fn(&mut Params)| {
            let mut params = good.clone();
            change(&mut params);
            params.check(&spec).unwrap_err().to_string()
        };
        assert!(refused(|p| p.0[1].data[3] = f32::NAN).contains("`0.bias`"));
        assert!(refused(|p| p.0[2].dims[0] = 7).contains("`1.a.weight`"));
        assert!(refused(|p| drop(p.0.pop())).contains("missing"));
        assert!(refused(|p| p.0.swap(0, 2)).contains("in its place"));
        assert!(refused(|p| p.0.push(p.0[0].clone())).contains("no such"));
    }
}
