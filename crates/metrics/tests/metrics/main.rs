//! The crate against references that others computed. The fixtures' folder holds the scripts that made them.

mod text;
