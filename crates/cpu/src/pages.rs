//! Memory in large pages.

use memmap2::{Advice, MmapMut, MmapOptions};
use std::sync::{Arc, Mutex, PoisonError};

/// The size of a large page, of which sizes of regions are multiples.
const PAGE: usize = 1 << 21;
/// The size of a region that is shared. Pages that nothing was written to take no memory.
const REGION: usize = 64 << 20;
/// The alignment of copies.
const ALIGN: usize = 64;

/// The region that still has room, and the number of bytes of it that are in use.
static OPEN: Mutex<Option<(Arc<Region>, usize)>> = Mutex::new(None);

/// Copies bytes into memory for which the system is asked to use pages of 2 MB; `None` if there is no such memory.
///
/// A processor reads long arrays faster from large pages, since it looks up fewer of them and does not stop reading ahead
/// at the end of each. Copies lie side by side, so that arrays smaller than a page profit too; the memory is freed when
/// the last copy in a region of 64 MB is dropped. They begin at multiples of 64 bytes.
pub fn in_large_pages(bytes: &[u8]) -> Option<LargePages> {
    let own = bytes.len() > REGION / 4;
    let (region, start) = if own {
        (Region::new(bytes.len())?, 0)
    } else {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let room = open.take().filter(|(_, used)| used + bytes.len() <= REGION);
        let (region, used) = match room {
            Some(room) => room,
            None => (Region::new(REGION)?, 0),
        };
        *open = Some((Arc::clone(&region), (used + bytes.len()).next_multiple_of(ALIGN)));
        (region, used)
    };
    Some(region.fill(start, bytes))
}

/// Bytes in large pages, made by [`in_large_pages`]. They do not change.
#[derive(Clone, Debug)]
pub struct LargePages {
    region: Arc<Region>,
    start: usize,
    len: usize,
}

/// Memory that copies share.
#[derive(Debug)]
struct Region {
    /// The address of the map's first byte. The map itself is only kept, so that it is freed with the region: a reference
    /// to it would cover bytes that others write.
    address: *mut u8,
    _map: MmapMut,
}

// SAFETY: A region is written by `fill` alone, in bytes that nobody else has, and each copy reads its own bytes, which do
// not change after `fill` has returned the copy. A thread gets a copy from the thread that made it.
#[expect(unsafe_code, reason = "a raw pointer is neither `Send` nor `Sync` by itself")]
unsafe impl Send for Region {}
// SAFETY: As above.
#[expect(unsafe_code, reason = "a raw pointer is neither `Send` nor `Sync` by itself")]
unsafe impl Sync for Region {}

impl Region {
    fn new(len: usize) -> Option<Arc<Self>> {
        let mut map = MmapOptions::new().len(len.next_multiple_of(PAGE)).map_anon().ok()?;
        // Systems without large pages use small ones.
        let _ = map.advise(Advice::HugePage);
        Some(Arc::new(Self { address: map.as_mut_ptr(), _map: map }))
    }

    /// Copies `bytes` to the place from `start` on, which belongs to no other copy.
    #[expect(unsafe_code, reason = "copies of one region are made one by one while others are read")]
    fn fill(self: Arc<Self>, start: usize, bytes: &[u8]) -> LargePages {
        // SAFETY: The bytes `start..start + bytes.len()` lie in the map, which lives as long as the region. They are
        // given out once: `in_large_pages` moves on under a lock, or has made the region for this copy. `bytes` cannot
        // overlap them, since a reference to them exists only in copies, whose places are others.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.address.add(start), bytes.len()) };
        LargePages { region: self, start, len: bytes.len() }
    }
}

impl AsRef<[u8]> for LargePages {
    #[expect(unsafe_code, reason = "the bytes lie in memory that is not of one owner")]
    fn as_ref(&self) -> &[u8] {
        // SAFETY: The bytes lie in the map, which lives as long as the region, and were initialised by `fill` (and by the
        // system before). Nobody writes to them any more.
        unsafe { std::slice::from_raw_parts(self.region.address.add(self.start), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn copies_are_equal_and_aligned_whatever_their_sizes() {
        let sizes = [1, 63, 64, 65, 100_000, 3 << 20, REGION / 4, REGION / 4 + 1, REGION + 5, 0, 7];
        let all: Vec<Vec<u8>> = sizes.iter().zip(1u8..).map(|(size, byte)| vec![byte; *size]).collect();
        let copies: Vec<LargePages> = all.iter().map(|bytes| in_large_pages(bytes).unwrap()).collect();
        for (copy, bytes) in copies.iter().zip(&all) {
            assert!(copy.as_ref() == bytes);
            assert!(copy.as_ref().as_ptr().addr().is_multiple_of(ALIGN));
        }
    }

    #[test]
    fn threads_do_not_write_over_each_others_copies() {
        let make = |byte: u8| {
            let copies: Vec<LargePages> =
                (1..300).map(|i| in_large_pages(&vec![byte; 1000 * usize::from(byte) + i]).unwrap()).collect();
            move || copies.iter().all(|copy| copy.as_ref().iter().all(|found| *found == byte))
        };
        let threads: Vec<_> = (1..5).map(|byte| thread::spawn(move || make(byte))).collect();
        let checks: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(checks.iter().all(|check| check()));
    }

    #[test]
    fn a_region_lives_as_long_as_its_last_copy() {
        let large = vec![7; REGION];
        let (first, second) = (in_large_pages(&large).unwrap(), in_large_pages(&large[..9]).unwrap());
        let clone = second.clone();
        drop((first, second));
        assert_eq!(clone.as_ref(), [7; 9]);
    }
}
