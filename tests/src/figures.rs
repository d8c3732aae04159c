//! Figures for people.

use std::time::Duration;

/// Percentiles of how long something took.
pub fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() * percent).div_ceil(100).max(1) - 1].as_millis();
    format!("p50 {} ms, p99 {} ms, longest {} ms, of {}", at(50), at(99), at(100), times.len())
}
