//! `privynet schema`: what an editor needs to complete and check a file.

use super::{AppError, exit};
use crate::cli::SchemaArgs;
use crate::config;

pub(super) fn run(args: &SchemaArgs) -> Result<u8, AppError> {
    println!("{:#}", config::schema(args.file));
    Ok(exit::DONE)
}
