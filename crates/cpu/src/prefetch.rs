//! Reading memory ahead of its use.

/// Asks the processor to load the memory that lies `ahead` bytes behind the beginning of `at`, which takes no time. On
/// processors other than x86-64 it does nothing.
///
/// There may be any memory or none, since the request has no effect but on speed. Processors do the same by themselves
/// where memory is read in order; the request helps where little is computed per byte, since few reads are then under
/// way at the same time.
#[inline(always)]
#[allow(clippy::inline_always, reason = "a call would take longer than the instruction")]
#[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "the intrinsic takes a raw pointer"))]
pub fn prefetch<T>(at: &T, ahead: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let place = std::ptr::from_ref(at).cast::<i8>().wrapping_add(ahead);
        // SAFETY: The instruction reads nothing into the program and never faults, whatever the address is (Intel's
        // Software Developer's Manual, PREFETCHh). It needs SSE, which every x86-64 processor has. The address is made by
        // wrapping arithmetic, which is defined for any pointer.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (at, ahead);
}
