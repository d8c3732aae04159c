//! What is read of a commit besides its tree.

use std::io::Read;

use foldstream_model::{Error, Result};

use super::{ObjectId, fields::Fields};

/// Names and subjects are cut here, in bytes: they become keys and lines on a screen, and may be of any length.
const LONGEST_NAME: usize = 200;
const LONGEST_SUBJECT: usize = 500;

/// Who wrote a commit. Neither is ever empty: one stands in for the other, and `unknown` for both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    pub name: String,
    pub email: String,
}

/// A commit. Text that is not UTF-8 is shown with replacement characters, and cut where it is very long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    pub id: ObjectId,
    /// Its parents that are here: a commit where a shallow clone begins has none.
    pub parents: Vec<ObjectId>,
    pub author: Person,
    /// In seconds since 1970, as the author's clock had it; zero when the commit has no date that git can read.
    pub authored: i64,
    /// The same by the clock of who committed it.
    pub committed: i64,
    pub subject: String,
}

impl Commit {
    /// What [`Self::read`] reads, in the language of git's `--format`.
    pub const FORMAT: &str = "--format=commit %H%x00%P%x00%an%x00%ae%x00%at%x00%ct%x00%s";

    pub fn read<R: Read>(fields: &mut Fields<R>) -> Result<Self> {
        let id = read_id(fields)?;
        let parents = fields.next()?.split(|byte| *byte == b' ').filter(|hex| !hex.is_empty());
        let parents = parents.map(ObjectId::parse).collect::<Result<_>>()?;
        let name = text(fields.next_cut(LONGEST_NAME)?, LONGEST_NAME);
        let email = text(fields.next_cut(LONGEST_NAME)?, LONGEST_NAME);
        let (authored, committed) = (seconds(fields.next_cut(40)?), seconds(fields.next_cut(40)?));
        let subject = text(fields.next_cut(LONGEST_SUBJECT)?, LONGEST_SUBJECT);
        Ok(Self { id, parents, author: person(name, email), authored, committed, subject })
    }
}

/// Reads the field `commit <id>`.
pub fn read_id<R: Read>(fields: &mut Fields<R>) -> Result<ObjectId> {
    let field = fields.next()?;
    match field.strip_prefix(b"commit ") {
        Some(id) => ObjectId::parse(id),
        None => Err(Error::internal(format!(
            "a commit was expected of git: {:?}",
            String::from_utf8_lossy(field)
        ))),
    }
}

fn person(name: String, email: String) -> Person {
    match (name.is_empty(), email.is_empty()) {
        (false, false) => Person { name, email },
        (true, false) => Person { name: email.clone(), email },
        (false, true) => Person { email: name.clone(), name },
        (true, true) => Person { name: "unknown".to_owned(), email: "unknown".to_owned() },
    }
}

/// Bytes as text of at most `limit` bytes: replacement characters are longer than what they replace.
fn text(bytes: &[u8], limit: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    let end = text.floor_char_boundary(limit);
    text.get(..end).unwrap_or_default().trim().to_owned()
}

/// Git shows a date as it stands in the commit: digits of any number, or nothing when it cannot read it.
fn seconds(digits: &[u8]) -> i64 {
    let text = String::from_utf8_lossy(digits);
    match text.parse::<i64>() {
        Ok(seconds) => seconds,
        Err(error) if *error.kind() == std::num::IntErrorKind::PosOverflow => i64::MAX,
        Err(error) if *error.kind() == std::num::IntErrorKind::NegOverflow => i64::MIN,
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_any_size_become_seconds() {
        assert_eq!(seconds(b"1700000000"), 1_700_000_000);
        assert_eq!(seconds(b"-5"), -5);
        assert_eq!(seconds(b"99999999999999999999999999"), i64::MAX);
        assert_eq!(seconds(b"-99999999999999999999999999"), i64::MIN);
        assert_eq!(seconds(b""), 0);
    }

    #[test]
    fn nobody_is_without_a_name() {
        assert_eq!(person(String::new(), "a@b".to_owned()).name, "a@b");
        assert_eq!(person("Ada".to_owned(), String::new()).email, "Ada");
        assert_eq!(person(String::new(), String::new()).email, "unknown");
    }

    #[test]
    fn text_is_cut_between_characters_and_never_grows_beyond_its_limit() {
        assert_eq!(text("aé".as_bytes(), 2), "a");
        assert_eq!(text(&[0xff; 9], 9), "\u{fffd}\u{fffd}\u{fffd}");
    }
}
