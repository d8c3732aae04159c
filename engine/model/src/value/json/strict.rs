//! Passing over JSON with all of it checked, for whoever only wants to know where a value ends.

/// Stands somewhere in a text. Every step that returns none has found what is no JSON, or not what was asked for; where
/// it then stands means nothing.
pub(crate) struct Strict<'j> {
    text: &'j str,
    json: &'j [u8],
    at: usize,
}

impl<'j> Strict<'j> {
    /// At the beginning of a text, which must be UTF-8.
    pub fn new(json: &'j str) -> Self {
        Self { text: json, json: json.as_bytes(), at: 0 }
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

    /// What a step passes over.
    pub fn passed(&mut self, step: impl FnOnce(&mut Self) -> Option<()>) -> Option<&'j str> {
        let begin = self.at;
        step(self)?;
        self.text.get(begin..self.at)
    }

    /// Steps over a string. Ok: what is between its quotes, where that has no escapes; an error is the string as it stands.
    pub fn plain_text(&mut self) -> Option<Result<&'j str, &'j str>> {
        let mut escaped = false;
        let quoted = self.passed(|passing| passing.string().map(|found| escaped = found))?;
        Some(if escaped { Err(quoted) } else { Ok(quoted.get(1..quoted.len() - 1)?) })
    }

    /// Steps over a value, however deep it is nested.
    pub fn value(&mut self) -> Option<()> {
        let mut open = Open::default();
        loop {
            let first = self.next()?;
            if matches!(first, b'{' | b'[') {
                self.at += 1;
                self.blanks();
                let is_object = first == b'{';
                if !self.closes(is_object) {
                    open.push(is_object);
                    if is_object {
                        self.name()?;
                    }
                    continue;
                }
            } else {
                self.simple(first)?;
            }
            loop {
                let Some(in_object) = open.innermost() else { return Some(()) };
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
                open.pop();
            }
        }
    }

    pub fn next(&self) -> Option<u8> {
        self.json.get(self.at).copied()
    }

    pub fn step(&mut self, byte: u8) -> Option<()> {
        self.at += 1;
        (self.json.get(self.at - 1) == Some(&byte)).then_some(())
    }

    pub fn blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.next() {
            self.at += 1;
        }
    }

    /// Steps over the end of a list or an object, if it comes next.
    pub fn closes(&mut self, object: bool) -> bool {
        let closes = self.next() == Some(if object { b'}' } else { b']' });
        self.at += usize::from(closes);
        closes
    }

    /// A field's name, and what is between it and the field's value.
    fn name(&mut self) -> Option<()> {
        self.string()?;
        self.colon()
    }

    /// What is between a field's name and its value.
    pub fn colon(&mut self) -> Option<()> {
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

    pub fn number(&mut self) -> Option<()> {
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

/// The lists and objects that are open: of each whether it is an object, a bit in a word, the innermost in the lowest.
#[derive(Default)]
struct Open {
    depth: u32,
    objects: u64,
    /// Words that were full, the outermost first.
    outer: Vec<u64>,
}

impl Open {
    fn innermost(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.objects & 1 == 1)
    }

    fn push(&mut self, is_object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(u64::BITS) {
            self.outer.push(self.objects);
        }
        self.depth += 1;
        self.objects = self.objects << 1 | u64::from(is_object);
    }

    fn pop(&mut self) {
        self.depth -= 1;
        self.objects >>= 1;
        if self.depth.is_multiple_of(u64::BITS) {
            self.objects = self.outer.pop().unwrap_or_default();
        }
    }
}

/// The first quote, backslash or control character from here on.
fn quote_escape_or_control(bytes: &[u8], from: usize) -> Option<usize> {
    // No `||`: without branches the processor takes many bytes at once.
    let is_found = |byte: &u8| (*byte == b'"') | (*byte == b'\\') | (*byte < b' ');
    let mut at = from;
    loop {
        let rest = bytes.get(at..)?;
        let Some(word) = rest.first_chunk() else {
            return rest.iter().position(is_found).map(|found| at + found);
        };
        if let Some(found) = first_in_word(u64::from_le_bytes(*word)) {
            return Some(at + found);
        }
        at += 8;
        // Most texts have ended by now.
        while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<32>())
            && chunk.iter().fold(0, |any, byte| any | u8::from(is_found(byte))) == 0
        {
            at += 32;
        }
    }
}

fn first_in_word(word: u64) -> Option<usize> {
    let found = equal_to(word, b'"') | equal_to(word, b'\\') | below(word, b' ');
    (found != 0).then(|| found.trailing_zeros() as usize / 8)
}

/// Sets the highest bit of each byte that equals this one; of bytes behind such a one it may be set too.
fn equal_to(word: u64, byte: u8) -> u64 {
    below(word ^ (LOWEST * u64::from(byte)), 1)
}

/// Sets the highest bit of each byte that is below this one, which is at most 128; of bytes behind such a one it may be
/// set too.
fn below(word: u64, byte: u8) -> u64 {
    word.wrapping_sub(LOWEST * u64::from(byte)) & !word & HIGHEST
}

const LOWEST: u64 = u64::from_le_bytes([0x01; 8]);
const HIGHEST: u64 = u64::from_le_bytes([0x80; 8]);
