//! The units that DynamoDB says a request has taken, as it is asked to.

use serde_json::Value;

const UNITS: &[u8] = br#""ReturnConsumedCapacity":"TOTAL","#;

/// Makes a request ask for them.
pub fn ask_for(request: &mut Vec<u8>) {
    let head = head_length(request);
    if request[head..].starts_with(b"{\"") {
        let text = String::from_utf8_lossy(&request[..head]).into_owned();
        let lines = text.split_inclusive("\r\n").map(|line| match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                let length: usize = value.trim().parse().unwrap();
                format!("{name}: {}\r\n", length + UNITS.len())
            }
            _ => line.to_owned(),
        });
        let lines: String = lines.collect();
        request.splice(head + 1..head + 1, UNITS.iter().copied());
        request.splice(..head, lines.into_bytes());
    }
}

/// The units that an answer speaks of.
pub fn taken(answer: &[u8]) -> f64 {
    let body: Option<Value> = serde_json::from_slice(&answer[head_length(answer)..]).ok();
    let taken = body.as_ref().map_or(&Value::Null, |body| &body["ConsumedCapacity"]);
    let of = |taken: &Value| taken["CapacityUnits"].as_f64().unwrap_or_default();
    match taken {
        // A transaction says it by table.
        Value::Array(tables) => tables.iter().map(of).sum(),
        table => of(table),
    }
}

pub fn head_length(message: &[u8]) -> usize {
    message.windows(4).position(|four| four == b"\r\n\r\n").map_or(message.len(), |at| at + 4)
}
