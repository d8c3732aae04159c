use std::{
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal},
    path::Path,
    time::Duration,
};

use foldstream_model::{Clock, Timestamp};
use foldstream_runtime::patient::Patient;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use crate::{
    cli::ImportEvents,
    commands::{AppendTo, Context, mistaken},
    exit::{Exit, Failure, Outcome},
    import::{self, Import, Mapping, Tally, Unusable},
    output::{count, plural, printable, say},
};

/// How many refusals people are shown.
const SHOWN: usize = 20;
/// How often the progress is said where no bar can be drawn.
const SAY_EVERY: Duration = Duration::from_secs(5);

pub async fn execute(arguments: ImportEvents, context: &mut Context) -> Outcome {
    let mapping = mapping(&arguments, context)?;
    let (reader, bytes) = open(&arguments.file)?;
    let AppendTo { events, is_table } =
        context.events_to_append_to(arguments.source.as_deref(), arguments.dry_run).await?;
    let events = Patient(events);
    let size = if is_table { import::IN_A_TABLE } else { import::EMBEDDED };
    let clock = context.clock.clone();
    let mut shown = Shown::new(bytes, context.global.quiet, &*clock);
    let import = Import::new(&events, &*clock, &mapping, arguments.strict, size);
    let tally = import.run(reader, &mut |tally, read| shown.update(tally, read, clock.now())).await;
    shown.end();
    let tally = tally?;
    match context.output.is_json() {
        true => report_to_programs(&arguments, &tally, context)?,
        false => report(&arguments, &tally, context)?,
    }
    Ok(if tally.refused > 0 { Exit::Failed } else { Exit::Done })
}

fn open(file: &Path) -> Outcome<(Box<dyn BufRead>, Option<u64>)> {
    if file == Path::new("-") {
        return Ok((Box::new(BufReader::new(io::stdin())), None));
    }
    let opened = File::open(file).and_then(|opened| opened.metadata().map(|metadata| (opened, metadata)));
    let (opened, metadata) = opened.map_err(|error| Failure::file(file, &error))?;
    if metadata.is_dir() {
        return Err(Failure::invalid(format!("{} is a folder, a file is needed", file.display())));
    }
    let bytes = metadata.is_file().then_some(metadata.len());
    Ok((Box::new(BufReader::with_capacity(1 << 20, opened)), bytes))
}

fn mapping(arguments: &ImportEvents, context: &Context) -> Outcome<Mapping> {
    let config = match &arguments.source {
        Some(_) => Some(context.config()?),
        None => context.config_if_any(),
    };
    let source = match (&config, &arguments.source) {
        (Some(config), Some(name)) => match config.sources.get_key_value(name.as_str()) {
            Some(source) => Some(source),
            None => return Err(Failure::invalid(format!("the configuration has no source {name}"))),
        },
        (Some(config), None) => match config.sources.iter().collect::<Vec<_>>()[..] {
            [source] => Some(source),
            [] => None,
            _ => {
                return Err(Failure::invalid(
                    "the configuration has several sources; name one with --source",
                ));
            }
        },
        (None, _) => None,
    };
    let mapping = match (&config, source) {
        (Some(config), Some((name, source))) => Mapping::of_source(config, name, source, &arguments.map),
        _ => Mapping::plain(&arguments.map),
    };
    mapping.map_err(|unusable| match unusable {
        Unusable::Because(reason) => Failure::invalid(reason),
        Unusable::Mistaken(mistakes) => mistaken(&mistakes),
    })
}

fn report(arguments: &ImportEvents, tally: &Tally, context: &mut Context) -> Outcome<()> {
    let output = &mut context.output;
    let name = match arguments.file.to_str() {
        Some("-") => "standard input".to_owned(),
        _ => arguments.file.display().to_string(),
    };
    output.line(format!("{name}: {}", plural(tally.lines(), "line")))?;
    let taken = if arguments.dry_run { "would be taken; nothing was written" } else { "taken" };
    output.line(format!("  {:>11}  {taken}", count(tally.taken)))?;
    output.line(format!("  {:>11}  skipped, stored already", count(tally.skipped)))?;
    if tally.left_out > 0 {
        output.line(format!("  {:>11}  left out by the source's `include`", count(tally.left_out)))?;
    }
    output.line(format!("  {:>11}  refused", count(tally.refused)))?;
    for (line, reason) in tally.refusals.iter().take(SHOWN) {
        output.line(format!("    line {line}: {}", printable(reason)))?;
    }
    if let Some(more) = tally.refused.checked_sub(SHOWN as u64).filter(|more| *more > 0) {
        output.line(format!("    and {} more; `-o json` lists up to 1,000", count(more)))?;
    }
    if tally.without_recorded_at > 0 {
        let events = plural(tally.without_recorded_at, "event");
        output.line(format!("{events} without a recorded-at: the time of the import was taken"))?;
    }
    if arguments.strict && tally.refused > 0 {
        output.line("stopped at the refused line; import the file again when it is mended")?;
    }
    Ok(())
}

fn report_to_programs(arguments: &ImportEvents, tally: &Tally, context: &mut Context) -> Outcome<()> {
    let refusals: Vec<_> =
        tally.refusals.iter().map(|(line, reason)| json!({"line": line, "reason": reason})).collect();
    Ok(context.output.object(&json!({
        "dry_run": arguments.dry_run,
        "taken": tally.taken,
        "skipped": tally.skipped,
        "left_out": tally.left_out,
        "refused": tally.refused,
        "without_recorded_at": tally.without_recorded_at,
        "refusals": refusals,
    }))?)
}

/// How far the import is: a bar on a terminal, a line now and then elsewhere.
enum Shown {
    Bar(ProgressBar),
    Lines { last: Timestamp },
    Nothing,
}

impl Shown {
    fn new(bytes: Option<u64>, quiet: bool, clock: &dyn Clock) -> Self {
        if quiet {
            return Self::Nothing;
        }
        if !io::stderr().is_terminal() {
            return Self::Lines { last: clock.now() };
        }
        let (bar, template) = match bytes {
            Some(bytes) => {
                (ProgressBar::new(bytes), "{bar:24} {percent:>3} %  {msg}  {bytes_per_sec}  {eta} left")
            }
            None => (ProgressBar::no_length(), "{spinner} {msg}  {bytes_per_sec}"),
        };
        bar.set_draw_target(ProgressDrawTarget::stderr());
        Self::Bar(match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        })
    }

    fn update(&mut self, tally: &Tally, read: u64, now: Timestamp) {
        let lines = || plural(tally.lines(), "line");
        match self {
            Self::Bar(bar) => {
                bar.set_position(read);
                bar.set_message(lines());
            }
            Self::Lines { last } if u128::from(now.micros_since(*last)) >= SAY_EVERY.as_micros() => {
                say(format!("{}, {} refused", lines(), count(tally.refused)));
                *last = now;
            }
            Self::Lines { .. } | Self::Nothing => {}
        }
    }

    fn end(self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
