//! What there is to see, in 80 columns.

use std::fmt;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::path_text;
use crate::output::fit;

/// How many of each kind are shown.
const SHOWN: usize = 5;
/// Columns of a name, and of the bar behind its number.
const NAME_WIDTH: usize = 46;
const BAR_WIDTH: u64 = 18;

/// A summary that is filled by going through the documents once. Holds the busiest few of each kind.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// The repository's folder, as the user gave it.
    pub repository: String,
    /// The commit whose tree the documents are.
    pub commit: String,
    pub commits: u64,
    /// Events taken by this run, and how long it took.
    pub events: u64,
    pub milliseconds: u64,
    /// Commands to look further, and what each shows.
    pub commands: Vec<(String, String)>,
    people: Top,
    folders: Top,
    files: Top,
    days: Top,
    first_day: Option<String>,
    last_day: Option<String>,
}

impl Summary {
    /// Of a run that took so many events in so many milliseconds.
    pub fn new(repository: String, commit: String, events: u64, milliseconds: u64) -> Self {
        Self { repository, commit, events, milliseconds, ..Self::default() }
    }

    /// A document of `authors`.
    pub fn person(&mut self, name: &str, commits: u64) {
        self.people.offer(name, commits);
    }

    /// A document of `churn`; leave the root out, which has a part in every change.
    pub fn folder(&mut self, path: &str, changes: u64) {
        self.folders.offer(path, changes);
    }

    /// A document of `files`.
    pub fn file(&mut self, path: &str, changes: u64) {
        self.files.offer(path, changes);
    }

    /// The folder with the most changes.
    pub fn busiest_folder(&self) -> Option<&str> {
        self.folders.best.first().map(|(path, _)| path.as_str())
    }

    /// A document of `activity`; days as `2026-11-21`.
    pub fn day(&mut self, day: &str, commits: u64) {
        self.days.offer(day, commits);
        if self.first_day.as_deref().is_none_or(|first| day < first) {
            self.first_day = Some(day.to_owned());
        }
        if self.last_day.as_deref().is_none_or(|last| day > last) {
            self.last_day = Some(day.to_owned());
        }
    }

    fn head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commit: String = self.commit.chars().take(12).collect();
        writeln!(f, "{} at {commit}", ended(&self.repository, 60).trim_end())?;
        let (commits, people) = (counted(self.commits, "commit"), counted(self.people.offered, "author"));
        write!(f, "{commits} by {people}, {} now", counted(self.files.offered, "file"))?;
        match (&self.first_day, &self.last_day) {
            (Some(first), Some(last)) if first != last => writeln!(f, "; {first} to {last}")?,
            (Some(day), _) => writeln!(f, "; {day}")?,
            _ => writeln!(f)?,
        }
        if self.events == 0 {
            return Ok(());
        }
        let rate = self.events.saturating_mul(1_000) / self.milliseconds.max(1);
        let (seconds, tenths) = (self.milliseconds / 1_000, self.milliseconds % 1_000 / 100);
        let events = counted(self.events, "event");
        writeln!(f, "{events} in {}.{tenths} s: {} a second", grouped(seconds), grouped(rate))
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head(f)?;
        self.people.show("Most active authors", "commits", begun, f)?;
        self.folders.show("Busiest folders", "changes", ended, f)?;
        self.files.show("Most changed files", "changes", ended, f)?;
        self.days.show("Busiest days", "commits", ended, f)?;
        if !self.commands.is_empty() {
            writeln!(f, "\nLook further")?;
        }
        for (command, shows) in &self.commands {
            writeln!(f, "  {command}\n      {shows}")?;
        }
        Ok(())
    }
}

/// The entries with the highest numbers of all that were offered; of equal ones those whose names come first.
#[derive(Debug, Clone, Default)]
struct Top {
    best: Vec<(String, u64)>,
    offered: u64,
}

impl Top {
    fn offer(&mut self, name: &str, number: u64) {
        self.offered += 1;
        let place = self
            .best
            .partition_point(|(other, best)| (u64::MAX - *best, other.as_str()) < (u64::MAX - number, name));
        if place < SHOWN {
            self.best.insert(place, (name.to_owned(), number));
            self.best.truncate(SHOWN);
        }
    }

