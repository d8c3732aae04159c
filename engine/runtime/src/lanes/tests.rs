mod aside;
mod faults;
mod parking;
mod poison;
mod schedules;
pub(crate) mod toy;
