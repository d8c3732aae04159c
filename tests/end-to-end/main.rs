//! Real processes over real servers: what stands on AWS in production.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]
#![expect(clippy::disallowed_methods, reason = "other processes are waited for by the clock on the wall")]

#[path = "../simulation/chance.rs"]
#[expect(dead_code, reason = "the simulation draws in more ways")]
mod chance;
mod proxy;
mod aws;
mod orders;
mod polled;
mod event_table;
mod fleet;
mod relayed;
mod online;
mod policy;
mod template;
