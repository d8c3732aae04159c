//! From the tree of a file to [`Config`]. Nothing stops at the first mistake: every function reports what it finds to
//! its [`Reader`], returns what it could read, and the file as a whole is refused at the end.

mod reader;
mod environment;
mod fields;
mod scalar;
mod argument;
mod section;
mod store;
mod source;
mod event;
mod sink;
mod operation;
mod projection;
mod limits;
mod test_case;
mod top;
mod check;

#[cfg(test)]
mod tests;

pub use environment::Environment;
use fields::Fields;
use reader::Reader;

use crate::{
    Config,
    diagnostic::{Diagnostic, SourceFile},
    unavailable,
};

impl Config {
    /// Reads a file's text. `name` is what the file is called in messages; `environment` answers `${NAME}`.
    ///
    /// An error is everything that is wrong with the file, in the order of its lines. A file in which nothing else is
    /// wrong may still ask for what this version has not: see [`unavailable`].
    pub fn read(name: &str, text: &str, environment: Environment<'_>) -> Result<Self, Vec<Diagnostic>> {
        let file = SourceFile::new(name, text);
        let (root, found) = crate::yaml::parse(&file);
        let mut reader = Reader::new(file, environment, found);
        let config = match root {
            Some(root) => top::config(&mut reader, &root),
            None => {
                reader.refuse_empty();
                None
            }
        };
        let mut found = reader.into_found();
        match config {
            Some(config) if found.is_empty() => Ok(config),
            config => {
                found.extend(config.iter().flat_map(unavailable));
                found.sort_by_key(|diagnostic| diagnostic.place);
                Err(found)
            }
        }
    }
}
