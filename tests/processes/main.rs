//! Real processes that share one data folder, and are killed, stopped and frozen while events arrive.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]
#![expect(clippy::disallowed_methods, reason = "other processes are waited for by the clock on the wall")]

#[path = "../simulation/chance.rs"]
#[expect(dead_code, reason = "the simulation draws in more ways")]
mod chance;
mod bed;
mod disturbed;
mod events;
mod figures;
mod fleet;
mod graceful;
mod hand_offs;
mod holding;
mod oracle;
mod process;
mod said;
mod shop;
mod splitting;
