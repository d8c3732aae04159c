//! What commands print: text for people, JSON for programs.

mod text;
mod table;

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use clap::ValueEnum;
use serde::Serialize;

pub use table::{Column, Table};
pub use text::{count, duration, fit, plural, printable, seconds};

/// Text is for people; JSON is one object, and one object a line of lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

/// Says something on standard error; whether anybody listens does not matter.
pub fn say(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Standard output, buffered: flushed by [`Output::flush`] and at the end.
pub struct Output {
    pub format: Format,
    out: BufWriter<Stdout>,
    columns: Option<usize>,
}

impl Output {
    pub fn new(format: Format) -> Self {
        let stdout = io::stdout();
        let columns = stdout
            .is_terminal()
            .then(|| terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0).max(40)));
        Self { format, out: BufWriter::new(stdout), columns }
    }

    /// How wide a line may be; none when nobody looks at it in a terminal, where nothing is cut.
    pub fn columns(&self) -> Option<usize> {
        self.columns
    }

    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    pub fn line(&mut self, text: impl std::fmt::Display) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    /// One object on a line of its own.
    pub fn object(&mut self, object: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, object)?;
        self.out.write_all(b"\n")
    }

    pub fn table(&mut self, table: &Table) -> io::Result<()> {
        for line in table.lines(self.columns) {
            writeln!(self.out, "{line}")?;
        }
        Ok(())
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
