//! Reads the history of a git repository by git's plumbing commands, as a stream.
//!
//! The user's repository is asked three things only: where its objects are, where it is shallow, and which commits
//! names stand for ([`Repository`]). Everything else runs in a [`room`]: a bare git folder of our own that borrows
//! those objects. What could change git's output is therefore not switched off, it is absent: configuration, attributes,
//! grafts, replace refs, hooks and fetching of missing objects.
//!
//! Nothing here holds a history: a commit's changes are read in chunks ([`Walk`]), and so is a tree ([`Tree`]).

mod object;
mod fields;
mod room;
mod version;
mod repository;
mod line;
mod sizes;
mod commit;
mod walk;
mod tree;
#[cfg(test)]
mod tests;

pub use commit::{Commit, Person};
pub use line::FirstParentLine;
pub use object::{Mode, ObjectFormat, ObjectId};
pub use repository::Repository;
pub use tree::{Tree, TreeEntry};
pub use walk::{Change, Lines, Version, Walk};
