//! The line: source → decode → upcast → order → fold → dispatch → project → write → checkpoint.
//!
//! Stages stand in the order in which the data flows. The deciding parts are plain structs without clock, chance or
//! tokio; the async parts only move data between them and the ports.

pub mod order;
pub mod journal;
pub mod lineage;
pub mod guard;
pub mod lanes;
pub mod merge;
pub mod progress;
