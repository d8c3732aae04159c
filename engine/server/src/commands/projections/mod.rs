//! `foldstream projections …`

mod delete;
mod describe;
mod list;
mod pause;
mod rewind;

use std::io::{self, BufRead, IsTerminal};

use foldstream_runtime::control::Actor;

use crate::{
    cli::{Permission, ProjectionsCommand},
    commands::{Context, who},
    exit::{Failure, Outcome},
    output::say,
};

pub async fn execute(command: ProjectionsCommand, context: &mut Context) -> Outcome {
    match command {
        ProjectionsCommand::List => list::execute(context).await,
        ProjectionsCommand::Describe { projection } => describe::execute(&projection, context).await,
        ProjectionsCommand::Pause(arguments) => {
            pause::execute(&arguments.projection, &arguments.permission, true, context).await
        }
        ProjectionsCommand::Resume(arguments) => {
            pause::execute(&arguments.projection, &arguments.permission, false, context).await
        }
        ProjectionsCommand::Rewind(arguments) => rewind::execute(&arguments, context).await,
        ProjectionsCommand::Delete(arguments) => delete::execute(&arguments, context).await,
    }
}

fn actor(permission: &Permission, context: &Context) -> Actor {
    Actor { who: who(), reason: permission.reason.clone(), at: context.clock.now() }
}

/// Says what is about to be done; true if it may be done. What cannot be undone is asked about first.
fn may_go_on(plan: &str, permission: &Permission, ask: bool, context: &mut Context) -> Outcome<bool> {
    if permission.dry_run {
        context.output.line(format!("would {plan}; nothing was done"))?;
        return Ok(false);
    }
    if permission.yes || !ask {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::invalid(format!("this would {plan}; say --yes to do it")));
    }
    say(format!("This will {plan}. Go on? [y/N]"));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    let yes = matches!(answer.trim(), "y" | "Y" | "yes");
    if !yes {
        context.output.line("nothing was done")?;
    }
    Ok(yes)
}

/// Says what was done: `text` for people, the same as an object for programs.
fn done(text: &str, object: &serde_json::Value, context: &mut Context) -> Outcome<()> {
    match context.output.is_json() {
        true => context.output.object(object)?,
        false => context.output.line(text)?,
    }
    Ok(())
}
