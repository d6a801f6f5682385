//! The largest number of each row.

use super::vectors::UNITS;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

/// The numbers that a unit reads at a time.
const AHEAD: usize = 8;
/// The exponent's bits of a number. In NaN and the infinities, all of them are set.
const EXPONENT: u32 = 0x7f80_0000;
const NEGATIVE_INFINITY: u32 = 0xff80_0000;
/// The place of a largest number that was not found.
const NONE: u32 = u32::MAX;

/// Finds the index of the largest number of each row of `x: [rows, width]`, which is contiguous.
pub(super) fn largest(x: CubeTensor) -> CubeTensor {
    let (rows, width) = (x.meta.shape()[0], x.meta.shape()[1]);
    let indices = super::tensors::empty(&x, [rows].into());
    let client = x.client.clone();
    let count = CubeCount::Static(rows as u32, 1, 1);
    let (x, y) = (x.into_buffer_arg(), indices.clone().into_buffer_arg());
    largest_in_row::launch(&client, count, CubeDim::new_1d(UNITS as u32), x, y, width);
    indices
}

/// A cube finds the largest number of a row.
///
/// Compilers of shaders may assume that NaN and infinity do not occur, so the kernel recognises them by their bits.
#[cube(launch)]
fn largest_in_row(x: &[f32], indices: &mut [f32], width: usize) {
    let unit = UNIT_POS as usize;
    let start = CUBE_POS_X as usize * width;
    let mut most = f32::new(f32::MIN);
    let mut at = u32::new(comptime!(i64::from(NONE)));
    let mut finite = u32::new(1);
    let mut i = unit;
    while i < width {
        // All are read before the first is used, since a unit waits for memory where it uses a number.
        let mut values = Array::<f32>::new(AHEAD);
        #[unroll]
        for ahead in 0..AHEAD {
            values[ahead] = x[start + min(i + ahead * UNITS, width - 1)];
        }
        #[unroll]
        for ahead in 0..AHEAD {
            let value = values[ahead];
            let bits = u32::reinterpret(value);
            if (bits & EXPONENT) == EXPONENT {
                if bits != NEGATIVE_INFINITY {
                    finite = u32::new(0);
                }
            } else if value > most {
                most = value;
                at = u32::cast_from(min(i + ahead * UNITS, width - 1));
            }
        }
        i += AHEAD * UNITS;
    }
    let mut numbers = Shared::<[f32]>::new_slice(UNITS);
    let mut places = Shared::<[u32]>::new_slice(UNITS);
    let mut sound = Shared::<[u32]>::new_slice(UNITS);
    numbers[unit] = most;
    places[unit] = at;
    sound[unit] = finite;
    sync_cube();
    #[unroll]
    for step in 0..comptime!(UNITS.trailing_zeros()) {
        let half = comptime!(UNITS >> (step + 1));
        if unit < half {
            let other = unit + half;
            let (a, b) = (numbers[unit], numbers[other]);
            if b > a || (b == a && places[other] < places[unit]) {
                numbers[unit] = b;
                places[unit] = places[other];
            }
            sound[unit] = min(sound[unit], sound[other]);
        }
        sync_cube();
    }
    if unit == 0 {
        let found = sound[0] == 1 && places[0] != NONE;
        indices[CUBE_POS_X as usize] = if found { f32::cast_from(places[0]) } else { f32::new(-1.0) };
    }
}
