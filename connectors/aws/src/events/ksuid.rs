//! Ids that sort by the time when they were made.
//!
//! 20 bytes, written as 27 digits of base 62: seconds since 2014-05-13T16:53:20Z in four bytes, then what is chance. Of that
//! the first three bytes are microseconds here, so that ids sort within a second, too; whoever expects chance is not harmed.
//! <https://github.com/segmentio/ksuid>

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use foldstream_model::{Clock, Ids, Timestamp};
use xxhash_rust::xxh3::xxh3_128;

const EPOCH_SECONDS: i64 = 1_400_000_000;
const MICROS: u64 = 1_000_000;
const LENGTH: usize = 27;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ksuid([u8; 20]);

impl Ksuid {
    fn new(since_epoch: u64, chance: [u8; 13]) -> Self {
        let seconds = u32::try_from(since_epoch / MICROS).unwrap_or(u32::MAX);
        let micros = u32::try_from(since_epoch % MICROS).unwrap_or_default();
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&seconds.to_be_bytes());
        bytes[4..7].copy_from_slice(&micros.to_be_bytes()[1..]);
        bytes[7..].copy_from_slice(&chance);
        Self(bytes)
    }

    /// The highest one that can be made at an instant.
    pub(super) fn last_at(instant: Timestamp) -> Self {
        Self::new(since_epoch(instant), [u8::MAX; 13])
    }

    /// None: the text is no KSUID.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() != LENGTH {
            return None;
        }
        let mut bytes = [0u8; 20];
        for digit in text.bytes() {
            let mut carry = DIGITS.iter().position(|known| *known == digit)?;
            for byte in bytes.iter_mut().rev() {
                carry += usize::from(*byte) * DIGITS.len();
                *byte = (carry % 256) as u8;
                carry /= 256;
            }
            if carry > 0 {
                return None;
            }
        }
        Some(Self(bytes))
    }

    /// Microseconds from the epoch to the first instant of which all ids are behind this one.
    fn passed_at(&self) -> u64 {
        let [a, b, c, d, e, f, g, ..] = self.0;
        let seconds = u64::from(u32::from_be_bytes([a, b, c, d]));
        let micros = u64::from(u32::from_be_bytes([0, e, f, g]));
        seconds * MICROS + (micros + 1).min(MICROS)
    }

    fn next(mut self) -> Self {
        for byte in self.0.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte > 0 {
                break;
            }
        }
        self
    }
}

/// 27 digits, which sort by their bytes as the ids do.
impl fmt::Display for Ksuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut rest, mut text) = (self.0, [b'0'; LENGTH]);
        for place in text.iter_mut().rev() {
            let mut remainder = 0;
            for byte in &mut rest {
                let value = remainder * 256 + usize::from(*byte);
                *byte = (value / DIGITS.len()) as u8;
                remainder = value % DIGITS.len();
            }
            *place = DIGITS[remainder];
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

fn since_epoch(instant: Timestamp) -> u64 {
    instant.micros_since(Timestamp::from_seconds(EPOCH_SECONDS))
}

/// Makes ids, each behind all that this process has made before.
pub(super) struct Ksuids {
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    /// The last one made.
    last: Mutex<Option<Ksuid>>,
}

impl Ksuids {
    pub(super) fn new(clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Self {
        Self { clock, ids, last: Mutex::new(None) }
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// As many, rising, and behind another one, too.
    pub(super) fn make(&self, count: usize, behind: Option<Ksuid>) -> Vec<Ksuid> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // By its time and new chance: what is next to an id, others could make, too.
        let passed = behind.max(*last).map_or(0, |id| id.passed_at());
        let first = Ksuid::new(since_epoch(self.clock.now()).max(passed), self.chance());
        let made: Vec<Ksuid> = std::iter::successors(Some(first), |id| Some(id.next())).take(count).collect();
        *last = made.last().copied().or(*last);
        made
    }

    /// A text of 32 characters that no other call has returned.
    pub(super) fn token(&self) -> String {
        format!("{:032x}", xxh3_128(self.ids.unique().as_bytes()))
    }

    fn chance(&self) -> [u8; 13] {
        let drawn = xxh3_128(self.ids.unique().as_bytes()).to_be_bytes();
        let mut chance = [0; 13];
        chance.copy_from_slice(&drawn[..13]);
        chance
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use proptest::prelude::*;

    use super::*;
    use crate::testing::TestIds;

    #[derive(Default)]
    struct At(AtomicI64);

    impl Clock for At {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(self.0.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn it_is_written_as_everybody_does() {
        let known = "0ujtsYcgvSTl8PAuAdqWYSMnLOv";
        let bytes = [
            0x06, 0x69, 0xF7, 0xEF, 0xB5, 0xA1, 0xCD, 0x34, 0xB5, 0xF9, 0x9D, 0x11, 0x54, 0xFB, 0x68, 0x53,
            0x34, 0x5C, 0x97, 0x35,
        ];
        assert_eq!(Ksuid(bytes).to_string(), known);
        assert_eq!(Ksuid::parse(known), Some(Ksuid(bytes)));
        assert_eq!(Ksuid([u8::MAX; 20]).to_string(), "aWgEPTl1tmebfsQzFP4bxwgy80V");
        for wrong in
            ["", "aWgEPTl1tmebfsQzFP4bxwgy80W", "0ujtsYcgvSTl8PAuAdqWYSMnLO", "0ujtsYcgvSTl8PAuAdqWYSMnL-v"]
        {
            assert_eq!(Ksuid::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn each_is_behind_those_before_though_the_clock_stands_or_steps_back() {
        let clock = Arc::new(At::default());
        let ksuids = Ksuids::new(clock.clone(), Arc::new(TestIds::default()));
        let mut made = Vec::new();
        for micros in
            [1_795_000_000_999_999, 1_795_000_000_999_999, 1_795_000_000_000_000, 1_795_000_001_500_000, 0]
        {
            clock.0.store(micros, Ordering::Relaxed);
            made.extend(ksuids.make(3, None));
        }
        let ahead = Ksuid::new(since_epoch(Timestamp::from_seconds(1_800_000_000)), [7; 13]);
        made.push(ahead);
        made.extend(ksuids.make(1, Some(ahead)));
        assert!(made.is_sorted_by(|a, b| a < b), "{made:?}");
        assert!(Ksuid::last_at(Timestamp::from_micros(1_795_000_000_999_999)) > made[2]);
        assert!(Ksuid::last_at(Timestamp::from_micros(1_795_000_000_999_998)) < made[0]);
        let foreign = Ksuid([u8::MAX; 20].map(|byte| byte / 2));
        assert!(ksuids.make(1, Some(foreign))[0] > foreign, "behind what is chance to its own maker");
    }

    #[test]
    fn two_that_have_seen_the_same_id_make_different_ones() {
        let (clock, ids) = (Arc::new(At::default()), Arc::new(TestIds::default()));
        let seen = Ksuid::last_at(Timestamp::from_seconds(1_795_000_000));
        let [one, other] = [0, 1].map(|_| Ksuids::new(clock.clone(), ids.clone()).make(3, Some(seen)));
        assert!(one.iter().all(|id| *id > seen && !other.contains(id)));
    }

    proptest! {
        #[test]
        fn texts_sort_as_ids(one: [u8; 20], other: [u8; 20]) {
            let (one, other) = (Ksuid(one), Ksuid(other));
            prop_assert_eq!(one.cmp(&other), one.to_string().cmp(&other.to_string()));
            prop_assert_eq!(Ksuid::parse(&one.to_string()), Some(one));
        }
    }
}
