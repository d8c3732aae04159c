//! `foldstream events …`

mod append;
mod import;
mod read;
mod show;
mod tail;

use crate::{cli::EventsCommand, commands::Context, exit::Outcome};

pub async fn execute(command: EventsCommand, context: &mut Context) -> Outcome {
    match command {
        EventsCommand::Append(arguments) => append::execute(arguments, context).await,
        EventsCommand::Read(arguments) => read::execute(arguments, context).await,
        EventsCommand::Tail(arguments) => tail::execute(arguments, context).await,
        EventsCommand::Import(arguments) => import::execute(arguments, context).await,
    }
}
