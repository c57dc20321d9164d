//! Reconstruction attacks: what an attacker who holds (feature, image) pairs recovers.

mod curve;
mod curves;
mod decoder;
mod scores;

pub use decoder::DecoderAttack;
pub(super) use scores::Scores;
