use std::collections::BTreeMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span};

use super::{
    node::{Key, Kind, Node},
    traps::{Trap, first_trap},
};
use crate::diagnostic::{Diagnostic, Place, SourceFile};

/// Deeper nesting than any setting needs; what recurses over the tree relies on it.
const DEEPEST: usize = 48;

/// Each trap costs another reading of the file.
const MOST_TRAPS: usize = 100;

/// The tree of a file, as far as there is one, and everything that is wrong with it as YAML.
pub(crate) fn parse(file: &SourceFile) -> (Option<Node>, Vec<Diagnostic>) {
    let original: Vec<char> = file.text().chars().collect();
    let mut text = original.clone();
    let mut found = Vec::new();
    loop {
        let masked: String = text.iter().collect();
        let (events, error) = scan(&masked);
        if let Some(trap) = first_trap(&text, &events).filter(|_| found.len() < MOST_TRAPS) {
            found.push(explain(file, &original, &trap));
            // The whole of it is made harmless without moving anything, so that later mistakes are found at
            // their places.
            mask(&mut text, &trap);
            continue;
        }
        if let Some(error) = error {
            found.push(syntax_error(file, &error));
            return (None, found);
        }
        let mut builder = Builder { file, text: &original, found, open: Vec::new(), root: None };
        for (event, span) in events {
            if !builder.take(event, span) {
                break;
            }
        }
        return (builder.root, builder.found);
    }
}

fn scan(text: &str) -> (Vec<(Event<'_>, Span)>, Option<ScanError>) {
    let mut events = Vec::new();
    for event in Parser::new_from_str(text) {
        match event {
            Ok(event) => events.push(event),
            Err(error) => return (events, Some(error)),
        }
    }
    (events, None)
}

fn mask(text: &mut [char], trap: &Trap) {
    for c in text.iter_mut().take(trap.end).skip(trap.start).filter(|c| !c.is_whitespace()) {
        *c = '_';
    }
}

fn explain(file: &SourceFile, text: &[char], trap: &Trap) -> Diagnostic {
    let place = place_of_index(text, trap.cut);
    let (subject, example) = if trap.is_expression {
        ("this unquoted expression", "`\"=…\"`, or `'=…'` where the expression itself has double quotes")
    } else {
        ("this unquoted text", "`\"${NAME}\"`")
    };
    file.error(place, "", format!("YAML ends {subject} at {}", trap.cause))
        .with_help(format!("put all of it in quotes: {example}"))
}

fn place_of_index(text: &[char], index: usize) -> Place {
    let before = text.get(..index).unwrap_or(text);
    let line = before.iter().filter(|c| **c == '\n').count() + 1;
    let column = before.iter().rev().take_while(|c| **c != '\n').count() + 1;
    Place::new(u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
}

fn syntax_error(file: &SourceFile, error: &ScanError) -> Diagnostic {
    if let Some(tab) = tab(file.text(), error) {
        let place = place_of_index(&file.text().chars().collect::<Vec<_>>(), tab);
        return file
            .error(place, "", "a tab; YAML wants spaces")
            .with_help("replace each tab by spaces; a text that holds one belongs in quotes");
    }
    let place = place(error.marker());
    let found = file.error(place, "", format!("this is not YAML: {}", error.info()));
    if error.info().contains("mapping values are not allowed") {
        found.with_help(
            "a text with a colon followed by a blank needs quotes; else check the indentation of this line",
        )
    } else {
        found.with_help("look for a missing quote, bracket or comma here or on the lines above")
    }
}

/// The index of the tab that an error is about: in the indentation of its line, at its place or before it, or, where
/// the error says so, the next one.
fn tab(text: &str, error: &ScanError) -> Option<usize> {
    let marker = error.marker();
    let line: Vec<char> = text.split('\n').nth(marker.line().saturating_sub(1))?.chars().collect();
    let begin = marker.index().saturating_sub(marker.col());
    let indentation = line.iter().take_while(|c| matches!(c, ' ' | '\t' | '-'));
    if let Some(column) = indentation.into_iter().position(|c| *c == '\t') {
        return Some(begin + column);
    }
    let from = marker.index().saturating_sub(1);
    let next = text.chars().skip(from).position(|c| c == '\t')?;
    (next < 2 || error.info().contains("tab")).then_some(from + next)
}

fn place(marker: &Marker) -> Place {
    let to_u32 = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Place::new(to_u32(marker.line()), to_u32(marker.col()).saturating_add(1))
}

/// A collection that has begun and not ended.
struct Open {
    place: Place,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<(Key, Node)>, seen: BTreeMap<String, Place>, slot: Slot },
}

/// What a mapping waits for.
enum Slot {
    Key,
    ValueOf(Key),
    /// The value of a key that was refused.
    Nothing,
}

struct Builder<'a> {
    file: &'a SourceFile,
    text: &'a [char],
    found: Vec<Diagnostic>,
    open: Vec<Open>,
    root: Option<Node>,
}

