//! What a field's name says about the part of an event that it may hold.

use foldstream_model::Path;

use super::{part::Part, vocabulary::well_known};

/// The score of a name that only resembles those of a part.
pub(super) const RESEMBLES: i32 = 30;

/// How much the name of this field speaks for this part; 0 if not at all. Deeper fields count a little less.
/// `is_tagged`: the last name may be a type of DynamoDB's JSON.
pub(super) fn score(part: Part, path: &Path, is_tagged: bool) -> i32 {
    let names: Vec<&str> = path.names().iter().map(|name| &**name).collect();
    let names = if is_tagged { without_type_tag(&names) } else { names.as_slice() };
    let Some((last, parents)) = names.split_last() else { return 0 };
    let own = words(last);
    let with_parent = parents.last().map(|parent| [words(parent), own.clone()].concat());
    let best = [Some(own), with_parent].into_iter().flatten().map(|words| score_words(part, &words)).max();
    let depth = i32::try_from(parents.len()).unwrap_or(i32::MAX);
    match best.unwrap_or(0) {
        0 => 0,
        best => (best - 5 * depth).max(1),
    }
}

/// Whether `inner` is `outer` and a type of DynamoDB's JSON behind it.
pub(super) fn is_tagged(outer: &Path, inner: &Path) -> bool {
    let tags = ["S", "N", "M"];
    let behind = inner.names().strip_prefix(outer.names());
    matches!(behind, Some([tag]) if tags.contains(&&**tag))
}

fn without_type_tag<'a, 'b>(names: &'b [&'a str]) -> &'b [&'a str] {
    match names {
        [before @ .., "S" | "N" | "M"] if !before.is_empty() => before,
        _ => names,
    }
}

fn score_words(part: Part, words: &[String]) -> i32 {
    let joined = words.concat();
    let known = well_known(part).iter().find(|(_, names)| names.contains(&joined.as_str()));
    if let Some((score, _)) = known {
        return *score;
    }
    if resembles(part, words) { RESEMBLES } else { 0 }
}

fn resembles(part: Part, words: &[String]) -> bool {
    let is = |word: Option<&String>, list: &[&str]| word.is_some_and(|word| list.contains(&word.as_str()));
    let has = |list: &[&str]| words.iter().any(|word| list.contains(&word.as_str()));
    let several = words.len() > 1;
    match part {
        Part::StreamId => {
            let of_something_else = [
                "event",
                "message",
                "correlation",
                "causation",
                "request",
                "trace",
                "span",
                "command",
                "transaction",
                "schema",
                "parent",
                "previous",
                "tenant",
                "actor",
                "created",
                "updated",
            ];
            several && is(words.last(), &["id", "uuid", "guid", "key", "ref"]) && !has(&of_something_else)
        }
        Part::Sequence => {
            let numbers =
                ["seq", "sequence", "version", "revision", "position", "offset", "number", "nr", "index"];
            has(&numbers) && !has(&["schema", "event", "type", "data", "spec", "payload", "api", "app"])
        }
        Part::Type => {
            let of_something_else =
                ["aggregate", "stream", "entity", "content", "source", "schema", "mime", "media"];
            several
                && is(words.last(), &["type", "name", "kind", "class", "manifest"])
                && has(&["event", "evt", "msg", "message", "domain"])
                && !has(&of_something_else)
        }
        Part::RecordedAt => {
            several && is(words.last(), &["at", "time", "timestamp", "ts", "on", "date", "utc"])
        }
        Part::Payload => is(words.last(), &["payload", "data", "body"]) && !has(&["meta"]),
        Part::Metadata => has(&["metadata", "meta", "headers"]),
        Part::Id | Part::SchemaVersion | Part::EffectiveAt => false,
    }
}

/// Whether a name of several words ends like that of something that has happened.
pub(super) fn is_in_past_tense(name: &str) -> bool {
    const IRREGULAR: [&str; 16] = [
        "sent", "paid", "made", "set", "done", "lost", "won", "left", "begun", "taken", "given", "written",
        "drawn", "sold", "bought", "built",
    ];
    let words = words(name);
    let last = words.last().map(String::as_str).unwrap_or_default();
    words.len() > 1
        && !name.contains(char::is_whitespace)
        && (last.ends_with("ed") || IRREGULAR.contains(&last))
}

/// The words of a name, in lower case: `aggregateId`, `aggregate_id`, `AggregateID` and `aggregate-id` are
/// all `aggregate` and `id`.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let characters: Vec<char> = name.chars().collect();
    let mut in_word = false;
    for (index, c) in characters.iter().enumerate() {
        if !c.is_alphanumeric() {
            in_word = false;
            continue;
        }
        let after = index.checked_sub(1).and_then(|before| characters.get(before)).copied();
        let next_is_lower = characters.get(index + 1).is_some_and(|next| next.is_lowercase());
        let begins = c.is_uppercase() && (after.is_some_and(|a| !a.is_uppercase()) || next_is_lower);
        match words.last_mut() {
            Some(word) if in_word && !begins => word.extend(c.to_lowercase()),
            _ => words.push(c.to_lowercase().collect()),
        }
        in_word = true;
    }
    words
}
