//! The text of the file.

use std::fmt::Write;

use foldstream_model::Path;

use super::{
    mapping::{Guess, Guesses, count},
    part::Part,
    read_model::{Counter, Field, ReadModel},
    sample_test,
    sampled::{Sampled, out_of_order},
    yaml_text,
};

/// Where an explanation begins, if the line is not longer.
const COMMENT_COLUMN: usize = 52;

pub(super) fn write(guesses: &Guesses, events: &[Sampled], sampled: usize) -> String {
    let model = ReadModel::of(guesses, events);
    let mut text = format!(
        "# A start, guessed from {}. What was guessed is said beside it: check it, then make it yours.\n\
         config_version: 1\n\nsources:\n  events:\n    kind: local\n    # Where the parts of an event are found in a line.\n    \
         event:\n",
        count(sampled, "event")
    );
    for part in Part::ALL {
        if let Some(guess) = guesses.get(part) {
            let line = format!("      {}: {}", part.name(), part_text(part, guess));
            push_explained(&mut text, &line, &guess.why);
        } else if let Some(why) = guesses.absent.get(&part) {
            text.push_str(&format!("      # {}: {why}\n", part.name()));
        }
    }
    push_disorder(&mut text, out_of_order(events));
    if !guesses.left_out.is_empty() {
        let names: Vec<String> =
            guesses.left_out.iter().map(|name| name.escape_debug().to_string()).collect();
        text.push_str(&format!(
            "      # Not taken: {}. To keep them all, write payload: \"*\".\n",
            names.join(", ")
        ));
    }
    text.push_str("    # Every type of the sample.\n    types:\n");
    for event_type in &model.types {
        let number = events.iter().filter(|event| event.event_type == *event_type).count();
        push_explained(
            &mut text,
            &format!("      - {}", yaml_text::data(event_type)),
            &count(number, "event"),
        );
    }
    write_projection(&mut text, &model);
    if let Some(test) = sample_test::write(&model, events) {
        text.push_str("\n# `foldstream test` runs these: the events that are given must come to the documents that are expected.\n");
        text.push_str(&test);
    }
    text
}

/// What an import makes of lines that are not in the order of their sequences.
fn push_disorder(text: &mut String, out_of_order: usize) {
    if out_of_order > 0 {
        text.push_str(&format!(
            "      # Out of order: {} of the sample, behind a later one of the same stream. `events import` refuses a line\n      \
             # whose predecessor it has not seen: sort the file by sequence, or import it again until none is refused.\n",
            count(out_of_order, "line"),
        ));
    }
}

fn push_explained(text: &mut String, line: &str, why: &str) {
    let width = COMMENT_COLUMN.saturating_sub(1);
    text.push_str(&format!("{line:<width$} # {why}\n"));
}

fn part_text(part: Part, guess: &Guess) -> String {
    let from =
        guess.path.as_ref().map_or_else(|| yaml_text::text("*"), |path| yaml_text::text(&field_text(path)));
    let mut fields = vec![format!("from: {from}")];
    if let Some(prefix) = &guess.strip_prefix {
        fields.push(format!("strip_prefix: {}", yaml_text::data(prefix)));
    }
    if part == Part::Sequence && guess.first != 1 {
        fields.push(format!("first: {}", guess.first));
    }
    if guess.is_json {
        fields.push("encoding: json".to_owned());
    }
    if part == Part::SchemaVersion {
        fields.push("default: 1".to_owned());
    }
    if fields.len() == 1 { from } else { format!("{{ {} }}", fields.join(", ")) }
}

/// A path as the file has it: a dot inside a name is `\.`, and nothing of it is an expression.
fn field_text(path: &Path) -> String {
    let names: Vec<String> = path
        .names()
        .iter()
        .map(|name| name.replace('\\', "\\\\").replace('.', "\\.").replace("${", "$${"))
        .collect();
    let joined = names.join(".");
    if joined.starts_with('=') { format!("={joined}") } else { joined }
}

fn write_projection(text: &mut String, model: &ReadModel) {
    let _ = write!(
        text,
        "\nprojections:\n  # A document for each stream, with what its events said last.\n  {}:\n    version: 1\n    \
         source: events\n    ordering: per_stream\n    handlers:\n",
        model.name
    );
    if !model.counters.is_empty() {
        write_counters(text, model);
    }
    for event_type in &model.types {
        let fields = model.fields.get(event_type).map(Vec::as_slice).unwrap_or_default();
        if !fields.is_empty() {
            write_handler(text, event_type, fields);
        }
        for name in model.not_set.get(event_type).into_iter().flatten() {
            text.push_str(&format!(
                "      # Not set by {}: {}, which holds a number beyond what a document can.\n",
                event_type.escape_debug(),
                name.escape_debug()
            ));
        }
    }
}

fn write_counters(text: &mut String, model: &ReadModel) {
    let types: Vec<String> = model.types.iter().map(|event_type| yaml_text::data(event_type)).collect();
    text.push_str(&format!("      - event: [{}]\n        key: =event.stream_id\n", types.join(", ")));
    if model.counters.contains(&Counter::Events) {
        text.push_str(&format!("        add: {{ {}: 1 }}\n", Counter::Events.field()));
    }
    let sets: Vec<String> = [(Counter::LastType, "=event.type"), (Counter::LastAt, "=event.recorded_at")]
        .into_iter()
        .filter(|(counter, _)| model.counters.contains(counter))
        .map(|(counter, value)| format!("{}: {value}", counter.field()))
        .collect();
    if !sets.is_empty() {
        text.push_str(&format!("        set: {{ {} }}\n", sets.join(", ")));
    }
}

fn write_handler(text: &mut String, event_type: &str, fields: &[Field]) {
    let event_type = yaml_text::data(event_type);
    text.push_str(&format!("      - event: {event_type}\n        key: =event.stream_id\n        set:\n"));
    for field in fields {
        let value = access("payload", &field.source);
        let value = match field.is_optional {
            true => format!("coalesce({value}, {})", access("document", &field.target)),
            false => value,
        };
        text.push_str(&format!(
            "          {}: {}\n",
            yaml_text::key(&field.target),
            yaml_text::expression(&value)
        ));
    }
}

/// A field of a map as an expression has it: `payload.total`, `payload["unit price"]`.
fn access(map: &str, field: &str) -> String {
    const RESERVED: [&str; 20] = [
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
        "true",
        "false",
    ];
    let is_name = field.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && field.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !RESERVED.contains(&field)
        && field != "null";
    if is_name {
        return format!("{map}.{field}");
    }
    let escaped: String = field
        .replace("${", "$${")
        .chars()
        .map(|c| match c {
            '"' => "\\\"".to_owned(),
            '\\' => "\\\\".to_owned(),
            c if c.is_control() => format!("\\u{:04x}", u32::from(c)),
            c => c.to_string(),
        })
        .collect();
    format!("{map}[\"{escaped}\"]")
}
