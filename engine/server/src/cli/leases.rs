//! `foldstream leases …`

use clap::{Args, Subcommand};

use super::Audited;

#[derive(Debug, Subcommand)]
pub enum LeasesCommand {
    /// Which worker works on what
    List,
    /// Take a shard or merge away from its worker; whoever has the least to do gets it
    Release(ReleaseLease),
}

#[derive(Debug, Args)]
pub struct ReleaseLease {
    /// The shard, or the `global` projection as in `changes@1`, as `leases list` names it
    pub name: String,
    /// The source, where several have such a shard
    #[arg(long)]
    pub source: Option<String>,
    #[command(flatten)]
    pub audited: Audited,
}
