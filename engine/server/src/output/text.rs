//! Numbers, times and foreign text as a person reads them.

use std::time::Duration;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 event`, `2 events`; of words that end in `y`, `2 entries`.
pub fn plural(number: u64, word: &str) -> String {
    match (number, word.strip_suffix('y')) {
        (1, _) => format!("1 {word}"),
        (_, Some(stem)) => format!("{} {stem}ies", count(number)),
        _ => format!("{} {word}s", count(number)),
    }
}

/// `0 s`, `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
pub fn duration(length: Duration) -> String {
    let seconds = length.as_secs();
    let pair = |large: u64, large_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {large_unit}"),
        _ => format!("{large} {large_unit} {small} {small_unit}"),
    };
    match seconds {
        0 if length.subsec_millis() < 100 => "0 s".to_owned(),
        0..10 => format!("{}.{} s", seconds, length.subsec_millis() / 100),
        10..60 => format!("{seconds} s"),
        60..3_600 => pair(seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => pair(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => pair(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// A timestamp's canonical text without the fraction of its second: `2026-11-21T17:00:00Z`.
pub fn seconds(timestamp: foldstream_model::Timestamp) -> String {
    let text = timestamp.to_string();
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text,
    }
}

/// Text of others, with what would move the cursor or break the line escaped.
pub fn printable(text: &str) -> String {
    let unsafe_in_a_terminal = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if unsafe_in_a_terminal(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// The text cut to a width, with `…` where something was taken away.
pub fn fit(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut used = 1;
    let kept = text.chars().take_while(|c| {
        used += c.width().unwrap_or(0);
        used <= width
    });
    kept.chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_words_counted() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [plural(1, "event"), plural(2, "event"), plural(3, "entry")],
            ["1 event", "2 events", "3 entries"]
        );
    }

    #[test]
    fn durations_show_their_two_largest_units() {
        let shown = [0, 9, 12, 60, 200, 7_500, 280_000].map(|s| duration(Duration::from_secs(s)));
        assert_eq!(shown, ["0 s", "9.0 s", "12 s", "1 min", "3 min 20 s", "2 h 5 min", "3 d 5 h"]);
        assert_eq!(duration(Duration::from_millis(470)), "0.4 s");
    }

    #[test]
    fn text_of_others_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[2J\nb\u{202e}ü"), "a\\u{1b}[2J\\nb\\u{202e}ü");
    }

    #[test]
    fn what_is_too_wide_is_cut_with_a_sign() {
        assert_eq!([fit("abcdef", 6), fit("abcdef", 4), fit("東京都", 4)], ["abcdef", "abc…", "東…"]);
    }
}
