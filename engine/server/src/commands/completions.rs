use crate::{
    cli::Cli,
    commands::Context,
    exit::{Exit, Outcome},
};

pub fn execute(shell: clap_complete::Shell, context: &mut Context) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::full_command(), "foldstream", &mut script);
    context.output.bytes(&script)?;
    Ok(Exit::Done)
}
