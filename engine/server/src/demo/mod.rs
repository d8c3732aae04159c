//! The demo: the history of a git repository as events, and git itself as the judge of what is projected from them.
//!
//! This part knows git and events, and no store: it reads commits ([`git`]), names streams ([`stream_id`]), shows paths
//! as text ([`path_text`]), turns commits into appends ([`events`]), finds where to go on ([`resume`]), compares
//! documents with git's own tree ([`oracle`]) and tells at the end what there is to see ([`summary`]).

pub mod git;
pub mod stream_id;
pub mod path_text;
pub mod events;
pub mod resume;
pub mod oracle;
pub mod summary;
