use foldstream_model::Event;

use crate::{
    exit::Outcome,
    output::{Output, fit, printable, seconds},
};

/// An event on a line: as its envelope for programs, cut to the terminal for people.
pub fn event(output: &mut Output, event: &Event, with_stream: bool) -> Outcome<()> {
    if output.is_json() {
        let mut envelope = event.to_envelope()?;
        envelope.push(b'\n');
        return Ok(output.bytes(&envelope)?);
    }
    let stream = if with_stream { format!("  {}", event.stream_id) } else { String::new() };
    let line = format!(
        "{}{stream} #{}  {}  {}",
        seconds(event.recorded_at),
        event.sequence,
        event.event_type,
        String::from_utf8_lossy(&event.payload.raw)
    );
    let line = printable(line.trim_end());
    Ok(output.line(match output.columns() {
        Some(columns) => fit(&line, columns),
        None => line,
    })?)
}
