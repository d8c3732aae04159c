use std::{
    fs,
    io::{self, BufRead, BufReader},
    path::Path,
};

use foldstream_config::{Config, Unclear, infer};
use foldstream_model::Value;
use serde_json::json;

use crate::{
    cli::Init,
    commands::{Context, mistaken},
    compose,
    exit::{Exit, Failure, Outcome},
    import::Lines,
    output::plural,
};

/// How much of a sample is looked at: more makes guesses no better, and is held in memory.
const MAX_EVENTS: usize = 10_000;
const MAX_BYTES: u64 = 64 << 20;

pub fn execute(arguments: Init, context: &mut Context) -> Outcome {
    let file = arguments.out.clone().unwrap_or_else(|| context.global.config.clone());
    if file.exists() && !arguments.force {
        return Err(Failure::invalid(format!(
            "{} exists already; write to another file with --out, or replace it with --force",
            file.display()
        )));
    }
    let sample = read_sample(&arguments.from)?;
    let given: Vec<_> = arguments.map.iter().map(|map| (map.part.to_string(), map.field.clone())).collect();
    let given: Vec<_> = given.iter().map(|(part, field)| (part.as_str(), field.as_str())).collect();
    let text = infer(&sample, &given).map_err(|unclear| unsettled(&unclear))?;
    let name = file.display().to_string();
    let config = Config::read(&name, &text, &|_| None).map_err(|mistakes| mistaken(&mistakes))?;
    compose::checked(&config).map_err(|mistakes| mistaken(&mistakes))?;
    fs::write(&file, &text).map_err(|error| Failure::file(&file, &error))?;
    let events = plural(sample.len() as u64, "event");
    if context.output.is_json() {
        let projections: Vec<_> = config.projections.keys().map(|name| name.as_str()).collect();
        context.output.object(&json!({"file": name, "events": sample.len(), "projections": projections}))?;
        return Ok(Exit::Done);
    }
    context.output.line(format!("wrote {name} from {events}; every guess in it is explained\n\nNext:"))?;
    for (command, what) in next_steps(&arguments, context, &file, &config) {
        context.output.line(format!("  {command}\n      {what}"))?;
    }
    Ok(Exit::Done)
}

fn next_steps(
    arguments: &Init,
    context: &Context,
    file: &Path,
    config: &Config,
) -> Vec<(String, &'static str)> {
    let option = match file == Path::new("foldstream.yaml") {
        true => String::new(),
        false => format!(" -c {}", file.display()),
    };
    let data = match context.global.data == Path::new("foldstream-data") {
        true => String::new(),
        false => format!(" --data {}", context.global.data.display()),
    };
    let from = match arguments.from == Path::new("-") {
        true => "FILE".to_owned(),
        false => arguments.from.display().to_string(),
    };
    let mut steps = vec![
        (format!("foldstream validate{option}"), "checks it, also after you have changed it"),
        (format!("foldstream test{option}"), "runs its tests"),
        (
            format!("foldstream events import {from}{option}{data}"),
            "takes the events into the embedded store",
        ),
        (format!("foldstream run --until-caught-up{option}{data}"), "makes the documents"),
    ];
    if let Some(projection) = config.projections.keys().next() {
        steps.push((format!("foldstream documents list {projection}{option}{data}"), "shows them"));
    }
    steps
}

fn read_sample(file: &Path) -> Outcome<Vec<Value>> {
    let reader: Box<dyn BufRead> = match file == Path::new("-") {
        true => Box::new(BufReader::new(io::stdin())),
        false => Box::new(BufReader::new(fs::File::open(file).map_err(|error| Failure::file(file, &error))?)),
    };
    let mut lines = Lines::new(reader);
    let mut sample = Vec::new();
    while sample.len() < MAX_EVENTS && lines.bytes() < MAX_BYTES {
        let Some(line) = lines.next_line().map_err(|error| Failure::file(file, &error))? else { break };
        let refuse =
            |reason: String| Failure::invalid(format!("{} line {}: {reason}", file.display(), line.number));
        let text = line.text.as_deref().ok_or_else(|| refuse("longer than 16 MiB".to_owned()))?;
        if sample.is_empty() && text.starts_with(b"[") {
            return Err(refuse(
                "a JSON array; one object a line is expected, as `jq -c '.[]' FILE` makes of it".to_owned(),
            ));
        }
        match Value::parse(text) {
            Ok(event @ Value::Map(_)) => sample.push(event),
            Ok(other) => return Err(refuse(format!("{}, and each event should be an object", other.kind()))),
            Err(error) => return Err(refuse(format!("no JSON that can be taken: {error}"))),
        }
    }
    match sample.is_empty() {
        true => Err(Failure::invalid(format!("{} holds no events", file.display()))),
        false => Ok(sample),
    }
}

fn unsettled(unclear: &[Unclear]) -> Failure {
    let parts: Vec<_> = unclear.iter().map(ToString::to_string).collect();
    Failure::invalid(format!("not everything could be guessed\n\n{}", parts.join("\n")))
}
