//! Reconstruction attacks: what an attacker who holds (feature, image) pairs recovers.
//!
//! [`AttackLadder`] runs them all on one design. A design's leakage is that of the strongest.

mod curve;
mod curves;
mod decoder;
mod ensemble;
mod inversion;
mod kernel;
mod ladder;
mod linear;
mod scores;
mod shadow;
#[cfg(test)]
mod tests;

pub use decoder::DecoderAttack;
pub use ensemble::EnsembleAttack;
pub use inversion::InversionAttack;
pub use kernel::KernelAttack;
pub use ladder::{AttackLadder, found_out};
pub use linear::LinearAttack;
pub(super) use scores::{Scores, mean_psnr};
pub use scores::{mean_psnr_of, validation_psnr};
pub use shadow::ShadowAttack;
