use std::io::{self, BufRead, Read};

use bytes::Bytes;

/// A longer line is no event but a mistake, and is not held in memory.
const MAX_LINE_BYTES: usize = 16 << 20;

/// A line of a file.
#[derive(Debug)]
pub struct Line {
    /// From 1.
    pub number: u64,
    /// Without the line's end; none when it is too long to be an event.
    pub text: Option<Bytes>,
}

/// The lines of a file that hold anything.
pub struct Lines<R> {
    reader: R,
    number: u64,
    bytes: u64,
}

impl<R: BufRead> Lines<R> {
    pub fn new(reader: R) -> Self {
        Self { reader, number: 0, bytes: 0 }
    }

    /// Bytes that were read so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next line that is not blank.
    pub fn next_line(&mut self) -> io::Result<Option<Line>> {
        loop {
            let mut text = Vec::new();
            let limit = MAX_LINE_BYTES as u64 + 1;
            let read = self.reader.by_ref().take(limit).read_until(b'\n', &mut text)?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            self.bytes += read as u64;
            if text.len() > MAX_LINE_BYTES && text.last() != Some(&b'\n') {
                self.skip_to_the_end_of_the_line()?;
                return Ok(Some(Line { number: self.number, text: None }));
            }
            if self.number == 1 && text.starts_with(b"\xef\xbb\xbf") {
                text.drain(..3);
            }
            let text = text.trim_ascii();
            if !text.is_empty() {
                return Ok(Some(Line { number: self.number, text: Some(Bytes::copy_from_slice(text)) }));
            }
        }
    }

    fn skip_to_the_end_of_the_line(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.reader.fill_buf()?;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let used = end.map_or(buffer.len(), |end| end + 1);
            self.reader.consume(used);
            self.bytes += used as u64;
            if end.is_some() || used == 0 {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Vec<(u64, Option<String>)> {
        let mut lines = Lines::new(text);
        let next = || lines.next_line().unwrap();
        let text =
            |line: Line| (line.number, line.text.map(|text| String::from_utf8(text.to_vec()).unwrap()));
        std::iter::from_fn(next).map(text).collect()
    }

    #[test]
    fn blank_lines_are_counted_and_left_out() {
        let lines = read(b"\xef\xbb\xbf{}\r\n\n  \n[1]\nlast");
        let expected = [(1, "{}"), (4, "[1]"), (5, "last")].map(|(n, text)| (n, Some(text.to_owned())));
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_line_that_is_too_long_is_said_and_the_next_one_read() {
        let mut file = vec![b'x'; MAX_LINE_BYTES + 10];
        file.extend_from_slice(b"\n{}\n");
        assert_eq!(read(&file), [(1, None), (2, Some("{}".to_owned()))]);
    }

    #[test]
    fn the_longest_line_is_taken() {
        let file = vec![b'x'; MAX_LINE_BYTES];
        assert_eq!(read(&file).len(), 1);
        assert!(read(&file)[0].1.is_some());
    }
}
