//! Choosing among fields that may hold a part.

use foldstream_model::{Path, Timestamp, Value};

use super::{
    Unclear,
    column::{Column, Columns},
    name::{self, RESEMBLES},
    part::Part,
};
use crate::settings;

/// Scores this near to each other settle nothing by themselves.
const NEAR: i32 = 4;

pub(super) struct Candidate<'c> {
    pub path: &'c Path,
    pub column: &'c Column,
    pub score: i32,
}

/// The fields whose name speaks for a part and that are free, the best first.
pub(super) fn candidates<'c>(
    columns: &'c Columns,
    part: Part,
    is_free: &dyn Fn(&Path) -> bool,
) -> Vec<Candidate<'c>> {
    let mut found: Vec<Candidate<'c>> = columns
        .iter()
        .filter(|(path, _)| is_free(path))
        .map(|(path, column)| Candidate { path, column, score: name::score(part, path, columns.are_tagged) })
        .filter(|candidate| candidate.score > 0)
        .collect();
    sort(&mut found);
    found
}

/// All fields that are free, with the least of scores: for what no name speaks for.
pub(super) fn nameless<'c>(columns: &'c Columns, is_free: &dyn Fn(&Path) -> bool) -> Vec<Candidate<'c>> {
    let free = columns.iter().filter(|(path, column)| is_free(path) && columns.covers(column, 80));
    free.map(|(path, column)| Candidate { path, column, score: 1 }).collect()
}

pub(super) fn sort(candidates: &mut [Candidate<'_>]) {
    candidates.sort_by_key(|candidate| (-candidate.score, candidate.path.names().len()));
}

/// The best of them; an error if another one that is as good divides the events differently.
pub(super) fn best<'c>(
    part: Part,
    sorted: &[Candidate<'c>],
) -> Result<Option<(&'c Path, &'c Column)>, Unclear> {
    let Some((best, others)) = sorted.split_first() else { return Ok(None) };
    let rivals: Vec<&Candidate<'_>> = others
        .iter()
        .filter(|other| other.score + NEAR >= best.score && !best.column.groups_as(other.column))
        .collect();
    if rivals.is_empty() {
        return Ok(Some((best.path, best.column)));
    }
    let candidates: Vec<String> =
        std::iter::once(best).chain(rivals).map(|candidate| candidate.path.to_string()).collect();
    let message = format!("{} fields may hold it, and nothing tells them apart", candidates.len());
    Err(Unclear { part: part.name(), message, candidates })
}

/// Fields that hold one word of a small vocabulary.
pub(super) fn types<'c>(columns: &'c Columns, is_free: &dyn Fn(&Path) -> bool) -> Vec<Candidate<'c>> {
    let mut found = candidates(columns, Part::Type, is_free);
    found.retain(|candidate| {
        columns.covers(candidate.column, 80)
            && candidate.column.all(|value| value.as_text().is_some_and(|text| !text.is_empty()))
    });
    for candidate in &mut found {
        let (distinct, all) = (candidate.column.distinct(), candidate.column.values.len());
        // Often the type of the aggregate.
        if all >= 2 && distinct == 1 {
            candidate.score -= 15;
        }
        if all >= 5 && (distinct == all || distinct > 100) {
            candidate.score -= 40;
        }
        if candidate
            .column
            .all(|value| value.as_text().is_some_and(|text| text.contains(char::is_whitespace)))
        {
            candidate.score -= 20;
        }
    }
    sort(&mut found);
    found
}

/// Fields without a telling name that say what has happened: `OrderPlaced`, `parcel_sent`.
pub(super) fn types_by_value<'c>(
    columns: &'c Columns,
    is_free: &dyn Fn(&Path) -> bool,
) -> Vec<Candidate<'c>> {
    let mut found = nameless(columns, is_free);
    found.retain(|candidate| {
        let texts: Option<Vec<&str>> =
            candidate.column.values.iter().map(|(_, value)| value.as_text()).collect();
        let Some(texts) = texts else { return false };
        let past = texts.iter().filter(|text| name::is_in_past_tense(text)).count();
        (2..=100).contains(&candidate.column.distinct()) && past * 2 > texts.len()
    });
    found
}

/// Fields that hold an instant in every event that has them.
pub(super) fn times<'c>(
    columns: &'c Columns,
    part: Part,
    is_free: &dyn Fn(&Path) -> bool,
) -> Vec<Candidate<'c>> {
    let mut found = candidates(columns, part, is_free);
    found.retain(|candidate| {
        let known = candidate.score > RESEMBLES;
        let covers = columns.covers(candidate.column, if known { 50 } else { 95 });
        covers
            && candidate.column.all(|value| instant(value).is_some())
            && (known || mostly_rises(candidate.column))
    });
    found
}

/// When an event is recorded, others were before it; when a bill is due says nothing of that kind.
fn mostly_rises(column: &Column) -> bool {
    let instants: Vec<Option<Timestamp>> = column.values.iter().map(|(_, value)| instant(value)).collect();
    let rising = instants.windows(2).filter(|pair| pair.is_sorted()).count();
    column.values.len() >= 3 && rising * 10 >= (column.values.len() - 1) * 9
}

/// An instant that an event can have been recorded at: numbers are taken for one between 2000 and 2100 only.
fn instant(value: &Value) -> Option<Timestamp> {
    let instant = settings::instant(value)?;
    let plausible = Timestamp::from_seconds(946_684_800)..Timestamp::from_seconds(4_102_444_800);
    (value.as_number().is_none() || plausible.contains(&instant)).then_some(instant)
}

/// Fields that hold a map, or a text that holds a JSON object.
pub(super) fn maps<'c>(
    columns: &'c Columns,
    part: Part,
    is_free: &dyn Fn(&Path) -> bool,
) -> Vec<Candidate<'c>> {
    let mut found = candidates(columns, part, is_free);
    found.retain(|candidate| is_map(candidate.column) || is_json(candidate.column));
    if columns.are_tagged {
        let paths: Vec<&Path> = found.iter().map(|candidate| candidate.path).collect();
        found.retain(|candidate| !paths.iter().any(|inner| name::is_tagged(candidate.path, inner)));
    }
    found
}

pub(super) fn is_map(column: &Column) -> bool {
    column.all(|value| value.as_map().is_some())
}

pub(super) fn is_json(column: &Column) -> bool {
    column.all(|value| value.as_text().is_some_and(|text| parse_json(text).is_some()))
}

pub(super) fn parse_json(text: &str) -> Option<Value> {
    Value::parse(text.as_bytes()).ok().filter(|value| value.as_map().is_some())
}
