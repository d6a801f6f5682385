//! Loading of a model: the embedded one or the user's.

use crate::arguments::ModelArguments;
use crate::output::{tell, warn};
use crate::progress::progress_bar;
use burn::tensor::Device;
use dynlayer::model::text::Tokenizer;
use dynlayer::model::{Checkpoint, DeviceError, DeviceSpec, Llama, LoadError, Warning, WeightDtype, adapter_name};
use std::error::Error;

/// A checkpoint with its tokenizer and its loaded model.
pub struct Loaded {
    /// The opened checkpoint.
    pub checkpoint: Checkpoint,
    /// The checkpoint's tokenizer.
    pub tokenizer: Tokenizer,
    /// The model, with its weights on the device.
    pub model: Llama,
}

impl Loaded {
    /// Loads the model that the command line names. Shows a progress bar on standard error unless `quiet`.
    pub fn open(arguments: &ModelArguments, dtype: WeightDtype, quiet: bool) -> Result<Self, Box<dyn Error>> {
        Self::open_as(arguments, Some(dtype), dtype, quiet)
    }

    /// Loads the model as [`open`](Self::open) does, in the type that [`weight_type`] returns.
    pub fn open_as(
        arguments: &ModelArguments,
        given: Option<WeightDtype>,
        usual: WeightDtype,
        quiet: bool,
    ) -> Result<Self, Box<dyn Error>> {
        let device = open_device(arguments.device)?;
        let checkpoint = arguments.checkpoint()?;
        let tokenizer = checkpoint.tokenizer()?;
        let dtype = weight_type(&checkpoint, &device, given, usual);
        let model = arguments.adapted(weights(&checkpoint, dtype, &device, quiet)?)?;
        Ok(Self { checkpoint, tokenizer, model })
    }
}

/// Opens a device. Writes the name of a GPU to standard error.
pub fn open_device(device: DeviceSpec) -> Result<Device, DeviceError> {
    let opened = device.open()?;
    if let Some(name) = adapter_name(&opened) {
        tell(format_args!("{device}: {name}\n"));
    }
    Ok(opened)
}

/// Returns the type in which to keep the weights: the one that was given, or else for a quantised file the one that it
/// has, if the device can compute with it, or else the usual one.
pub fn weight_type(
    checkpoint: &Checkpoint,
    device: &Device,
    given: Option<WeightDtype>,
    usual: WeightDtype,
) -> WeightDtype {
    let widened = |warning: &Warning| matches!(warning, Warning::NoBlockKernels { .. });
    let stored =
        || checkpoint.is_quantised() && !checkpoint.load_warnings(WeightDtype::Stored, device).iter().any(widened);
    given.unwrap_or_else(|| if stored() { WeightDtype::Stored } else { usual })
}

/// Loads the weights of a checkpoint. Writes warnings to standard error, and shows a progress bar there unless `quiet`.
pub fn weights(checkpoint: &Checkpoint, dtype: WeightDtype, device: &Device, quiet: bool) -> Result<Llama, LoadError> {
    checkpoint.load_warnings(dtype, device).iter().for_each(warn);
    let bar = progress_bar(quiet, "loading {bar:40} {bytes} of {total_bytes}");
    let model = checkpoint.load(dtype, device, |progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    })?;
    bar.finish_and_clear();
    Ok(model)
}
