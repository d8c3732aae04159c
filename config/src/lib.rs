//! The configuration file `foldstream.yaml`, typed, versioned and validated, without any I/O.
//!
//! The data flows downwards through these modules: text and environment go in, a [`Config`] comes out, or every
//! [`Diagnostic`] of the file at once.

pub mod diagnostic;
mod yaml;
mod read;
pub mod settings;
mod unavailable;
mod schema;
mod infer;

pub use diagnostic::{Diagnostic, Place, Severity, SourceFile};
pub use infer::{Unclear, infer};
pub use read::Environment;
pub use schema::schema;
pub use settings::Config;
pub use unavailable::unavailable;
