//! From text to a tree that remembers where everything stood and how it was quoted.

mod node;
mod parse;
mod traps;

pub(crate) use node::{Key, Kind, Node};
pub(crate) use parse::parse;
