//! Where a net is to be found.

use std::path::PathBuf;

use super::{Architecture, BackboneError, Preprocess};
use crate::onnx;

/// A file with a net's weights, and what it doesn't say itself.
#[derive(Debug, Clone, PartialEq)]
pub struct BackboneFile {
    /// A known architecture's name; an ONNX file brings its own.
    pub architecture: Option<String>,
    /// The weights: safetensors, or an ONNX file.
    pub weights: PathBuf,
    /// How bytes become the net's input; a known architecture has its own.
    pub preprocess: Option<Preprocess>,
    /// Whether the net takes blue before green before red.
    pub reversed_colours: bool,
}

impl BackboneFile {
    /// A known architecture with weights from a safetensors file.
    pub fn known(architecture: &str, weights: impl Into<PathBuf>) -> Self {
        Self {
            architecture: Some(architecture.to_owned()),
            weights: weights.into(),
            preprocess: None,
            reversed_colours: false,
        }
    }

    /// Whether it is an ONNX file: by its name, so that a missing or damaged one is spoken of as what it should be.
    pub fn is_onnx(&self) -> bool {
        self.weights.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("onnx"))
    }

    /// The net's structure.
    ///
    /// # Errors
    /// [`BackboneError::UnknownArchitecture`]; what [`onnx::read`] returns; [`BackboneError::Preprocess`].
    pub fn architecture(&self) -> Result<Architecture, BackboneError> {
        match &self.architecture {
            Some(name) => self.known_architecture(name),
            None if self.is_onnx() => Ok(self.graph()?.0),
            None => Err(BackboneError::NoArchitecture { path: self.weights.clone() }),
        }
    }

    fn known_architecture(&self, name: &str) -> Result<Architecture, BackboneError> {
        let known = Architecture::known(name)
            .ok_or_else(|| BackboneError::UnknownArchitecture { architecture: name.to_owned() })?;
        if self.preprocess.is_none() && !self.reversed_colours {
            return Ok(known);
        }
        let preprocess = self.preprocess.unwrap_or(known.preprocess());
        Ok(Architecture::of_graph(name, known.structure(), preprocess))
    }

    /// The architecture and the whole graph of an ONNX file.
    pub(super) fn graph(&self) -> Result<(Architecture, crate::nn::Graph), BackboneError> {
        let imported = onnx::read(&self.weights)?;
        let graph = if self.reversed_colours { imported.graph.reversed_colours() } else { imported.graph };
        let preprocess = self.preprocess.ok_or_else(|| BackboneError::Preprocess { path: self.weights.clone() })?;
        let name = self.weights.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let architecture = Architecture::of_graph(&name, &graph, preprocess);
        if architecture.layers().is_empty() {
            let ends = graph.first_unsupported().map(|(node, op)| format!("; it ends at `{node}`, a {op}"));
            let reason = ends.unwrap_or_default();
            return Err(BackboneError::NoSplit { path: self.weights.clone(), reason });
        }
        Ok((architecture, graph))
    }
}
