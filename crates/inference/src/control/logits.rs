//! The logits of a pass, on the device and on the host.

use super::ControllerError;
use burn::tensor::Tensor;
use std::sync::OnceLock;

/// Logits on the device, which are read to the host when they are first needed there.
#[derive(Debug)]
pub(crate) struct Logits {
    /// `[rows, vocab_size]`.
    on_device: Tensor<2>,
    /// The same, row after row.
    on_host: OnceLock<Vec<f32>>,
    /// The token with the largest logit of each row as [`dynlayer_model::largest_in_rows`] finds it; empty if it does not.
    largest: OnceLock<Vec<f32>>,
}

/// One row of logits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowLogits<'a> {
    of: &'a Logits,
    row: usize,
}

impl Logits {
    pub(crate) fn new(on_device: Tensor<2>) -> Self {
        Self { on_device, on_host: OnceLock::new(), largest: OnceLock::new() }
    }

    /// The logits on the device, `[rows, vocab_size]`.
    pub(crate) fn on_device(&self) -> &Tensor<2> {
        &self.on_device
    }

    /// `true` once the host has read them.
    pub(crate) fn on_host(&self) -> bool {
        self.on_host.get().is_some()
    }

    /// The logits of one row.
    pub(crate) fn row(&self, row: usize) -> RowLogits<'_> {
        RowLogits { of: self, row }
    }

    /// The logits of each row.
    pub(crate) fn rows(&self) -> impl ExactSizeIterator<Item = RowLogits<'_>> {
        (0..self.on_device.dims()[0]).map(|row| self.row(row))
    }
}

impl<'a> RowLogits<'a> {
    /// The logits on the host, one per token of the vocabulary.
    pub(crate) fn read(self) -> Result<&'a [f32], ControllerError> {
        let Logits { on_device, on_host, .. } = self.of;
        let all = get_or_read(on_host, || read(on_device.clone()))?;
        let [_, vocab_size] = on_device.dims();
        Ok(&all[self.row * vocab_size..][..vocab_size])
    }

    /// The token with the largest logit, the first among equals, if the device can find it and the host has not read the logits.
    /// `None` also if a logit is NaN or positive infinity, or all are negative infinity.
    pub(crate) fn largest(self) -> Result<Option<u32>, ControllerError> {
        let Logits { on_device, largest, .. } = self.of;
        if self.of.on_host() {
            return Ok(None);
        }
        let find = || dynlayer_model::largest_in_rows(on_device).map_or(Ok(Vec::new()), read);
        let token = get_or_read(largest, find)?.get(self.row).filter(|token| **token >= 0.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index that `f32` holds exactly"
        )]
        Ok(token.map(|token| *token as u32))
    }
}

fn get_or_read(
    cell: &OnceLock<Vec<f32>>,
    read: impl FnOnce() -> Result<Vec<f32>, ControllerError>,
) -> Result<&[f32], ControllerError> {
    if cell.get().is_none() {
        // Nothing else can have set it meanwhile.
        let _ = cell.set(read()?);
    }
    Ok(cell.get().map_or(&[], Vec::as_slice))
}

/// Reads numbers to the host, in the order of the tensor's elements, waiting for the device.
pub(crate) fn read<const D: usize>(numbers: Tensor<D>) -> Result<Vec<f32>, ControllerError> {
    // The backends' messages have several lines.
    let failed = |error: &dyn std::fmt::Display| {
        ControllerError::Device(error.to_string().split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let data = numbers.try_into_data().map_err(|error| failed(&error))?;
    data.try_into_vec_as::<f32>().map_err(|error| failed(&error))
}
