//! Projectors written in Rust, by the names under which a configuration asks for them (`projector: { native: churn }`).

mod churn;

use std::sync::Arc;

use foldstream_model::ports::Projector;

pub use churn::Churn;

/// A native projector, and what takes the place of its definition: it must change whenever the projector could make
/// other documents of the same events.
pub struct Native {
    pub projector: Arc<dyn Projector>,
    pub code_id: &'static str,
}

pub const NAMES: [&str; 1] = ["churn"];

/// The projector of this name, if there is one.
pub fn find(name: &str) -> Option<Native> {
    match name {
        "churn" => Some(Native { projector: Arc::new(Churn::new()), code_id: Churn::CODE_ID }),
        _ => None,
    }
}
