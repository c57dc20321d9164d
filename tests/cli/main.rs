//! The program as its users run it, on a tiny space with the real weights.

mod bad_input;
mod compare;
mod damage;
mod errors;
mod hostile;
mod hub;
#[cfg(unix)]
mod interrupts;
mod latency;
mod main_job;
mod output;
mod own_images;
mod own_net;
mod schema;
mod score;
mod search;
#[cfg(unix)]
mod slurm;
mod support;
mod watch;
