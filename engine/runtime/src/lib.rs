//! The line: source → decode → upcast → order → fold → dispatch → project → write → checkpoint.
//!
//! Stages stand in the order in which the data flows. The deciding parts are plain structs without clock, chance or
//! tokio; the async parts only move data between them and the ports.

// The stages.
pub mod read;
pub mod decode;
pub mod upcast;
pub mod order;
pub mod journal;
pub mod lineage;
pub mod fold;
pub mod streams;
pub mod dispatch;
pub mod guard;
pub mod lanes;
pub mod merge;
pub mod write;
pub mod progress;
pub mod checkpoint;
pub mod leases;
pub mod retention;

// What moves data through them.
pub mod line;
pub mod leasing;
pub mod merging;
pub mod parking;
pub mod redriving;
pub mod deciding;
pub mod subscription;
pub mod shard;
pub mod source;
pub mod trimming;
pub mod keeping;
pub mod projection;
pub mod worker;

// What they are made of, and what they share.
pub mod assembly;
pub mod settings;
pub mod budget;
pub mod control;
pub mod rows;
pub mod report;
pub mod metrics;
pub mod pure;
pub mod trial;
pub mod trying;
pub mod invariants;
pub mod planted;
pub mod patient;
pub mod retry;
pub mod tasks;
pub mod board;
