//! What can be asked for on the command line: a file for each noun.

mod global;
mod line;
mod events;
mod documents;
mod projections;
mod leases;
mod parked;
mod policy;
mod later;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use documents::{DocumentsCommand, GetDocument, ListDocuments};
pub use events::{AppendEvents, EventsCommand, ImportEvents, MapPart, MappedPart, ReadStream, TailEvents};
pub use global::{Audited, ByProjection, Global, Permission};
pub use leases::{LeasesCommand, ReleaseLease};
pub use line::{Audit, Demo, Healthcheck, Init, RelaySources, Run, Status, Test, Validate, Watching};
pub use parked::{DiscardParked, ListParked, ParkedCommand, ParkedFilter, RedriveParked};
pub use policy::ConfigPolicy;
pub use projections::{
    AmendProjection, DeleteProjection, PauseProjection, ProjectionsCommand, ResumeProjection,
    RewindProjection,
};

use crate::exit::{EXIT_CODES, Failure, Outcome};

/// Turns the events of an event-sourced system into read models, and keeps them right and live.
#[derive(Debug, Parser)]
#[command(name = "foldstream", version, max_term_width = 100, arg_required_else_help = true)]
#[command(subcommand_required = true, disable_help_subcommand = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Turn the history of a git repository into events and read models, and let git judge them
    Demo(Demo),
    /// Write a starting configuration from a sample of your events
    Init(Init),
    /// Say everything that is wrong with the configuration
    Validate(Validate),
    /// Run the tests of the configuration
    Test(Test),
    /// Follow the sources and keep the read models live
    Run(Run),
    /// Move the changes of event tables into Kinesis streams, in order for each stream of events
    Relay(RelaySources),
    /// Ask the process that runs on this machine whether it is alive
    Healthcheck(Healthcheck),
    /// How far each projection is, and what holds it up
    Status(Status),
    /// Look at projections, pause, resume, rewind, delete them
    #[command(subcommand)]
    Projections(ProjectionsCommand),
    /// Which worker works on what, and take work away from one
    #[command(subcommand)]
    Leases(LeasesCommand),
    /// Look at events that documents could not take, redrive, discard them
    #[command(subcommand)]
    Parked(ParkedCommand),
    /// Read documents of the read models
    #[command(subcommand)]
    Documents(DocumentsCommand),
    /// Append, read, follow and import events: of the source's event table, or of the embedded event store
    #[command(subcommand)]
    Events(EventsCommand),
    /// Who changed what, when and why
    Audit(Audit),
    /// About the configuration file itself
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the JSON schema of the configuration file, for editors
    Schema,
    /// Print the IAM policy that the configuration needs, in JSON
    Policy(ConfigPolicy),
}

impl Cli {
    /// The command line that was given. Prints help, version and errors of usage itself, and exits then.
    pub fn from_command_line() -> Outcome<Self> {
        let matches = Self::full_command()
            .try_get_matches()
            .unwrap_or_else(|error| later::without_their_tips(error).exit());
        match later::asked_for(&matches) {
            Some(name) => Err(Failure::invalid(format!("`{name}` is not available in this version"))),
            None => Ok(Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())),
        }
    }

    /// All commands, those of later versions among them.
    pub fn full_command() -> clap::Command {
        later::add_to(line::with_data_of_its_own(Self::command()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::full_command().debug_assert();
    }
}
