//! Real processes over real servers: what stands on AWS in production.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]
#![expect(clippy::disallowed_methods, reason = "other processes are waited for by the clock on the wall")]

#[path = "../simulation/chance.rs"]
#[expect(dead_code, reason = "the simulation draws in more ways")]
mod chance;
#[path = "../processes/said.rs"]
mod said;
#[path = "../processes/hand_offs.rs"]
mod hand_offs;
mod proxy;
mod units;
mod aws;
mod orders;
mod aggregates;
mod polled;
mod starts;
mod event_table;
mod importing;
mod fleet;
mod kcl;
mod relayed;
mod git_history;
mod online;
mod policy;
mod template;
mod figures;
