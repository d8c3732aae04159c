//! What processes say, line by line.

use std::{fs, path::Path};

use jiff::Timestamp;
use serde_json::Value;

/// A line of what a process said.
#[derive(Debug, Clone)]
pub struct Said {
    pub at: Timestamp,
    pub message: String,
    pub fields: Value,
}

impl Said {
    /// Whole lines only: the last one may be in the making.
    pub fn all(log: &Path) -> Vec<Self> {
        let text = fs::read_to_string(log).unwrap();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let said = lines.map(|line| Self {
            at: line["timestamp"].as_str().unwrap().parse().unwrap(),
            message: line["fields"]["message"].as_str().unwrap_or_default().to_owned(),
            fields: line["fields"].clone(),
        });
        said.collect()
    }
}
