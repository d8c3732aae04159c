//! What the commands do: a file for each.

mod audit;
mod completions;
mod context;
mod demo;
mod documents;
mod events;
mod healthcheck;
mod init;
mod leases;
mod parked;
mod policy;
mod projections;
mod relay;
mod run;
mod schema;
mod status;
mod test;
mod validate;

pub use context::{AppendTo, Context, mistaken, who};

use crate::{
    cli::{Command, ConfigCommand},
    exit::Outcome,
};

/// Does what was asked for.
pub async fn execute(command: Command, context: &mut Context) -> Outcome {
    match command {
        Command::Demo(arguments) => demo::execute(arguments, context).await,
        Command::Events(command) => events::execute(command, context).await,
        Command::Documents(command) => documents::execute(command, context).await,
        Command::Init(arguments) => init::execute(arguments, context),
        Command::Test(arguments) => test::execute(arguments, context).await,
        Command::Run(arguments) => run::execute(arguments, context).await,
        Command::Relay(arguments) => relay::execute(arguments, context).await,
        Command::Healthcheck(arguments) => healthcheck::execute(&arguments).await,
        Command::Status(_) => status::execute(context).await,
        Command::Projections(command) => projections::execute(command, context).await,
        Command::Leases(command) => leases::execute(command, context).await,
        Command::Parked(command) => parked::execute(command, context).await,
        Command::Audit(arguments) => audit::execute(&arguments, context).await,
        Command::Validate(arguments) => validate::execute(&arguments, context).await,
        Command::Config(ConfigCommand::Schema) => schema::execute(context),
        Command::Config(ConfigCommand::Policy(arguments)) => policy::execute(arguments, context),
        Command::Completions { shell } => completions::execute(shell, context),
    }
}
