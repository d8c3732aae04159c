use foldstream_config::{Diagnostic, Place, SourceFile};

/// What a compilation carries: where it is in the file, and what it has found.
pub(super) struct Report {
    file: SourceFile,
    path: Vec<String>,
    found: Vec<Diagnostic>,
}

impl Report {
    pub(super) fn new(file: SourceFile) -> Report {
        Report { file, path: Vec::new(), found: Vec::new() }
    }

    /// All that was found, in the order of the lines.
    pub(super) fn into_found(mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|diagnostic| diagnostic.place);
        self.found
    }

    /// Runs `compile` one step further down the settings: at a field, or at `[0]`.
    pub(super) fn at<R>(&mut self, step: &str, compile: impl FnOnce(&mut Report) -> R) -> R {
        let separator = if self.path.is_empty() || step.starts_with('[') { "" } else { "." };
        self.path.push(format!("{separator}{step}"));
        let result = compile(self);
        self.path.pop();
        result
    }

    pub(super) fn error(&mut self, place: Place, message: impl Into<String>, help: Option<String>) {
        let found = self.file.error(place, self.path.concat(), message);
        self.found.push(match help {
            Some(help) => found.with_help(help),
            None => found,
        });
    }

    /// A label for errors of the running projection: `projection=orders handler=foldstream.yaml:52`.
    pub(super) fn label(&self, owner: &str, part: &str, place: Place) -> String {
        format!("{owner} {part}={}:{}", self.file.name(), place.line)
    }
}
