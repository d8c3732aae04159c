//! `foldstream projections …`

mod amend;
mod delete;
mod describe;
mod list;
mod pause;
mod rewind;

use std::io::{self, BufRead, IsTerminal};

use foldstream_runtime::control::Actor;
use serde_json::json;

use crate::{
    cli::{Audited, Permission, ProjectionsCommand},
    commands::{Context, who},
    exit::{Failure, Outcome},
    output::say,
};

pub async fn execute(command: ProjectionsCommand, context: &mut Context) -> Outcome {
    match command {
        ProjectionsCommand::List => list::execute(context).await,
        ProjectionsCommand::Describe { projection } => describe::execute(&projection, context).await,
        ProjectionsCommand::Pause(arguments) => {
            pause::execute(&arguments.projection, &arguments.audited, true, context).await
        }
        ProjectionsCommand::Resume(arguments) => {
            pause::execute(&arguments.projection, &arguments.audited, false, context).await
        }
        ProjectionsCommand::Rewind(arguments) => rewind::execute(&arguments, context).await,
        ProjectionsCommand::Amend(arguments) => amend::execute(&arguments, context).await,
        ProjectionsCommand::Delete(arguments) => delete::execute(&arguments, context).await,
    }
}

pub(super) fn actor(audited: &Audited, context: &Context) -> Actor {
    Actor { who: who(), reason: audited.reason.clone(), at: context.clock.now() }
}

/// True if nothing is to be done but to say what would be; it is said then.
pub(super) fn only_says(plan: &str, audited: &Audited, context: &mut Context) -> Outcome<bool> {
    if audited.dry_run {
        let object = json!({"dry_run": true, "would": plan});
        done(&format!("would {plan}; nothing was done"), &object, context)?;
    }
    Ok(audited.dry_run)
}

/// Says what is about to be done and asks, as it cannot be undone; true if it may be done.
pub(super) fn may_go_on(plan: &str, permission: &Permission, context: &mut Context) -> Outcome<bool> {
    if only_says(plan, &permission.audited, context)? {
        return Ok(false);
    }
    if permission.yes {
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
pub(super) fn done(text: &str, object: &serde_json::Value, context: &mut Context) -> Outcome<()> {
    match context.output.is_json() {
        true => context.output.object(object)?,
        false => context.output.line(text)?,
    }
    Ok(())
}
