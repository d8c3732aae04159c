use super::environment::Environment;
use crate::diagnostic::{Diagnostic, Place, SourceFile};

/// What a reading carries through the tree: where it is, and what it has found.
pub(super) struct Reader<'a> {
    pub file: SourceFile,
    pub environment: Environment<'a>,
    path: Vec<String>,
    found: Vec<Diagnostic>,
}

impl<'a> Reader<'a> {
    pub fn new(file: SourceFile, environment: Environment<'a>, found: Vec<Diagnostic>) -> Self {
        Self { file, environment, path: Vec::new(), found }
    }

    pub fn into_found(self) -> Vec<Diagnostic> {
        self.found
    }

    /// There is no tree: if nothing says why, then there is no text either.
    pub fn refuse_empty(&mut self) {
        if self.found.is_empty() {
            self.error(Place::new(1, 1), "the file is empty", "begin with `config_version: 1`");
        }
    }

    /// Runs `read` one step further down: at a field.
    pub fn at<R>(&mut self, field: &str, read: impl FnOnce(&mut Self) -> R) -> R {
        let step = if self.path.is_empty() { field.to_owned() } else { format!(".{field}") };
        self.below(step, read)
    }

    /// Runs `read` one step further down: at an element of a list, counted from 0.
    pub fn at_index<R>(&mut self, index: usize, read: impl FnOnce(&mut Self) -> R) -> R {
        self.below(format!("[{index}]"), read)
    }

    fn below<R>(&mut self, step: String, read: impl FnOnce(&mut Self) -> R) -> R {
        self.path.push(step);
        let result = read(self);
        self.path.pop();
        result
    }

    pub fn error(&mut self, place: Place, message: impl Into<String>, help: impl Into<String>) {
        let found = self.file.error(place, self.path.concat(), message).with_help(help);
        self.found.push(found);
    }
}
