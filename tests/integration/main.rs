//! Integration tests of the crates, through the facade.
//!
//! Most tests run a small random model, as equalities between paths hold for any weights. Tests named `real_model` need
//! SmolLM2 (`scripts/get_smollm2.sh --hf`) and run only with `--ignored`; `DYNLAYER_MODEL` names its folder. Tests
//! named `real_text` also need a text file, which `DYNLAYER_TEXT` names.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    clippy::items_after_statements,
    clippy::panic,
    reason = "small numbers in tests, compared exactly on purpose"
)]

mod adapters;
mod allocations;
mod backends;
mod before_mlp;
mod checkpoints;
mod conformance;
mod contract;
mod controllers;
mod coverage;
mod equalities;
mod families;
mod gates;
mod generation;
mod guide_controllers;
mod honest_rows;
mod hostile;
#[cfg(feature = "hub")]
mod hub;
mod long_runs;
mod options;
mod partial;
mod real_model;
mod real_text;
mod seeds;
mod sessions;
mod speculation;
mod support;
mod tiny;
mod windows;
