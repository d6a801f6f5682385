//! Tensors as the kernels read them.

use burn::tensor::{DType, Shape};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;

/// The numbers that a kernel reads at a time. All widths are multiples of it.
pub(super) const VECTOR: usize = 4;

/// The numbers before the rotation in the place of a token: the first slot of its row in the pool, and the first and the last
/// slot that it sees, counted from there, of which the last is its own. The cosines and then the sines follow, `head_dim` in
/// all. One tensor holds all of it, since a kernel can read few tensors.
pub(super) const PLACE: usize = 3;

/// A tensor `[.., width]` whose rows lie evenly apart.
#[derive(Clone)]
pub(super) struct Rows {
    pub(super) tensor: CubeTensor,
    /// The distance from one row to the next.
    pub(super) pitch: usize,
}

impl Rows {
    /// Takes a tensor as it is if its rows lie evenly apart, and copies it otherwise.
    pub(super) fn new(tensor: CubeTensor) -> Self {
        match pitch(&tensor) {
            Some(pitch) => Self { tensor, pitch },
            None => {
                let tensor = into_contiguous(tensor);
                let pitch = tensor.meta.shape().last().copied().unwrap_or(1);
                Self { tensor, pitch }
            }
        }
    }

    /// The numbers of a row.
    pub(super) fn width(&self) -> usize {
        self.tensor.meta.shape().last().copied().unwrap_or(1)
    }

    /// The number of rows.
    pub(super) fn rows(&self) -> usize {
        self.tensor.meta.shape().num_elements() / self.width()
    }
}

/// Returns the distance between rows, if it is the same for all, a multiple of [`VECTOR`], and the numbers of a row are
/// neighbours.
fn pitch(tensor: &CubeTensor) -> Option<usize> {
    let (shape, strides) = (tensor.meta.shape(), tensor.meta.strides());
    let rank = shape.num_dims();
    let width = *shape.last()?;
    if (strides[rank - 1] != 1 && width > 1) || tensor.meta.is_tiled() {
        return None;
    }
    let mut rows = None;
    let mut inside = 1;
    for axis in (0..rank - 1).rev().filter(|axis| shape[*axis] > 1) {
        let pitch = *rows.get_or_insert(strides[axis]);
        if strides[axis] != pitch * inside {
            return None;
        }
        inside *= shape[axis];
    }
    let pitch = rows.unwrap_or(width);
    pitch.is_multiple_of(VECTOR).then_some(pitch)
}

/// The keys and then the values of a cache, `[2 * kv_heads, slots, head_dim]`.
#[derive(Clone)]
pub(super) struct Pool {
    pub(super) tensor: CubeTensor,
    /// The distance from one slot to the next.
    pub(super) pitch: usize,
    /// The distance from one head to the next.
    pub(super) head_pitch: usize,
}

impl Pool {
    /// Takes a tensor to change it, and copies it first if something else holds it too.
    pub(super) fn new(tensor: CubeTensor) -> Self {
        let tensor = if tensor.can_mut() { tensor } else { tensor.copy() };
        let Rows { tensor, pitch } = Rows::new(tensor);
        let head_pitch = pitch * tensor.meta.shape()[1];
        Self { tensor, pitch, head_pitch }
    }

    /// The heads of the keys, and of the values.
    pub(super) fn heads(&self) -> usize {
        self.tensor.meta.shape()[0] / 2
    }

    pub(super) fn head_dim(&self) -> usize {
        self.tensor.meta.shape()[2]
    }
}

/// Makes a tensor of `f32` on the device of another.
pub(super) fn empty(like: &CubeTensor, shape: Shape) -> CubeTensor {
    empty_device_contiguous_dtype(like.client.clone(), like.device.clone(), shape, DType::F32)
}

/// The number of tokens that a cube computes at once: each reads the weights for itself.
pub(super) fn tile(tokens: usize) -> usize {
    tokens.next_power_of_two().min(8)
}
