//! Metrics as lines of the log from which CloudWatch makes metrics, without an agent: its embedded metric format.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
//!
//! One line has what alarms are about, each as one number under no dimension: the worst of all projections, sources and
//! shards. Which one that is, `foldstream status` and `/metrics` say.

use std::{collections::BTreeMap, fmt, str::FromStr};

use foldstream_model::Timestamp;
use foldstream_runtime::metrics::{FOR_ALARMS, Together};
use metrics::Unit;
use serde_json::{Map, Number, Value, json};

/// Under which metrics are found in CloudWatch, as in `Foldstream/shop`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace(String);

/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html>
const LONGEST: usize = 255;

impl FromStr for Namespace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || ".-_/#:".contains(c);
        match (1..=LONGEST).contains(&text.len()) && text.chars().all(is_allowed) && !text.starts_with("AWS/")
        {
            true => Ok(Self(text.to_owned())),
            false => Err(format!(
                "a namespace has 1 to {LONGEST} letters, digits and `.-_/#:`, and does not begin with `AWS/`, as in `Foldstream/shop`"
            )),
        }
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The line of what was measured, as the text that Prometheus scrapes; none where nothing was that alarms are about.
pub(super) fn line(namespace: &Namespace, rendered: &str, now: Timestamp) -> Option<String> {
    let values = values(rendered);
    let (mut told, mut line) = (Vec::new(), Map::new());
    for (name, unit, together) in &FOR_ALARMS {
        let Some(value) = values.get(name).and_then(|values| worst(values, *together)) else { continue };
        told.push(json!({ "Name": name, "Unit": self::unit(unit) }));
        line.insert((*name).to_owned(), Value::Number(value));
    }
    let directive = json!({ "Namespace": namespace.0, "Dimensions": [[]], "Metrics": told });
    let metadata = json!({ "Timestamp": now.micros() / 1_000, "CloudWatchMetrics": [directive] });
    line.insert("_aws".to_owned(), metadata);
    (!told.is_empty()).then(|| Value::Object(line).to_string())
}

/// By name, whatever the labels.
fn values(rendered: &str) -> BTreeMap<&str, Vec<f64>> {
    let mut values: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for line in rendered.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        let value = line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        values.entry(name).or_default().extend(value.filter(|value| value.is_finite()));
    }
    values
}

fn worst(values: &[f64], together: Together) -> Option<Number> {
    let first = *values.first()?;
    Number::from_f64(match together {
        Together::Highest => values.iter().copied().fold(first, f64::max),
        Together::Lowest => values.iter().copied().fold(first, f64::min),
        Together::Sum => values.iter().sum(),
    })
}

/// As CloudWatch calls it.
fn unit(unit: &Unit) -> &'static str {
    match unit {
        Unit::Seconds => "Seconds",
        Unit::Count => "Count",
        _ => "None",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RENDERED: &str = "# HELP foldstream_projection_lag_seconds Seconds since {it} was 1
# TYPE foldstream_projection_lag_seconds gauge
foldstream_projection_lag_seconds{projection=\"orders\"} 0.25
foldstream_projection_lag_seconds{projection=\"a b } 9\"} 3.5
foldstream_projection_stopped{projection=\"orders\",shard=\"s-1\"} 1
foldstream_projection_stopped{projection=\"orders\",shard=\"s-2\"} 1
foldstream_retention_left_seconds{source=\"shop\",shard=\"s-1\"} 86400
foldstream_retention_left_seconds{source=\"shop\",shard=\"s-2\"} 3600
foldstream_retention_left_seconds{source=\"shop\",shard=\"s-3\"} NaN
foldstream_relay_lag_seconds{source=\"shop\"} NaN
foldstream_bytes_in_flight 17
";

    fn made(rendered: &str) -> Option<Value> {
        let namespace = "Foldstream/shop".parse().unwrap();
        let line = line(&namespace, rendered, Timestamp::from_millis(1_792_000_000_123))?;
        assert!(
            !line.contains('\n') && line.len() < 256 << 10,
            "one log event, of what CloudWatch Logs takes"
        );
        Some(serde_json::from_str(&line).unwrap())
    }

    /// The rules of the specification, one by one.
    #[test]
    fn a_line_is_as_the_specification_says() {
        let line = made(RENDERED).unwrap();
        let metadata = &line["_aws"];
        assert_eq!(metadata["Timestamp"].as_i64(), Some(1_792_000_000_123), "milliseconds since 1970");
        let directives = metadata["CloudWatchMetrics"].as_array().unwrap();
        assert_eq!(directives.len(), 1);
        let directive = &directives[0];
        assert_eq!(directive["Namespace"], "Foldstream/shop");
        let dimensions = directive["Dimensions"].as_array().unwrap();
        for set in dimensions.iter().map(|set| set.as_array().unwrap()) {
            assert!(set.len() <= 30);
            assert!(
                set.iter().all(|key| line[key.as_str().unwrap()].is_string()),
                "a dimension is a text at the root"
            );
        }
        let metrics = directive["Metrics"].as_array().unwrap();
        assert!((1..=100).contains(&metrics.len()));
        for metric in metrics {
            let name = metric["Name"].as_str().unwrap();
            assert!((1..=1_024).contains(&name.len()));
            assert!(["Seconds", "Count"].contains(&metric["Unit"].as_str().unwrap()));
            assert!(line[name].is_number(), "a metric is a number at the root: {name}");
        }
        let at_root: Vec<&String> = line.as_object().unwrap().keys().filter(|key| *key != "_aws").collect();
        assert_eq!(at_root.len(), metrics.len(), "nothing else is told: {at_root:?}");
    }

    #[test]
    fn of_all_labels_the_worst_is_told_and_what_is_not_known_is_not() {
        let line = made(RENDERED).unwrap();
        assert_eq!(line["foldstream_projection_lag_seconds"], 3.5);
        assert_eq!(line["foldstream_projection_stopped"], 2.0);
        assert_eq!(line["foldstream_retention_left_seconds"], 3600.0);
        assert_eq!(line.get("foldstream_relay_lag_seconds"), None);
        assert_eq!(line.get("foldstream_bytes_in_flight"), None, "no alarm is about it");
        assert_eq!(made("foldstream_bytes_in_flight 17\n"), None);
    }

    #[test]
    fn a_namespace_is_one_that_cloudwatch_takes() {
        for namespace in ["Foldstream/shop", "a", "x:y#z_1.2-3"] {
            assert_eq!(namespace.parse::<Namespace>().unwrap().to_string(), namespace);
        }
        for namespace in ["", "AWS/Kinesis", "two words", "ä", &"n".repeat(256)] {
            assert!(namespace.parse::<Namespace>().unwrap_err().contains("Foldstream/shop"), "{namespace}");
        }
    }
}
