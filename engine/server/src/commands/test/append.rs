/// The text of a configuration with an entry added to its `tests:`, without touching anything else. The entry's first
/// line begins with `  - `. None where the text is not laid out in a way that can be added to by lines.
pub fn entry(text: &str, entry: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let Some(head) = lines.iter().position(|line| line.starts_with("tests:")) else {
        return Some(format!("{}\n\ntests:\n{entry}", text.trim_end()));
    };
    let rest = lines.get(head)?.strip_prefix("tests:")?.trim();
    if !rest.is_empty() && !rest.starts_with('#') {
        return None;
    }
    let body = lines.get(head + 1..)?;
    let is_next_key = |line: &&str| !line.starts_with([' ', '-', '#']) && !line.trim().is_empty();
    let length = body.iter().position(is_next_key).unwrap_or(body.len());
    let (tests, after) = body.split_at(length);
    let indent =
        tests.iter().find(|line| line.trim_start().starts_with("- ")).map_or(2, |line| indent_of(line));
    let used = tests.iter().rposition(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let (tests, between) = tests.split_at(used.map_or(0, |used| used + 1));
    let entry =
        entry.lines().map(|line| format!("{}{}", " ".repeat(indent), line.get(2..).unwrap_or_default()));
    let before = lines.get(..=head)?.iter().chain(tests).map(|line| (*line).to_owned());
    let after = between.iter().chain(after).map(|line| (*line).to_owned());
    let all: Vec<String> = before.chain(entry).chain(after).collect();
    Some(all.join("\n") + "\n")
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = "  - name: new\n    given:\n      - x\n";

    #[test]
    fn a_file_without_tests_gets_them_at_its_end() {
        assert_eq!(entry("a: 1\n", ENTRY).unwrap(), format!("a: 1\n\ntests:\n{ENTRY}"));
    }

    #[test]
    fn an_entry_goes_behind_the_last_one_with_its_indentation() {
        let text = "tests:\n- name: old\n  given: []\n\n# next\nlimits:\n  lanes: 1\n";
        let expected = "tests:\n- name: old\n  given: []\n- name: new\n  given:\n    - x\n\n# next\nlimits:\n  lanes: 1\n";
        assert_eq!(entry(text, ENTRY).unwrap(), expected);
    }

    #[test]
    fn tests_on_one_line_are_left_alone() {
        assert_eq!(entry("tests: []\n", ENTRY), None);
    }
}
