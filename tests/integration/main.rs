//! The crates together, through the facade.
//!
//! Most tests run a small random model: equalities between paths hold for any weights. Those named `real_model` need
//! SmolLM2 (`scripts/get_smollm2.sh --hf`) and are ignored unless asked for; `DYNLAYER_MODEL` names its folder.

mod backends;
mod checkpoints;
mod contract;
mod equalities;
mod families;
mod generation;
mod real_model;
mod support;
