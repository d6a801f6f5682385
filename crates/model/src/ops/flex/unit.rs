//! Operations on `f32` and `f16`, run on the processor's vector unit.

#[cfg(target_arch = "x86_64")]
use super::load::{Avx2, Avx512};
use super::load::{Direct, Load, widen};
use super::tile;
use half::f16;
use pulp::{Arch, Simd, WithSimd};

/// An operation on weights of type `W`, for any vector unit.
pub(super) trait Operation<W> {
    /// Runs the operation. Implementations are inlined, so that they are compiled for the unit.
    fn run<S: Simd, L: Load<S, W>>(self, simd: S, load: L);
}

/// Runs an operation on `f32`.
pub(super) fn on_floats<O: Operation<f32>>(operation: O) {
    struct Run<O>(O);
    impl<O: Operation<f32>> WithSimd for Run<O> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            self.0.run(simd, Direct);
        }
    }
    Arch::new().dispatch(Run(operation));
}

/// Runs an operation on `f16`, which are widened in registers. Gives it back if there are no instructions for that, or if
/// so many inputs use each weight that it had better be widened [beforehand](widen_all).
pub(super) fn on_halves<O: Operation<f16>>(inputs: usize, operation: O) -> Result<(), O> {
    #[cfg(target_arch = "x86_64")]
    {
        match Arch::new() {
            Arch::V4(v4) if inputs <= tile::inputs::<pulp::x86::V4>() => {
                v4.vectorize(
                    #[inline(always)]
                    || operation.run(v4, Avx512(v4)),
                );
                return Ok(());
            }
            Arch::V3(v3) if inputs <= tile::inputs::<pulp::x86::V3>() => {
                if let Some(f16c) = dynlayer_cpu::F16c::try_new() {
                    f16c.vectorize(
                        #[inline(always)]
                        || operation.run(v3, Avx2(v3, f16c)),
                    );
                    return Ok(());
                }
            }
            _ => {}
        }
    }
    let _ = inputs;
    Err(operation)
}

/// Converts all values to `wide`.
pub(super) fn widen_all(values: &[f16], wide: &mut Vec<f32>) {
    wide.resize(values.len(), 0.0);
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (wide, value) in wide.iter_mut().zip(values) {
                *wide = widen(*value);
            }
        },
    );
}
