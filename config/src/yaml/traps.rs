//! Where YAML ends an unquoted text that its writer did not mean to end there.
//!
//! Inside `{ }` and `[ ]` YAML ends such a text at a comma or a bracket, everywhere at `: ` and at ` #`. An
//! expression may hold all of these. So for each unquoted expression the end that YAML found is compared with
//! the end that its quotes and brackets ask for.

use saphyr_parser::{Event, ScalarStyle, Span};

/// A text that YAML has cut.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Trap {
    /// Index (in characters) of the first character behind the `=` or the `$`.
    pub start: usize,
    /// Index of the first character that is cut off, blanks aside.
    pub cut: usize,
    /// Index after the last character that was probably meant to belong to the text.
    pub end: usize,
    /// What cut it.
    pub cause: &'static str,
    pub is_expression: bool,
}

/// The first trap among the events of a text.
pub(super) fn first_trap(text: &[char], events: &[(Event<'_>, Span)]) -> Option<Trap> {
    let mut in_flow = Vec::new();
    for (event, span) in events {
        match event {
            Event::MappingStart(..) | Event::SequenceStart(..) => in_flow.push(!span.is_empty()),
            Event::MappingEnd | Event::SequenceEnd => {
                in_flow.pop();
            }
            Event::Scalar(value, ScalarStyle::Plain, ..) => {
                let flow = in_flow.last().copied().unwrap_or(false);
                let trap = if value.starts_with('=') && !value.starts_with("==") {
                    cut_expression(text, span, flow)
                } else {
                    cut_variable(text, span, flow)
                };
                if trap.is_some() {
                    return trap;
                }
            }
            _ => {}
        }
    }
    None
}

fn cut_expression(text: &[char], span: &Span, flow: bool) -> Option<Trap> {
    let end = intended_end(text, span.start.index(), span.end.index(), flow);
    let cut = first_visible(text, span.end.index(), end)?;
    let cause = match text.get(cut)? {
        ',' => "a comma",
        '[' | ']' => "a square bracket",
        '{' if text.get(cut.wrapping_sub(1)) == Some(&'$') => "`${`",
        '{' | '}' => "a curly bracket",
        ':' => "a colon followed by a blank",
        '#' => "` #`, which begins a comment",
        _ => "a line break",
    };
    Some(Trap { start: span.start.index() + 1, cut, end, cause, is_expression: true })
}

/// `${NAME}` in `{ }`, which YAML ends before the bracket.
fn cut_variable(text: &[char], span: &Span, flow: bool) -> Option<Trap> {
    let cut = span.end.index();
    let ends_in_dollar = text.get(cut.checked_sub(1)?) == Some(&'$') && text.get(cut) == Some(&'{');
    if !flow || !ends_in_dollar {
        return None;
    }
    let rest = text.get(cut..)?.iter().take_while(|c| **c != '\n');
    let length = rest.clone().position(|c| *c == '}').map_or(rest.count(), |closing| closing + 1);
    Some(Trap { start: cut, cut, end: cut + length, cause: "`${`", is_expression: false })
}

/// Follows quotes and brackets from `start`. A line break ends the text unless YAML itself has read on past
/// it.
fn intended_end(text: &[char], start: usize, read_to: usize, flow: bool) -> usize {
    let mut depth = 0_usize;
    let mut quote: Option<char> = None;
    let mut index = start;
    while let Some(&c) = text.get(index) {
        let before = text.get(index.wrapping_sub(1)).copied();
        match (quote, c) {
            (_, '\n' | '\r') if index >= read_to => break,
            (Some(_), '\\') => index += 1,
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '#') if before.is_some_and(char::is_whitespace) => break,
            (None, ',') if flow && depth == 0 => break,
            (None, '}' | ']') if flow && depth == 0 => break,
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
        index += 1;
    }
    index.min(text.len())
}

fn first_visible(text: &[char], from: usize, to: usize) -> Option<usize> {
    (from..to).find(|index| text.get(*index).is_some_and(|c| !c.is_whitespace()))
}
