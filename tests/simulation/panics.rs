//! A task that panics ends alone, and nobody may notice: here it is noticed.

use std::cell::RefCell;

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Remembers panics, each in its thread.
pub fn watch() {
    std::panic::set_hook(Box::new(|info| {
        // With RUST_BACKTRACE, as usual.
        let backtrace = std::backtrace::Backtrace::capture();
        LAST.with(|last| *last.borrow_mut() = Some(format!("{info}\n{backtrace}")));
    }));
}

/// The last panic of this thread, if there was one since the last call.
pub fn taken() -> Option<String> {
    LAST.with(|last| last.borrow_mut().take())
}
