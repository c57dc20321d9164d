//! Reconstruction attacks: what an attacker who holds (feature, image) pairs recovers.

mod curve;
mod decoder;

pub use decoder::DecoderAttack;