impl Builder<'_> {
    /// Whether to go on.
    fn take(&mut self, event: Event<'_>, span: Span) -> bool {
        let place = place(&span.start);
        match event {
            Event::DocumentStart(_) if self.root.is_some() => {
                self.error(
                    place,
                    "a second YAML document begins here",
                    "keep everything in one document, without `---`",
                );
                return false;
            }
            Event::Alias(_) => {
                self.error(place, "aliases (`*name`) are not supported", "write the value out");
                self.add(null(place));
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_decoration(place, anchor, tag.is_some());
                let node = self.scalar(&text, style, &span);
                self.add(node);
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_decoration(place, anchor, tag.is_some());
                return self.begin(place, Content::List(Vec::new()));
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_decoration(place, anchor, tag.is_some());
                let content = Content::Map { entries: Vec::new(), seen: BTreeMap::new(), slot: Slot::Key };
                return self.begin(place, content);
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => {}
        }
        true
    }

    fn error(&mut self, place: Place, message: &str, help: &str) {
        self.found.push(self.file.error(place, "", message).with_help(help));
    }

    fn refuse_decoration(&mut self, place: Place, anchor: usize, tagged: bool) {
        if anchor != 0 {
            self.error(
                place,
                "anchors (`&name`) are not supported",
                "remove the anchor; write the value out where needed",
            );
        }
        if tagged {
            self.error(
                place,
                "tags (`!name`) are not supported",
                "remove the tag; put a text that begins with `!` in quotes",
            );
        }
    }

    fn begin(&mut self, place: Place, content: Content) -> bool {
        if self.open.len() >= DEEPEST {
            self.error(place, "this is nested too deeply", "48 levels are the most that is read");
            return false;
        }
        self.open.push(Open { place, content });
        true
    }

    fn end(&mut self) {
        let Some(Open { place, content }) = self.open.pop() else { return };
        let kind = match content {
            Content::List(items) => Kind::List(items),
            Content::Map { entries, .. } => Kind::Map(entries),
        };
        self.add(Node { place, kind });
    }

    fn scalar(&self, text: &str, style: ScalarStyle, span: &Span) -> Node {
        let quoted = matches!(style, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted);
        let begin = span.start.index() + usize::from(quoted);
        // A block of one line ends with a line break that no expression is about.
        let line = text.strip_suffix('\n').unwrap_or(text);
        let verbatim = line.chars().enumerate().all(|(at, c)| self.text.get(begin + at) == Some(&c));
        let place = place(&span.start);
        let content = place.after(usize::from(quoted));
        let plain = style == ScalarStyle::Plain;
        let verbatim = verbatim && !line.contains('\n');
        Node { place, kind: Kind::Scalar { text: text.to_owned(), plain, content, verbatim } }
    }

    /// Puts a finished node where it belongs: a key, the value of a key, an element, or the root.
    fn add(&mut self, node: Node) {
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { entries, seen, slot }) => match std::mem::replace(slot, Slot::Key) {
                Slot::ValueOf(key) => entries.push((key, node)),
                Slot::Nothing => {}
                Slot::Key => match read_key(node, seen) {
                    Ok(key) => *slot = Slot::ValueOf(key),
                    Err(problem) => {
                        *slot = Slot::Nothing;
                        self.error(problem.place, &problem.message, problem.help);
                    }
                },
            },
        }
    }
}

struct Problem {
    place: Place,
    message: String,
    help: &'static str,
}

/// A node as a key that is not yet in `seen`.
fn read_key(node: Node, seen: &mut BTreeMap<String, Place>) -> Result<Key, Problem> {
    let place = node.place;
    let refuse = |message: String, help| Err(Problem { place, message, help });
    let Kind::Scalar { text, plain, .. } = node.kind else {
        return refuse(
            "a key must be a text".to_owned(),
            "keys that are lists or mappings are not supported",
        );
    };
    if text.is_empty() && plain {
        return refuse("a key is missing here".to_owned(), "write `name: value`");
    }
    if text.replace("$${", "").contains("${") {
        let help = "the environment is read in values only; write `$${` for the two characters themselves";
        return refuse("a key cannot come from the environment".to_owned(), help);
    }
    let text = text.replace("$${", "${");
    match seen.insert(text.clone(), place) {
        None => Ok(Key { text, place }),
        Some(first) => {
            refuse(format!("`{text}` was already given on line {}", first.line), "keep one of the two")
        }
    }
}

fn null(place: Place) -> Node {
    Node { place, kind: Kind::Scalar { text: String::new(), plain: true, content: place, verbatim: true } }
}
