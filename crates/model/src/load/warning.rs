//! Warnings: what a checkpoint holds that does not keep it from loading, but that its user should know.

use crate::files::list;
use std::fmt;

/// Something odd about a checkpoint that loads all the same.
///
/// [`Checkpoint::warnings`](crate::Checkpoint::warnings) lists them, and
/// [`Checkpoint::load_warnings`](crate::Checkpoint::load_warnings) those that depend on the type of the weights and on
/// the device; the text says what was found and what is done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// The configuration ties the output head to the embedding, but the checkpoint holds a head that differs. The
    /// stored head is used.
    TiedHeadDiffers,
    /// The checkpoint holds more layers than the configuration has. The first ones are used.
    MoreLayersStored {
        /// The number of layers in the checkpoint.
        stored: usize,
        /// The number of layers in the configuration.
        used: usize,
    },
    /// Tensors that do not belong to the model, such as the heads of other tasks. They are ignored.
    Ignored {
        /// The names in the checkpoint.
        tensors: Vec<String>,
    },
    /// The index lists tensors that are in none of its files, and that the model does not need.
    IndexedButMissing {
        /// The names in the index.
        tensors: Vec<String>,
    },
    /// A special token is not in the vocabulary. The model is treated as if it had no such token.
    SpecialTokenOutOfRange {
        /// The configuration's field or the metadata key.
        key: String,
        /// The token.
        id: u64,
        /// The number of tokens in the vocabulary.
        vocab_size: usize,
    },
    /// An adapter has tensors for layers that its `layers_to_transform` leaves out. They are ignored, as by peft.
    NotTransformed {
        /// The names in the adapter.
        tensors: Vec<String>,
    },
    /// An adapter changes matrices that are stored as quantised blocks. They are widened to `f16`, or to `f32` on a device
    /// without `f16`.
    AdaptedBlocks {
        /// The names in a Hugging Face checkpoint.
        tensors: Vec<String>,
    },
    /// The device has no kernels for quantised blocks. They are widened to `f32`.
    NoBlockKernels {
        /// The device.
        device: String,
        /// The number of matrices that are widened.
        matrices: usize,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TiedHeadDiffers => write!(
                f,
                "tie_word_embeddings is true, but lm_head.weight differs from the embedding; the stored head is used"
            ),
            Self::MoreLayersStored { stored, used } => {
                write!(f, "{stored} layers are stored, but the configuration has {used}; the first {used} are used")
            }
            Self::Ignored { tensors } => write!(f, "these tensors are ignored: {}", list(tensors)),
            Self::IndexedButMissing { tensors } => {
                write!(f, "the index lists tensors that are in none of its files: {}", list(tensors))
            }
            Self::SpecialTokenOutOfRange { key, id, vocab_size } => {
                write!(f, "{key} is {id}, but the vocabulary has {vocab_size} tokens; the token is ignored")
            }
            Self::NotTransformed { tensors } => {
                write!(f, "these tensors are ignored, since layers_to_transform leaves them out: {}", list(tensors))
            }
            Self::AdaptedBlocks { tensors } => {
                write!(f, "an adapter changes these quantised matrices, which are widened: {}", list(tensors))
            }
            Self::NoBlockKernels { device, matrices } => write!(
                f,
                "{matrices} quantised matrices are widened to f32, as the device {device} cannot compute with blocks"
            ),
        }
    }
}
