//! What is said about a configuration file, and where.

use std::{fmt, sync::Arc};

/// A place in a file, both parts counted from 1, columns in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub line: u32,
    pub column: u32,
}

impl Place {
    pub fn new(line: u32, column: u32) -> Self {
        Self { line, column }
    }

    /// The place `characters` further on the same line.
    pub fn after(self, characters: usize) -> Self {
        let characters = u32::try_from(characters).unwrap_or(u32::MAX);
        Self { column: self.column.saturating_add(characters), ..self }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but something in it is probably not what was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// The text of a file with its name, kept so that whoever finds a mistake later can show the line. Cheap to
/// clone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SourceFile {
    name: Arc<str>,
    text: Arc<str>,
}

impl SourceFile {
    pub fn new(name: &str, text: &str) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// The line of that number, counted from 1, without its end; empty if there is none.
    pub fn line(&self, number: u32) -> &str {
        let index = usize::try_from(number).unwrap_or(usize::MAX).saturating_sub(1);
        self.text.lines().nth(index).unwrap_or_default()
    }

    /// An error at `place`, about the setting at `path` (`projections.orders.ordering`).
    pub fn error(&self, place: Place, path: impl Into<String>, message: impl Into<String>) -> Diagnostic {
        self.diagnostic(Severity::Error, place, path.into(), message.into())
    }

    pub fn warning(&self, place: Place, path: impl Into<String>, message: impl Into<String>) -> Diagnostic {
        self.diagnostic(Severity::Warning, place, path.into(), message.into())
    }

    fn diagnostic(&self, severity: Severity, place: Place, path: String, message: String) -> Diagnostic {
        let line = self.line(place.line).to_owned();
        Diagnostic { severity, file: self.name.clone(), place, path, message, help: None, line }
    }
}

/// The name alone: a whole file is no help in a debug print.
impl fmt::Debug for SourceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceFile({})", self.name)
    }
}

/// One thing that is wrong with a file: where, what, and what to do about it. Made by [`SourceFile::error`].
///
/// `Display` shows all of it over several lines, without a newline at the end:
/// ```text
/// error: unknown ordering `per_steam`
///   --> foldstream.yaml:12:15, at projections.orders.ordering
///    |
/// 12 |     ordering: per_steam
///    |               ^
///    = help: did you mean `per_stream`?
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    pub file: Arc<str>,
    pub place: Place,
    /// The setting, as a path from the top of the file; empty for the file as a whole.
    pub path: String,
    pub message: String,
    /// What to do, if that is known.
    pub help: Option<String>,
    line: String,
}

impl Diagnostic {
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The line of the file that is meant, as it stands there.
    pub fn source_line(&self) -> &str {
        &self.line
    }
}

impl std::error::Error for Diagnostic {}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.place.line.to_string();
        let margin = " ".repeat(number.len());
        writeln!(f, "{}: {}", self.severity, self.message)?;
        write!(f, "{margin}--> {}:{}", self.file, self.place)?;
        if !self.path.is_empty() {
            write!(f, ", at {}", self.path)?;
        }
        if !self.line.trim().is_empty() {
            write!(
                f,
                "\n{margin} |\n{number} | {}\n{margin} | {}^",
                self.line,
                caret_indent(&self.line, self.place)
            )?;
        }
        match &self.help {
            Some(help) => write!(f, "\n{margin} = help: {help}"),
            None => Ok(()),
        }
    }
}

/// Blanks up to the column, tabs kept as tabs so that the caret stands below its character.
fn caret_indent(line: &str, place: Place) -> String {
    let before = usize::try_from(place.column).unwrap_or(usize::MAX).saturating_sub(1);
    line.chars().take(before).map(|c| if c == '\t' { '\t' } else { ' ' }).collect()
}

/// The candidate that was probably meant by `written`, if any is near enough.
pub fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_lowercase();
    let limit = (written.chars().count() / 3).max(2);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&written, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= limit && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnostic_shows_file_line_column_the_line_with_a_caret_and_the_help() {
        let file = SourceFile::new("foldstream.yaml", "a: 1\nprojections:\n\tordering: per_steam\n");
        let found = file
            .error(Place::new(3, 12), "projections.orders.ordering", "unknown ordering `per_steam`")
            .with_help("did you mean `per_stream`?");
        assert_eq!(
            found.to_string(),
            "error: unknown ordering `per_steam`\n \
             --> foldstream.yaml:3:12, at projections.orders.ordering\n  \
             |\n3 | \tordering: per_steam\n  | \t          ^\n  = help: did you mean `per_stream`?"
        );
    }

    #[test]
    fn the_nearest_name_is_suggested_only_when_it_is_near() {
        assert_eq!(nearest("per_steam", ["global", "per_stream"]), Some("per_stream"));
        assert_eq!(nearest("Per_Stream", ["global", "per_stream"]), Some("per_stream"));
        assert_eq!(nearest("banana", ["global", "per_stream"]), None);
        assert_eq!(nearest("b", ["a"]), None);
    }
}
