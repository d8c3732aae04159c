mod faults;
mod schedules;
