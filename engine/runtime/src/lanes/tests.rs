mod aside;
mod faults;
pub(crate) mod lot;
mod parking;
mod poison;
mod schedules;
pub(crate) mod toy;
