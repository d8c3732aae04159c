//! Fields that end with a NUL, read from a process one at a time.

use std::io::{BufRead, BufReader, Read};

use foldstream_model::{Error, Result};

/// What one field may hold: a path or the parents of an octopus merge, with much to spare.
const LONGEST_FIELD: usize = 1 << 20;

/// Reads NUL-terminated fields, each into a buffer that is used again.
pub struct Fields<R> {
    input: BufReader<R>,
    field: Vec<u8>,
}

impl<R: Read> Fields<R> {
    pub fn new(input: R) -> Self {
        Self { input: BufReader::with_capacity(1 << 16, input), field: Vec::new() }
    }

    /// The next byte, without taking it; none at the end.
    pub fn peek(&mut self) -> Result<Option<u8>> {
        match self.input.fill_buf() {
            Ok(buffer) => Ok(buffer.first().copied()),
            Err(error) => Err(unreadable(&error)),
        }
    }

    /// Takes the byte that [`Self::peek`] showed.
    pub fn skip(&mut self) {
        self.input.consume(1);
    }

    /// The next field without its NUL.
    pub fn next(&mut self) -> Result<&[u8]> {
        self.read(LONGEST_FIELD)?;
        if self.field.len() > LONGEST_FIELD {
            return Err(Error::invalid(format!("git names something too long: bytes>{LONGEST_FIELD}")));
        }
        Ok(&self.field)
    }

    /// The next field, of which at most `limit` bytes are kept.
    pub fn next_cut(&mut self, limit: usize) -> Result<&[u8]> {
        self.read(limit)?;
        self.field.truncate(limit);
        Ok(&self.field)
    }

    /// Fills the buffer up to the next NUL and keeps no more than one byte beyond `limit`.
    fn read(&mut self, limit: usize) -> Result<()> {
        self.field.clear();
        loop {
            let buffer = self.input.fill_buf().map_err(|error| unreadable(&error))?;
            if buffer.is_empty() {
                return Err(Error::invalid("git stopped in the middle of a field"));
            }
            let end = buffer.iter().position(|byte| *byte == 0);
            let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
            let room = (limit + 1).saturating_sub(self.field.len());
            self.field.extend(part.iter().take(room));
            let taken = part.len() + usize::from(end.is_some());
            self.input.consume(taken);
            if end.is_some() {
                return Ok(());
            }
        }
    }
}

fn unreadable(error: &std::io::Error) -> Error {
    Error::invalid(format!("cannot read what git says: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_across_the_ends_of_buffers() {
        let long = vec![b'x'; 200_000];
        let input = [&b"a\0\0"[..], &long, b"\0end"].concat();
        let mut fields = Fields::new(input.as_slice());
        assert_eq!(fields.next().unwrap(), b"a");
        assert_eq!(fields.next().unwrap(), b"");
        assert_eq!(fields.next().unwrap(), long);
        assert_eq!(fields.peek().unwrap(), Some(b'e'));
        assert!(fields.next().unwrap_err().message().contains("in the middle"));
    }

    #[test]
    fn a_field_is_cut_and_an_endless_one_refused() {
        let input =
            [vec![b'x'; LONGEST_FIELD + 2], vec![0], vec![b'y'; 9], vec![0], vec![b'z'; 3], vec![0]].concat();
        let mut fields = Fields::new(input.as_slice());
        assert!(fields.next().unwrap_err().message().contains("too long"));
        assert_eq!(fields.next_cut(4).unwrap(), b"yyyy");
        assert_eq!(fields.next_cut(4).unwrap(), b"zzz");
    }
}
