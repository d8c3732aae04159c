//! `foldstream parked …`

use std::num::NonZeroU32;

use clap::{Args, Subcommand};
use foldstream_model::Timestamp;

use super::{Audited, ByProjection, Permission, events::timestamp};

#[derive(Debug, Subcommand)]
pub enum ParkedCommand {
    /// Which documents and streams are parked, since when and why
    List(ListParked),
    /// The parked events of one document or stream, in their order
    Describe {
        /// The projection, `orders` or `orders@3`; without a version the configured one
        projection: ByProjection,
        /// The document's key
        #[arg(required_unless_present = "stream", conflicts_with = "stream")]
        document: Option<String>,
        /// The events of this stream, instead, of which no document is known
        #[arg(long, value_name = "ID")]
        stream: Option<String>,
    },
    /// Apply parked events in their order, by the projection as it is now
    Redrive(RedriveParked),
    /// Leave parked events out, on record
    Discard(DiscardParked),
}

/// Which parked events are meant: those that meet all that is given.
#[derive(Debug, Clone, Default, Args)]
pub struct ParkedFilter {
    /// Of this document
    #[arg(long, value_name = "KEY")]
    pub document: Option<String>,
    /// Of this stream
    #[arg(long, value_name = "ID")]
    pub stream: Option<String>,
    /// That could not be taken for a reason with this in it
    #[arg(long, value_name = "TEXT")]
    pub error: Option<String>,
    /// Parked at this time or later
    #[arg(long, value_name = "TIME", value_parser = timestamp)]
    pub since: Option<Timestamp>,
    /// Parked before this time
    #[arg(long, value_name = "TIME", value_parser = timestamp)]
    pub until: Option<Timestamp>,
}

#[derive(Debug, Args)]
pub struct ListParked {
    /// The projection, `orders` or `orders@3`; all of them without it
    pub projection: Option<ByProjection>,
    #[command(flatten)]
    pub filter: ParkedFilter,
    /// How many there are for each reason, instead
    #[arg(long)]
    pub by_error: bool,
}

#[derive(Debug, Args)]
pub struct RedriveParked {
    /// The projection, `orders` or `orders@3`; without a version the configured one
    pub projection: ByProjection,
    /// Only documents that have such an event
    #[command(flatten)]
    pub filter: ParkedFilter,
    /// At most so many events a second; a stream comes back as a whole, and the next one after so long
    #[arg(long, value_name = "N")]
    pub rate: Option<NonZeroU32>,
    #[command(flatten)]
    pub audited: Audited,
}

#[derive(Debug, Args)]
pub struct DiscardParked {
    /// The projection, `orders` or `orders@3`; without a version the configured one
    pub projection: ByProjection,
    #[command(flatten)]
    pub filter: ParkedFilter,
    /// All that is parked
    #[arg(long, conflicts_with_all = ["document", "stream", "error", "since", "until"])]
    pub all: bool,
    /// Give up the events of this stream that are missing, for which others wait: all projections of its source go on
    /// without them
    #[arg(long, value_name = "ID", conflicts_with_all = ["all", "document", "stream", "error", "since", "until"])]
    pub gap: Option<String>,
    #[command(flatten)]
    pub permission: Permission,
}
