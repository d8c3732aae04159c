//! Rust, read by its brackets: enough to measure functions and to follow imports.

/// The text with comments, strings and characters blanked, byte for byte in place.
pub fn code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let length = opaque(bytes, at).unwrap_or(0);
        blank(&mut code, at, at + length);
        at += length.max(1);
    }
    String::from_utf8(code).expect("whole characters were blanked")
}

/// Code without the items that only tests compile.
pub fn without_tests(code: &str) -> String {
    let mut rest = code.as_bytes().to_vec();
    for (start, attribute) in code.match_indices("#[cfg(test)]") {
        let end = end_of_item(code.as_bytes(), start + attribute.len());
        blank(&mut rest, start, end);
    }
    String::from_utf8(rest).expect("whole characters were blanked")
}

/// A function, from its `fn` to its closing brace.
pub struct Function {
    pub name: String,
    pub at: usize,
    pub lines: usize,
}

/// The functions with a body, inner ones too.
pub fn functions(code: &str) -> Vec<Function> {
    let bytes = code.as_bytes();
    let mut functions = Vec::new();
    for at in words(code, "fn") {
        let name = identifier(bytes, skip_space(bytes, at + 2));
        let open = end_of_signature(bytes, at);
        if name.is_empty() || bytes.get(open) != Some(&b'{') {
            continue;
        }
        let lines = code[at..closing(bytes, open)].matches('\n').count() + 1;
        functions.push(Function { name: name.to_owned(), at, lines });
    }
    functions
}

/// Where this word stands by itself.
pub fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = code.as_bytes();
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = at.checked_sub(1).is_some_and(|before| is_name(bytes[before]));
        !before && !bytes.get(at + word.len()).is_some_and(|after| is_name(*after))
    })
}

/// Every path from the crate's root that the code names, groups of imports taken apart: `fold::Folded`.
pub fn crate_paths(code: &str) -> Vec<(usize, String)> {
    let mut paths = Vec::new();
    for at in words(code, "crate") {
        let behind = at + "crate".len();
        if code[behind..].starts_with("::") {
            let mut found = Vec::new();
            take_apart(code.as_bytes(), behind + 2, "", &mut found);
            paths.extend(found.into_iter().map(|path| (at, path)));
        }
    }
    paths
}

/// Adds what a path or a group of them names, and returns where it ends.
fn take_apart(code: &[u8], at: usize, prefix: &str, paths: &mut Vec<String>) -> usize {
    let mut at = skip_space(code, at);
    if code.get(at) == Some(&b'{') {
        while at < code.len() && code[at] != b'}' {
            at = skip_space(code, at + 1);
            if code.get(at) != Some(&b'}') {
                at = take_apart(code, at, prefix, paths);
                at += code[at..].iter().take_while(|byte| !b",}".contains(byte)).count();
            }
        }
        return at + 1;
    }
    let name = identifier(code, at);
    let path = match (name, prefix) {
        ("self" | "", prefix) => prefix.to_owned(),
        (name, "") => name.to_owned(),
        (name, prefix) => format!("{prefix}::{name}"),
    };
    let behind = at + name.len();
    if !name.is_empty() && code[behind..].starts_with(b"::") && code.get(behind + 2) != Some(&b'<') {
        return take_apart(code, behind + 2, &path, paths);
    }
    paths.push(path);
    behind
}