    fn show(
        &self,
        title: &str,
        unit: &str,
        fit: fn(&str, usize) -> String,
        f: &mut fmt::Formatter<'_>,
    ) -> fmt::Result {
        let Some((_, most)) = self.best.first() else { return Ok(()) };
        writeln!(f, "\n{title:<width$}{unit:>11}", width = NAME_WIDTH + 2)?;
        for (name, number) in &self.best {
            let bar = "▪".repeat((number.saturating_mul(BAR_WIDTH) / (*most).max(1)) as usize);
            let name = fit(&path_text::for_screen(name), NAME_WIDTH);
            writeln!(f, "{}", format!("  {name}{:>11}  {bar}", grouped(*number)).trim_end())?;
        }
        Ok(())
    }
}

/// A text in exactly so many columns; of a longer one the beginning is kept.
fn begun(text: &str, columns: usize) -> String {
    let text = fit(text, columns);
    let width = text.width();
    text + &" ".repeat(columns.saturating_sub(width))
}

/// A text in exactly so many columns; of a longer one the end is kept, which says more of a path.
fn ended(text: &str, columns: usize) -> String {
    let width = text.width();
    if width <= columns {
        return text.to_owned() + &" ".repeat(columns - width);
    }
    let mut left = columns - 1;
    let mut start = text.len();
    for (place, character) in text.char_indices().rev() {
        match left.checked_sub(character.width().unwrap_or(0)) {
            Some(rest) => (left, start) = (rest, place),
            None => break,
        }
    }
    format!("…{}{}", text.get(start..).unwrap_or_default(), " ".repeat(left))
}

fn counted(number: u64, unit: &str) -> String {
    format!("{} {unit}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Summary {
        let mut summary = Summary {
            repository: "/home/ada/engine".to_owned(),
            commit: "78981922613b2afb6025042ff6bd878ac1994e85".to_owned(),
            commits: 1_234,
            events: 5_678,
            milliseconds: 3_456,
            commands: vec![(
                "foldstream documents list files".to_owned(),
                "every file as it is now".to_owned(),
            )],
            ..Summary::default()
        };
        for (number, name) in
            ["Ada", "Grace", "Zoë", "张伟", "Edsger", "Barbara", "nobody"].into_iter().enumerate()
        {
            summary.person(name, if name == "nobody" { 0 } else { 500 - number as u64 * 80 });
        }
        summary.folder("src", 2_000);
        summary.file(&format!("{}/mod.rs", "a-long-folder/".repeat(9).trim_end_matches('/')), 70);
        summary.file("new\nline", 3);
        summary.day("2024-02-29", 4);
        summary.day("2023-01-01", 9);
        summary
    }

    #[test]
    fn a_summary_is_worth_reading() {
        let expected = r#"/home/ada/engine at 78981922613b
1,234 commits by 7 authors, 2 files now; 2023-01-01 to 2024-02-29
5,678 events in 3.4 s: 1,642 a second

Most active authors                                 commits
  Ada                                                   500  ▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪
  Grace                                                 420  ▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪
  Zoë                                                   340  ▪▪▪▪▪▪▪▪▪▪▪▪
  张伟                                                  260  ▪▪▪▪▪▪▪▪▪
  Edsger                                                180  ▪▪▪▪▪▪

Busiest folders                                     changes
  src                                                 2,000  ▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪

Most changed files                                  changes
  …ong-folder/a-long-folder/a-long-folder/mod.rs         70  ▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪
  "new\nline"                                             3

Busiest days                                        commits
  2023-01-01                                              9  ▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪
  2024-02-29                                              4  ▪▪▪▪▪▪▪▪

Look further
  foldstream documents list files
      every file as it is now
"#;
        assert_eq!(example().to_string(), expected);
    }

    #[test]
    fn no_line_is_wider_than_a_terminal() {
        assert!(example().to_string().lines().all(|line| line.width() <= 80));
    }

    #[test]
    fn an_empty_summary_has_no_empty_parts() {
        assert_eq!(Summary::default().to_string(), " at \n0 commits by 0 authors, 0 files now\n");
    }

    #[test]
    fn of_equals_the_first_names_are_kept_whatever_the_order() {
        let mut top = Top::default();
        for name in ["f", "b", "a", "e", "c", "d"] {
            top.offer(name, 1);
        }
        top.offer("g", 2);
        assert_eq!(top.best.iter().map(|(name, _)| name.as_str()).collect::<String>(), "gabcd");
        assert_eq!(top.offered, 7);
    }
}
