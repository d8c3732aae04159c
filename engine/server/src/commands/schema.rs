use crate::{
    commands::Context,
    exit::{Exit, Outcome},
};

pub fn execute(context: &mut Context) -> Outcome {
    context.output.bytes(foldstream_config::schema().as_bytes())?;
    Ok(Exit::Done)
}
