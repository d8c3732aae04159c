//! The first-parent line between two commits, counted before it is read.

use std::{io::BufRead, io::BufReader, process::Stdio};

use foldstream_model::{Error, Result};

use super::{ObjectId, room::Room};

/// What lies between a commit (or the root) and a later one along first parents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstParentLine {
    /// How many commits there are behind the starting point, the last one included.
    pub commits: u64,
    /// The oldest of them; none when there are none.
    pub oldest: Option<ObjectId>,
    /// The first parent of the oldest of them; none where it is the root, or where a shallow clone begins.
    pub joins: Option<ObjectId>,
}

impl FirstParentLine {
    /// Reads the ids of the line once, newest first, and keeps the last.
    pub(super) fn measure(room: &Room, after: Option<ObjectId>, to: ObjectId) -> Result<Self> {
        let mut arguments =
            vec!["rev-list".to_owned(), "--first-parent".to_owned(), "--parents".to_owned(), to.to_string()];
        arguments.extend(after.map(|after| format!("^{after}")));
        let mut process = room.start(&arguments, Stdio::null())?;
        let mut output = BufReader::new(process.output()?);
        let (mut line, mut oldest, mut commits) = (Vec::new(), Vec::new(), 0);
        loop {
            line.clear();
            let read = output.read_until(b'\n', &mut line);
            match read.map_err(|error| Error::invalid(format!("cannot read what git says: {error}")))? {
                0 => break,
                _ => std::mem::swap(&mut line, &mut oldest),
            }
            commits += 1;
        }
        process.finish()?;
        let mut words = oldest.trim_ascii_end().split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let (oldest, joins) = (words.next(), words.next());
        Ok(Self {
            commits,
            oldest: oldest.map(ObjectId::parse).transpose()?,
            joins: joins.map(ObjectId::parse).transpose()?,
        })
    }
}
