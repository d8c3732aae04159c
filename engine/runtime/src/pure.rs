//! Calls into decoders, upcasters, reducers and projectors: a panic there is poison, never the end of the worker.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use foldstream_model::{Error, Result};

/// Runs pure code of a user, `what` says whose; what it would have changed is dropped by the caller when it fails.
pub fn guarded<T>(what: &str, call: impl FnOnce() -> Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result,
        Err(panic) => Err(Error::poison(format!("{what} panicked: {}", message(panic.as_ref())))),
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        return text;
    }
    panic.downcast_ref::<String>().map_or("without a message", String::as_str)
}
