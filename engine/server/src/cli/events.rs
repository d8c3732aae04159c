//! `foldstream events …`

use std::{fmt, path::PathBuf, str::FromStr};

use clap::{Args, Subcommand, ValueEnum};
use foldstream_model::{Sequence, Timestamp, ports::ExpectedSequence};

#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    /// Append one event, or several as one
    ///
    /// Without TYPE, the events are read from standard input: one object a line with `type` and, if need be, `payload`,
    /// `metadata`, `schema_version`, `recorded_at`, `effective_at` and `id`. All of them are stored, or none.
    Append(AppendEvents),
    /// Print the events of a stream
    Read(ReadStream),
    /// Print the newest events of all streams, in the order in which they were stored
    ///
    /// Those of an event table when they are as old as its safe window.
    Tail(TailEvents),
    /// Take events from a file of JSON lines; goes on where it stopped
    Import(ImportEvents),
}

#[derive(Debug, Args)]
pub struct AppendEvents {
    /// The stream
    #[arg(value_name = "STREAM")]
    pub stream: String,
    /// The event's type
    #[arg(value_name = "TYPE")]
    pub event_type: Option<String>,
    /// Its payload as JSON; `-` for standard input
    #[arg(value_name = "PAYLOAD")]
    pub payload: Option<String>,
    /// What the stream must end with: a sequence, `none` for a new stream, or `any`
    #[arg(long, value_name = "SEQUENCE", default_value = "any", value_parser = expected_sequence)]
    pub expected: ExpectedSequence,
    /// The source whose event table is meant; not needed if the configuration has one place of events
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Say what would be appended or refused, and write nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct ReadStream {
    /// The stream
    #[arg(value_name = "STREAM")]
    pub stream: String,
    /// The first sequence to print
    #[arg(long, value_name = "SEQUENCE", default_value_t = 0)]
    pub from: u64,
    /// At most so many; 0 for all
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub limit: usize,
    /// The source whose event table is meant; not needed if the configuration has one place of events
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
}

#[derive(Debug, Args)]
pub struct TailEvents {
    /// How many of the newest to print first; 0 for none
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub limit: u64,
    /// Go on printing new ones until interrupted
    #[arg(short, long)]
    pub follow: bool,
    /// The source whose event table is meant; not needed if the configuration has one place of events
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
}

#[derive(Debug, Args)]
pub struct ImportEvents {
    /// One JSON object a line; `-` for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The source whose `event:` mapping the lines follow, and into whose event table they go, if it has one; not needed if the
    /// configuration has one source
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Where a part of an event is found, as in `stream_id=order.id`; `payload=*` takes all other fields
    #[arg(long = "map", value_name = "PART=FIELD")]
    pub map: Vec<MapPart>,
    /// Stop at the first line that is refused
    #[arg(long)]
    pub strict: bool,
    /// Say what would be taken or refused, and write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// One `--map`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapPart {
    pub part: MappedPart,
    pub field: String,
}

/// The parts of an event that a line can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum MappedPart {
    StreamId,
    Sequence,
    Id,
    Type,
    SchemaVersion,
    RecordedAt,
    EffectiveAt,
    Payload,
    Metadata,
}

impl fmt::Display for MappedPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_possible_value().map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

impl FromStr for MapPart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || {
            let names = MappedPart::value_variants().iter().map(ToString::to_string);
            names.collect::<Vec<_>>().join(", ")
        };
        let (part, field) = text.split_once('=').ok_or("expected PART=FIELD, as in `stream_id=order.id`")?;
        let part = MappedPart::from_str(part, false)
            .map_err(|_| format!("an event has no part `{part}`; its parts are {}", names()))?;
        match field {
            "" => Err(format!("the field that holds the {part} is missing")),
            _ => Ok(Self { part, field: field.to_owned() }),
        }
    }
}

fn expected_sequence(text: &str) -> Result<ExpectedSequence, String> {
    match text {
        "any" => Ok(ExpectedSequence::Any),
        "none" => Ok(ExpectedSequence::Empty { first: Sequence(1) }),
        _ => match text.parse() {
            Ok(sequence) => Ok(ExpectedSequence::Last(Sequence(sequence))),
            Err(_) => {
                Err("expected the stream's last sequence, `none` for a new stream, or `any`".to_owned())
            }
        },
    }
}

/// For options that take a time.
pub(super) fn timestamp(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).map_err(|_| "expected a time such as 2026-11-21T17:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_names_a_part_and_a_field() {
        let map: MapPart = "stream_id=order.id".parse().unwrap();
        assert_eq!(map, MapPart { part: MappedPart::StreamId, field: "order.id".to_owned() });
        let error = "stream=x".parse::<MapPart>().unwrap_err();
        assert!(error.contains("stream_id, sequence, id, type"), "{error}");
        assert!("type".parse::<MapPart>().is_err() && "type=".parse::<MapPart>().is_err());
    }
}
