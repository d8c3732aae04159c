//! The processes of a data folder: some work, some are frozen.

use std::{
    mem,
    time::{Duration, Instant},
};

use crate::{
    bed::{Bed, eventually},
    process::Process,
    said::Said,
};

pub struct Fleet<'a> {
    bed: &'a Bed,
    pub members: Vec<Process>,
    frozen: Vec<(Process, Instant)>,
    started: usize,
}

impl<'a> Fleet<'a> {
    pub fn start(bed: &'a Bed, number: usize) -> Self {
        let mut fleet = Self { bed, members: Vec::new(), frozen: Vec::new(), started: 0 };
        (0..number).for_each(|_| fleet.join());
        fleet
    }

    pub fn join(&mut self) {
        let process = Process::start(self.bed.path(), self.bed.log(self.started));
        self.started += 1;
        self.members.push(process);
    }

    /// How many are frozen.
    pub fn frozen(&self) -> usize {
        self.frozen.len()
    }

    pub fn kill(&mut self, member: usize) {
        // Dropping kills and buries it.
        drop(self.members.remove(member));
    }

    /// Asks it to stop, and waits until it has, well.
    pub fn stop(&mut self, member: usize) {
        let mut process = self.members.remove(member);
        process.signal("TERM");
        let mut ended = None;
        eventually("it stops", || {
            self.look_after();
            ended = process.ended();
            ended.is_some()
        });
        let code = ended.and_then(|status| status.code());
        assert_eq!(code, Some(0), "{ended:?}: {}", process.log().display());
    }

    pub fn freeze(&mut self, member: usize, time: Duration) {
        let process = self.members.remove(member);
        process.signal("STOP");
        self.frozen.push((process, Instant::now() + time));
    }

    /// All of them, before their time.
    pub fn wake(&mut self) {
        let now = Instant::now();
        self.frozen.iter_mut().for_each(|(_, until)| *until = now);
        self.look_after();
    }

    /// Wakes those whose time has come. None may have ended that was not told to.
    pub fn look_after(&mut self) {
        let now = Instant::now();
        for (process, until) in mem::take(&mut self.frozen) {
            match now >= until {
                true => {
                    process.signal("CONT");
                    self.members.push(process);
                }
                false => self.frozen.push((process, until)),
            }
        }
        for process in &mut self.members {
            let ended = process.ended();
            assert!(ended.is_none(), "it ended by itself, {ended:?}: {}", process.log().display());
        }
    }

    /// Waits for a fact, and looks after the processes meanwhile.
    #[track_caller]
    pub fn wait(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        eventually(what, || {
            self.look_after();
            holds(self)
        });
    }

    /// Everybody wakes, and stops when asked.
    pub fn end(mut self) {
        self.wait("all wake", |fleet| fleet.frozen.is_empty());
        self.wait("all run", |fleet| fleet.members.iter().all(Process::runs));
        while !self.members.is_empty() {
            self.stop(0);
        }
    }

    /// What all processes said, of each that ever began, in its order.
    pub fn said(bed: &Bed) -> Vec<Vec<Said>> {
        (0..)
            .map(|number| bed.log(number))
            .take_while(|log| log.exists())
            .map(|log| Said::all(&log))
            .collect()
    }
}
