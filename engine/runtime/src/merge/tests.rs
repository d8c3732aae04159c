mod faults;
mod parked;
mod schedules;
