//! How much this thread holds at once.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    /// Bytes that this thread has now, and the most since [`watch`]: what others allocate is no matter.
    /// Constant and without a destructor, so that they need no memory themselves.
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

/// Runs it; its result, and how many bytes it held at once beyond what was held before.
pub(crate) fn watch<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.with(Cell::get);
    MOST.with(|most| most.set(before));
    let result = run();
    let most = MOST.with(Cell::get);
    (result, usize::try_from(most - before).unwrap_or(0))
}

fn hold(bytes: usize, freed: usize) {
    let change = isize::try_from(bytes).unwrap_or(isize::MAX) - isize::try_from(freed).unwrap_or(0);
    HELD.with(|held| {
        held.set(held.get().saturating_add(change));
        MOST.with(|most| most.set(most.get().max(held.get())));
    });
}

#[expect(unsafe_code, reason = "an allocator cannot be written without")]
// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        hold(layout.size(), 0);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        hold(layout.size(), 0);
        // SAFETY: as above. Without this, untouched pages would be written to.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        hold(size, layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        hold(0, layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn what_is_held_at_once_is_counted() {
    let (length, most) = watch(|| {
        drop(vec![1_u8; 300_000]);
        vec![1_u8; 200_000].len()
    });
    assert_eq!(length, 200_000);
    assert!((300_000..310_000).contains(&most), "{most}");
}
