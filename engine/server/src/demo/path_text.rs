//! Paths as text, without loss.
//!
//! A path that is UTF-8 stands for itself, whatever characters it holds. One that is not, or that begins with `"`, is
//! quoted as git quotes paths: between `"`, with `\"`, `\\`, `\n`, `\t` and the like, and `\351` (octal) for a byte that
//! belongs to no character. So a text that begins with `"` is always quoted, and no two paths have the same text.

use std::fmt::Write as _;

use foldstream_model::{Error, Result};

/// What git writes behind a backslash, and the byte that it means.
const ESCAPES: [(char, u8); 9] = [
    ('"', b'"'),
    ('\\', b'\\'),
    ('a', 7),
    ('b', 8),
    ('t', b'\t'),
    ('n', b'\n'),
    ('v', 11),
    ('f', 12),
    ('r', b'\r'),
];

/// The text of a path.
pub fn of_path(path: &[u8]) -> String {
    match std::str::from_utf8(path) {
        Ok(text) if !text.starts_with('"') => text.to_owned(),
        _ => quoted(path),
    }
}

/// The path of a text; `Invalid` when [`of_path`] cannot have made it.
pub fn to_path(text: &str) -> Result<Vec<u8>> {
    if !text.starts_with('"') {
        return Ok(text.as_bytes().to_vec());
    }
    let path = unquoted(text).filter(|path| of_path(path) == text);
    path.ok_or_else(|| Error::invalid(format!("not a quoted path: text={text:?}")))
}

/// The text of a path on one line of a terminal: quoted also where it holds what would break the line.
pub fn for_screen(path: &str) -> String {
    if path.starts_with('"') || !path.chars().any(char::is_control) {
        path.to_owned()
    } else {
        quoted(path.as_bytes())
    }
}

fn quoted(path: &[u8]) -> String {
    let mut text = String::from('"');
    for chunk in path.utf8_chunks() {
        for character in chunk.valid().chars() {
            push(character, &mut text);
        }
        for byte in chunk.invalid() {
            push_octal(*byte, &mut text);
        }
    }
    text.push('"');
    text
}

fn push(character: char, text: &mut String) {
    let escape = ESCAPES.iter().find(|(_, byte)| character == char::from(*byte));
    match escape {
        Some((letter, _)) => text.extend(['\\', *letter]),
        None if character.is_ascii_control() => push_octal(character as u8, text),
        None => text.push(character),
    }
}

fn push_octal(byte: u8, text: &mut String) {
    write!(text, "\\{byte:03o}").expect("writing to a string cannot fail");
}

fn unquoted(text: &str) -> Option<Vec<u8>> {
    let mut rest = text.strip_prefix('"')?.strip_suffix('"')?.chars();
    let mut path = Vec::new();
    while let Some(character) = rest.next() {
        if character != '\\' {
            path.extend(character.encode_utf8(&mut [0; 4]).bytes());
            continue;
        }
        let letter = rest.next()?;
        match ESCAPES.iter().find(|(escape, _)| *escape == letter) {
            Some((_, byte)) => path.push(*byte),
            None => {
                let octal: String = [letter, rest.next()?, rest.next()?].iter().collect();
                path.push(u8::from_str_radix(&octal, 8).ok()?);
            }
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_is_no_text_is_quoted() {
        assert_eq!(of_path("naïve \n \\ path".as_bytes()), "naïve \n \\ path");
        assert_eq!(of_path(b"caf\xe9/\xc3\xa9\n"), "\"caf\\351/é\\n\"");
        assert_eq!(of_path(b"\"a\""), "\"\\\"a\\\"\"");
    }

    #[test]
    fn a_text_that_no_path_has_is_refused() {
        for text in ["\"", "\"a", "\"\\", "\"\\q\"", "\"\\9\"", "\"plain\"", "\"\\777\""] {
            assert!(to_path(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_breaks_a_line_is_quoted_for_the_screen() {
        assert_eq!(for_screen("a b"), "a b");
        assert_eq!(for_screen("a\n\u{1b}[31m"), "\"a\\n\\033[31m\"");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn a_path_is_read_back_from_its_text(path in prop_oneof![
            prop::collection::vec(1u8..=255, 0..20),
            prop::collection::vec(prop::sample::select(b"\"\\n351\n\xe9\xc3\xa9".to_vec()), 0..10),
        ]) {
            prop_assert_eq!(to_path(&of_path(&path)).unwrap(), path);
        }
    }
}
