//! Our values in the forms that SQLite compares.

/// Integers here have a sign, ours have none: none is ever stored that does not fit.
pub(crate) fn number(stored: i64) -> u64 {
    stored.try_into().unwrap_or(0)
}

/// For limits and for places to begin at, which may lie beyond all that is stored.
pub(crate) fn sql_integer(value: u64) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

/// The first text behind another one in the order of bytes; the first of all texts behind none.
pub(crate) fn first_behind(after: Option<&str>) -> String {
    after.map(|after| format!("{after}\0")).unwrap_or_default()
}
