//! Real processes over real servers: what stands on AWS in production.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod aws;
mod orders;
mod polled;
