//! From text to CEL's tree, with what went wrong in words.

use cel::common::ast::{IdedExpr, SourceInfo};
use cel::parser::{ParseError, Parser};

use super::MAX_LENGTH;
use super::lower::Mistake;

/// A text and where its nodes stand in it.
pub(super) struct Source<'t> {
    pub text: &'t str,
    info: SourceInfo,
}

impl<'t> Source<'t> {
    /// The text of a literal.
    pub(super) fn text_of(&self, id: u64) -> Option<&'t str> {
        let (start, stop) = self.info.offset_for(id)?;
        self.text.get(start as usize..=stop as usize)
    }

    /// Where a node stands, in characters from the beginning.
    pub(super) fn offset_of(&self, id: u64) -> usize {
        let start = self.info.offset_for(id).map_or(0, |(start, _)| start as usize);
        self.text.char_indices().take_while(|(index, _)| *index < start).count()
    }

    /// Where the name of a call stands, which the parser places at its bracket.
    pub(super) fn offset_of_call(&self, id: u64, name: &str) -> usize {
        let bracket = self.offset_of(id);
        let before: String = self.text.chars().take(bracket).collect();
        match before.trim_end().strip_suffix(name) {
            Some(before_name) => before_name.chars().count(),
            None => bracket,
        }
    }
}

pub(super) fn parse(text: &str) -> Result<(IdedExpr, Source<'_>), Vec<Mistake>> {
    if text.len() > MAX_LENGTH {
        let message = format!("the expression is {} bytes long, more than {MAX_LENGTH}", text.len());
        return Err(vec![Mistake { offset: 0, message, help: None }]);
    }
    if text.trim().is_empty() {
        let help = Some("write a value behind `=`, such as =payload.total".to_owned());
        return Err(vec![Mistake { offset: 0, message: "the expression is empty".to_owned(), help }]);
    }
    match Parser::new().enable_ident_escape_syntax(true).parse_with_source_info(text) {
        Ok((tree, info)) => Ok((tree, Source { text, info })),
        // What follows the first error is mostly its echo.
        Err(errors) => Err(errors.errors.into_iter().take(1).map(|error| mistake(text, &error)).collect()),
    }
}

fn mistake(text: &str, error: &ParseError) -> Mistake {
    let offset = offset(text, error.pos);
    let said = error.msg.trim_start_matches("Syntax error: ");
    let rest: String = text.chars().skip(offset).collect();
    let next = rest.trim_start().chars().take(12).collect::<String>();
    let help = help(said, &rest).or_else(|| next.is_empty().then(|| unfinished(text)).flatten());
    let message = if next.is_empty() {
        "the expression ends too early".to_owned()
    } else if said.contains("expecting") || said.contains("no viable") || said.contains("recognition") {
        format!("`{next}` cannot stand here")
    } else {
        said.to_owned()
    };
    Mistake { offset, message, help }
}

/// What an expression that ends too early was about to say.
fn unfinished(text: &str) -> Option<String> {
    let operators = ["==", "!=", "<=", ">=", "&&", "||", "+", "-", "*", "/", "<", ">", "!", "?", ":", ","];
    let text = text.trim_end();
    if text.ends_with('.') {
        return Some("a name belongs behind the dot".to_owned());
    }
    let operator = operators.into_iter().find(|operator| text.ends_with(operator))?;
    Some(format!("write what comes behind `{operator}`, or remove it"))
}

fn help(said: &str, rest: &str) -> Option<String> {
    let help = if rest.starts_with("=") {
        "equality is written `==`"
    } else if rest.starts_with(['\'', '"']) {
        "the string has no end"
    } else if said.contains("missing ')'") {
        "a `(` has no `)`"
    } else if said.starts_with("invalid int literal") {
        "write an integer of more than 18 digits as number(\"…\")"
    } else if rest.starts_with("and ") || rest.starts_with("or ") || rest.starts_with("not ") {
        "write `&&`, `||` and `!`"
    } else if rest.starts_with(|c: char| !c.is_ascii()) {
        "a name with other than English letters is written in backquotes behind a dot, payload.`größe`"
    } else {
        return None;
    };
    Some(help.to_owned())
}

/// The parser counts lines from 1 and columns in characters from 1.
fn offset(text: &str, (line, column): (isize, isize)) -> usize {
    let lines = usize::try_from(line).unwrap_or(0).saturating_sub(1);
    let before: usize = text.split_inclusive('\n').take(lines).map(|line| line.chars().count()).sum();
    before + usize::try_from(column).unwrap_or(0).saturating_sub(1)
}
