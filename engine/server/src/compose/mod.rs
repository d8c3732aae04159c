//! From a configuration to the parts that the runtime is put together from: the only place that knows both.

mod check;
mod assemble;
mod definitions;

pub use assemble::{Line, assemble, items, known_types, projector, upcasts};
pub use check::{check, checked};
pub use definitions::{Changed, changed};
