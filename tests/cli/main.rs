//! The program as its users run it, on a tiny space with the real weights.

mod bad_input;
mod hub;
mod latency;
mod main_job;
mod own_images;
mod own_net;
mod schema;
mod score;
mod search;
mod support;
