//! `foldstream projections …`

use clap::{Args, Subcommand};
use foldstream_model::Timestamp;

use super::{Audited, ByProjection, Permission, events::timestamp};

#[derive(Debug, Subcommand)]
pub enum ProjectionsCommand {
    /// All projections, those that are no longer configured among them
    List,
    /// Everything about one
    Describe {
        /// The projection, `orders` or `orders@3`; without a version the configured one
        projection: ByProjection,
    },
    /// Stop feeding one, until resumed; the others go on
    Pause(PauseProjection),
    /// Feed it again from where it stopped
    Resume(ResumeProjection),
    /// Deliver events again; with --rebuild, make its documents anew
    Rewind(RewindProjection),
    /// Take over a change of its definition under the same version
    Amend(AmendProjection),
    /// Remove one with its documents and checkpoints
    Delete(DeleteProjection),
}

/// Only for changes about events that could not be taken before: then its documents are what a replay would make of
/// them. Any other change needs a new version. Processes that run the older definition leave the projection alone from then on.
#[derive(Debug, Args)]
pub struct AmendProjection {
    /// The projection, `orders` or `orders@3`; without a version the configured one
    pub projection: ByProjection,
    #[command(flatten)]
    pub permission: Permission,
}

#[derive(Debug, Args)]
pub struct PauseProjection {
    /// The projection, `orders` or `orders@3`; without a version the configured one
    pub projection: ByProjection,
    #[command(flatten)]
    pub audited: Audited,
}

#[derive(Debug, Args)]
pub struct ResumeProjection {
    /// The projection, `orders` or `orders@3`; without a version the configured one
    pub projection: ByProjection,
    #[command(flatten)]
    pub audited: Audited,
}

#[derive(Debug, Args)]
pub struct RewindProjection {
    /// The projection, `orders` or `orders@3`; without a version the configured one
    pub projection: ByProjection,
    /// Back to what came into the stream at this time, instead of to the beginning
    #[arg(long, value_name = "TIME", value_parser = timestamp, conflicts_with = "rebuild")]
    pub to: Option<Timestamp>,
    /// Make the documents anew, from the beginning
    #[arg(long)]
    pub rebuild: bool,
    #[command(flatten)]
    pub permission: Permission,
}

#[derive(Debug, Args)]
pub struct DeleteProjection {
    /// The projection with its version, as in `orders@3`
    pub projection: ByProjection,
    #[command(flatten)]
    pub permission: Permission,
}
