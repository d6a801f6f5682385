//! Five controllers as a reader of docs/controllers.md wrote them, from the guide alone.

mod bandit;
mod confidence;
mod large_attention;
mod prompt_depth;
mod punctuation;
