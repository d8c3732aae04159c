//! Passing over JSON with all of it checked, for whoever only wants to know where a value ends.

/// How deep [`Strict::value`] follows lists and objects: as many as fit the bits of a word.
const DEEPEST: u32 = u64::BITS;

/// Stands somewhere in a text. Every step that returns none has found what is no JSON, or not what was asked for; where
/// it then stands means nothing.
pub(crate) struct Strict<'j> {
    json: &'j [u8],
    at: usize,
}

impl<'j> Strict<'j> {
    /// At the beginning of a text, which must be UTF-8.
    pub fn new(json: &'j str) -> Self {
        Self { json: json.as_bytes(), at: 0 }
    }

    pub fn at(&self) -> usize {
        self.at
    }

    pub fn is_at_end(&self) -> bool {
        self.at == self.json.len()
    }

    /// Steps over these bytes, if they come next.
    pub fn skip(&mut self, expected: &str) -> bool {
        let comes = self.json.get(self.at..).is_some_and(|rest| rest.starts_with(expected.as_bytes()));
        if comes {
            self.at += expected.len();
        }
        comes
    }

    /// Steps over digits; whether there are any.
    pub fn digits(&mut self) -> bool {
        let begin = self.at;
        while let Some(b'0'..=b'9') = self.next() {
            self.at += 1;
        }
        self.at > begin
    }

    /// Steps over a string; whether it has escapes.
    pub fn string(&mut self) -> Option<bool> {
        let mut escaped = false;
        self.step(b'"')?;
        loop {
            self.at = quote_escape_or_control(self.json, self.at)?;
            match self.next()? {
                b'"' => break,
                b'\\' => self.escape()?,
                _ => return None,
            }
            escaped = true;
        }
        self.at += 1;
        Some(escaped)
    }

    /// Steps over a value, nested at most 64 deep.
    pub fn value(&mut self) -> Option<()> {
        // Of the lists and objects that are open, the innermost last: whether it is an object.
        let (mut objects, mut depth) = (0_u64, 0);
        loop {
            let first = self.next()?;
            if matches!(first, b'{' | b'[') && depth < DEEPEST {
                self.at += 1;
                self.blanks();
                let is_object = first == b'{';
                if !self.closes(is_object) {
                    depth += 1;
                    objects = objects << 1 | u64::from(is_object);
                    if is_object {
                        self.name()?;
                    }
                    continue;
                }
            } else {
                self.simple(first)?;
            }
            loop {
                if depth == 0 {
                    return Some(());
                }
                let in_object = objects & 1 == 1;
                self.blanks();
                if self.next()? == b',' {
                    self.at += 1;
                    self.blanks();
                    if in_object {
                        self.name()?;
                    }
                    break;
                }
                if !self.closes(in_object) {
                    return None;
                }
                depth -= 1;
                objects >>= 1;
            }
        }
    }

    fn next(&self) -> Option<u8> {
        self.json.get(self.at).copied()
    }

    fn step(&mut self, byte: u8) -> Option<()> {
        self.at += 1;
        (self.json.get(self.at - 1) == Some(&byte)).then_some(())
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.next() {
            self.at += 1;
        }
    }

    /// Steps over the end of a list or an object, if it comes next.
    fn closes(&mut self, object: bool) -> bool {
        let closes = self.next() == Some(if object { b'}' } else { b']' });
        self.at += usize::from(closes);
        closes
    }

    /// A field's name, and what is between it and the field's value.
    fn name(&mut self) -> Option<()> {
        self.string()?;
        self.blanks();
        self.step(b':')?;
        self.blanks();
        Some(())
    }

    fn simple(&mut self, first: u8) -> Option<()> {
        let word = match first {
            b'"' => return self.string().map(|_| ()),
            b't' => "true",
            b'f' => "false",
            b'n' => "null",
            _ => return self.number(),
        };
        self.skip(word).then_some(())
    }

    fn number(&mut self) -> Option<()> {
        self.skip("-");
        let is_whole = self.skip("0") || self.digits();
        let has_decimals = !self.skip(".") || self.digits();
        let has_exponent = match self.next() {
            Some(b'e' | b'E') => {
                self.at += 1;
                let _ = self.skip("-") || self.skip("+");
                self.digits()
            }
            _ => true,
        };
        (is_whole && has_decimals && has_exponent).then_some(())
    }

    fn escape(&mut self) -> Option<()> {
        let length = match self.json.get(self.at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 2,
            b'u' if self.json.get(self.at + 2..self.at + 6)?.iter().all(u8::is_ascii_hexdigit) => 6,
            _ => return None,
        };
        self.at += length;
        Some(())
    }
}

/// The first quote, backslash or control character from here on.
fn quote_escape_or_control(bytes: &[u8], from: usize) -> Option<usize> {
    let (words, rest) = bytes.get(from..)?.as_chunks();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = equal_to(word, b'"') | equal_to(word, b'\\') | below(word, b' ');
        if found != 0 {
            return Some(from + 8 * index + found.trailing_zeros() as usize / 8);
        }
    }
    let found = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..b' '))?;
    Some(bytes.len() - rest.len() + found)
}

/// Sets the highest bit of each byte that equals this one; of bytes behind such a one it may be set too.
pub(super) fn equal_to(word: u64, byte: u8) -> u64 {
    below(word ^ (LOWEST * u64::from(byte)), 1)
}

/// Sets the highest bit of each byte that is below this one, which is at most 128; of bytes behind such a one it may be
/// set too.
fn below(word: u64, byte: u8) -> u64 {
    word.wrapping_sub(LOWEST * u64::from(byte)) & !word & HIGHEST
}

const LOWEST: u64 = u64::from_le_bytes([0x01; 8]);
const HIGHEST: u64 = u64::from_le_bytes([0x80; 8]);
