//! Projectors, reducers and upcasters written in configuration.
//!
//! [`compile()`] turns a configuration into what the line runs: decoders, upcasters, reducers and projectors.

pub mod expression;
mod operation;
pub mod decoder;
mod upcaster;
mod reducer;
mod projector;
mod compile;
mod definition;

pub use compile::{Compiled, compile};
pub use decoder::MappedDecoder;
pub use definition::{Comparison, Definition};
pub use projector::DeclaredProjector;
pub use reducer::DeclaredReducer;
pub use upcaster::DeclaredUpcaster;
