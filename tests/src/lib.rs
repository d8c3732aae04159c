//! What the tests of several crates share.

pub mod repositories;
pub mod projectors;
pub mod bed;
pub mod around;
pub mod crashing;
pub mod memory;
pub mod figures;