/// The length of the comment, string or character that begins here, if one does.
fn opaque(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    match rest {
        [b'/', b'/', ..] => Some(rest.iter().take_while(|byte| **byte != b'\n').count()),
        [b'/', b'*', ..] => Some(block_comment(rest)),
        [b'"', ..] => Some(string(rest)),
        [b'r', ..] if begins_literal(&bytes[..at]) => raw_string(rest),
        [b'\'', ..] => character(rest),
        _ => None,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    at
}

fn string(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != b'"' {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// Whether an `r` behind this may begin a literal, alone or behind a `b` or `c`.
fn begins_literal(before: &[u8]) -> bool {
    match before {
        [.., before, b'b' | b'c'] => !is_name(*before),
        [.., before] => !is_name(*before),
        [] => true,
    }
}

fn raw_string(rest: &[u8]) -> Option<usize> {
    let marks = rest[1..].iter().take_while(|byte| **byte == b'#').count();
    if rest.get(1 + marks) != Some(&b'"') {
        return None;
    }
    let mut end = vec![b'"'];
    end.resize(1 + marks, b'#');
    let body = &rest[2 + marks..];
    let length = body.windows(end.len()).position(|window| window == end).unwrap_or(body.len());
    Some((2 + marks + length + end.len()).min(rest.len()))
}

/// None for a lifetime.
fn character(rest: &[u8]) -> Option<usize> {
    if rest.get(1) == Some(&b'\\') {
        return Some(3 + rest.get(3..)?.iter().position(|byte| *byte == b'\'')? + 1);
    }
    let text = std::str::from_utf8(&rest[1..rest.len().min(5)]);
    let width = match text {
        Ok(text) => text.chars().next()?.len_utf8(),
        Err(error) if error.valid_up_to() == 0 => return None,
        Err(_) => first_character(&rest[1..])?,
    };
    (rest.get(1 + width) == Some(&b'\'')).then_some(width + 2)
}

fn first_character(bytes: &[u8]) -> Option<usize> {
    (1..=4).find(|width| bytes.get(..*width).is_some_and(|bytes| std::str::from_utf8(bytes).is_ok()))
}

/// The brace that opens the body, or the semicolon in its place.
fn end_of_signature(code: &[u8], start: usize) -> usize {
    let mut depth = 0;
    for (at, byte) in code.iter().enumerate().skip(start) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' | b';' if depth == 0 => return at,
            _ => {}
        }
    }
    code.len()
}

fn end_of_item(code: &[u8], start: usize) -> usize {
    let open = end_of_signature(code, start);
    if code.get(open) == Some(&b'{') { closing(code, open) } else { (open + 1).min(code.len()) }
}

/// Behind the brace that closes this one.
fn closing(code: &[u8], open: usize) -> usize {
    let mut depth = 0;
    for (at, byte) in code.iter().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

fn blank(bytes: &mut [u8], start: usize, end: usize) {
    bytes[start..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
}

fn identifier(code: &[u8], at: usize) -> &str {
    let length = code[at..].iter().take_while(|byte| is_name(**byte)).count();
    std::str::from_utf8(&code[at..at + length]).expect("names are ASCII")
}

fn skip_space(code: &[u8], at: usize) -> usize {
    let at = at.min(code.len());
    at + code[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[test]
fn comments_strings_and_characters_are_no_code() {
    let text = "a // x\n/* b /* c */ */ d \"\\\"e\" r#\"f\"g\"# br\"h\" 'i' '\\'' b'\\\\' 'ö' &'j k";
    let left: Vec<_> = code(text).split_whitespace().map(str::to_owned).collect();
    assert_eq!(left, ["a", "d", "b", "b", "&'j", "k"]);
    assert_eq!(code(text).len(), text.len());
}

#[test]
fn functions_are_measured_with_their_signatures() {
    let text = "trait T { fn a(&self); }\nfn b(\n  x: [u8; 2],\n) {\n  fn c() {}\n}\n";
    let found = functions(text).into_iter().map(|function| (function.name, function.lines));
    assert_eq!(found.collect::<Vec<_>>(), [("b".to_owned(), 5), ("c".to_owned(), 1)]);
}

#[test]
fn what_only_tests_compile_is_left_out() {
    let text = "fn a() {}\n#[cfg(test)]\nmod tests;\n#[cfg(test)]\nmod more { fn b() {} }\nfn c() {}";
    let names = functions(&without_tests(text)).into_iter().map(|function| function.name);
    assert_eq!(names.collect::<Vec<_>>(), ["a", "c"]);
}

#[test]
fn grouped_imports_are_taken_apart() {
    let text = "use crate::{a, b::{self, C}, d::E as F,}; crate::g::h::<u8>(); crate::i::J::new();";
    let paths: Vec<_> = crate_paths(text).into_iter().map(|(_, path)| path).collect();
    assert_eq!(paths, ["a", "b", "b::C", "d::E", "g::h", "i::J::new"]);
}
