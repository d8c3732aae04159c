use foldstream_model::{Map, Value};
use serde_json::json;
use similar::{ChangeTag, TextDiff};

use crate::{
    commands::Context,
    exit::Outcome,
    output::printable,
    testing::{Failure, Outcome as Tested},
};

/// A line for a test that passed; all that was otherwise than expected for one that failed.
pub fn outcome(tested: &Tested, context: &mut Context) -> Outcome<()> {
    if context.output.is_json() {
        let failures: Vec<_> = tested.failures.iter().map(as_json).collect();
        let object = json!({
            "test": tested.test,
            "line": tested.place.line,
            "passed": failures.is_empty(),
            "failures": failures,
        });
        return Ok(context.output.object(&object)?);
    }
    if tested.failures.is_empty() {
        return Ok(context.output.line(format!("ok    {}", printable(&tested.test)))?);
    }
    let file = context.global.config.display().to_string();
    context.output.line(format!("FAIL  {} ({file}:{})", printable(&tested.test), tested.place.line))?;
    for failure in &tested.failures {
        for line in lines(failure) {
            context.output.line(format!("      {}", printable(&line)).trim_end())?;
        }
    }
    Ok(())
}

fn lines(failure: &Failure) -> Vec<String> {
    match failure {
        Failure::Document { document, expected: Some(_), actual: None, .. } => {
            vec![format!("{document}: it was expected, and there is no such document")]
        }
        Failure::Document { document, expected: None, actual, .. } => {
            let mut lines = vec![format!("{document}: it was expected not to be there, and is")];
            lines.extend(actual.iter().flat_map(pretty).map(|line| format!("+ {line}")));
            lines
        }
        Failure::Document { document, expected: Some(expected), actual: Some(actual), .. } => {
            let mut lines = vec![format!("{document}: (- expected, + is)")];
            lines.extend(diff(expected, &only_expected(expected, actual)));
            lines
        }
        Failure::Poison { document, event, error } => {
            vec![format!("{document}: stopped by event {event}"), format!("  {error}")]
        }
        Failure::NotParked { document, .. } => {
            vec![format!("{document}: it was expected to be parked, and is not")]
        }
    }
}

/// The fields that are spoken of: what else a document holds is not the test's concern.
fn only_expected(expected: &Map, actual: &Map) -> Map {
    let spoken_of = actual.iter().filter(|(field, _)| expected.contains_key(*field));
    spoken_of.map(|(field, value)| (field.clone(), value.clone())).collect()
}

fn diff(expected: &Map, actual: &Map) -> Vec<String> {
    let present = expected.iter().filter(|(_, value)| !value.is_null());
    let expected: Map = present.map(|(field, value)| (field.clone(), value.clone())).collect();
    let (old, new) = (pretty(&expected).join("\n") + "\n", pretty(actual).join("\n") + "\n");
    let compared = TextDiff::from_lines(&old, &new);
    let changes = compared.iter_all_changes().map(|change| {
        let sign = match change.tag() {
            ChangeTag::Equal => ' ',
            ChangeTag::Delete => '-',
            ChangeTag::Insert => '+',
        };
        format!("{sign} {}", change.value().trim_end_matches('\n'))
    });
    changes.collect()
}

/// One field a line, with a comma after each, so that only what differs differs.
fn pretty(fields: &Map) -> Vec<String> {
    let text = serde_json::to_string_pretty(&Value::from(fields.clone())).unwrap_or_default();
    let lines =
        text.lines().map(|line| match line.ends_with(['{', '[', ',']) || matches!(line, "{" | "}" | "{}") {
            true => line.to_owned(),
            false => format!("{line},"),
        });
    lines.collect()
}

fn as_json(failure: &Failure) -> serde_json::Value {
    match failure {
        Failure::Document { document, place, expected, actual } => json!({
            "document": document,
            "line": place.line,
            "expected": expected.clone().map(Value::from),
            "actual": actual.clone().map(Value::from),
        }),
        Failure::Poison { document, event, error } => {
            json!({"document": document, "event": event, "error": error})
        }
        Failure::NotParked { document, place } => {
            json!({"document": document, "line": place.line, "error": "not parked"})
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(json: &str) -> Map {
        Value::parse(json.as_bytes()).unwrap().as_map().unwrap().clone()
    }

    #[test]
    fn a_diff_shows_only_fields_that_are_spoken_of() {
        let (expected, actual) = (map(r#"{"a":1,"b":2,"gone":null}"#), map(r#"{"a":1,"b":3,"c":4}"#));
        let lines = diff(&expected, &only_expected(&expected, &actual));
        assert_eq!(lines, ["  {", "    \"a\": 1,", "-   \"b\": 2,", "+   \"b\": 3,", "  }"]);
    }
}
