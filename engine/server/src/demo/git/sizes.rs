//! Sizes of blobs, from one long-lived process.

use std::{
    io::{BufRead, BufReader, Write},
    process::{ChildStdin, ChildStdout, Stdio},
};

use foldstream_model::{Error, Result};

use super::{
    ObjectId,
    room::{Process, Room},
};

/// Questions written before the answers are read: few enough that neither pipe can fill up, which would hold both sides.
const AT_ONCE: usize = 128;

pub struct Sizes {
    process: Process,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    line: String,
}

impl Sizes {
    pub fn start(room: &Room) -> Result<Self> {
        let arguments = ["cat-file", "--batch-check=%(objectname) %(objectsize)"];
        let mut process = room.start(&arguments, Stdio::piped())?;
        let (questions, answers) = (process.input()?, BufReader::new(process.output()?));
        Ok(Self { process, questions, answers, line: String::new() })
    }

    /// The size of each blob in bytes, in the order asked.
    pub fn of(&mut self, blobs: &[ObjectId]) -> Result<Vec<u64>> {
        let mut sizes = Vec::with_capacity(blobs.len());
        for part in blobs.chunks(AT_ONCE) {
            self.ask(part).map_err(|error| self.process.explain(error))?;
            for blob in part {
                let size = self.size_of(*blob)?;
                sizes.push(size);
            }
        }
        Ok(sizes)
    }

    fn ask(&mut self, blobs: &[ObjectId]) -> Result<()> {
        let questions: String = blobs.iter().map(|blob| format!("{blob}\n")).collect();
        let written = self.questions.write_all(questions.as_bytes()).and_then(|()| self.questions.flush());
        written.map_err(|error| Error::invalid(format!("git no longer listens: {error}")))
    }

    fn size_of(&mut self, blob: ObjectId) -> Result<u64> {
        self.line.clear();
        let read = self.answers.read_line(&mut self.line);
        let ended = match read {
            Ok(0) => Some("git stopped answering".to_owned()),
            Ok(_) => None,
            Err(error) => Some(format!("cannot read what git says: {error}")),
        };
        if let Some(reason) = ended {
            return Err(self.process.explain(Error::invalid(reason)));
        }
        let answer = self.line.trim_end();
        match answer.strip_prefix(&format!("{blob} ")).and_then(|size| size.parse().ok()) {
            Some(size) => Ok(size),
            None => Err(Error::invalid(format!(
                "a blob of the history is not here: answer={answer:?}; see `git fsck`{}",
                self.process.hint()
            ))),
        }
    }
}
