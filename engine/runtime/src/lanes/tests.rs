mod faults;
mod poison;
mod schedules;
pub(crate) mod toy;
