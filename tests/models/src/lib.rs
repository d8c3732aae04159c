//! Models of the rules that effects being exactly-once rests on, explored to the last reachable state.
//!
//! Where a rule is code that decides, the models call the engine's own: a change of the engine is a change of the model.
//! Each model can be given wrong rules, which must be found.

pub mod checking;
pub mod writing;
pub mod handing;
pub mod parking;
pub mod ordered_parking;
pub mod discarding;
pub mod parked_streams;
pub mod lot;
pub mod shards;
pub mod releasing;
pub mod sharing;
pub mod store;
