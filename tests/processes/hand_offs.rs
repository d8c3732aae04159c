//! What was passed on from process to process, as they said themselves.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use crate::said::Said;

/// How long nobody read a shard that was passed on, of all that were; each new reading begins where the old one ended.
pub fn hand_offs(said: &[Vec<Said>]) -> Vec<Duration> {
    let by_process = said.iter().enumerate();
    let mut all: Vec<(usize, &Said)> =
        by_process.flat_map(|(process, said)| said.iter().map(move |said| (process, said))).collect();
    all.sort_by_key(|(_, said)| said.at);
    let (mut owners, mut gaps) = (BTreeMap::<String, Owner>::new(), Vec::new());
    for (process, said) in all {
        let text = |name: &str| said.fields[name].as_str().unwrap_or_default().to_owned();
        let shard = text("shard");
        if text("reader") == "merge" {
            continue;
        }
        match said.message.as_str() {
            "a reading begins" => {
                let owner = owners.entry(shard.clone()).or_insert_with(|| Owner::new(process));
                if owner.process != process {
                    let (after, ended_at) = (text("after"), &owner.ended_at);
                    assert!(ended_at.contains(&after), "{shard}: began after {after}, ended at {ended_at:?}");
                    let left = owner.left.unwrap();
                    gaps.push(said.at.duration_since(left).try_into().unwrap());
                    *owner = Owner::new(process);
                }
            }
            "a reading was told to end" => owners.get_mut(&shard).unwrap().ended_at.push(text("up_to")),
            "leaving the shard to others" => {
                if let Some(owner) = owners.get_mut(&shard) {
                    owner.left = Some(said.at);
                }
            }
            _ => {}
        }
    }
    gaps
}

/// Who reads a shard.
struct Owner {
    process: usize,
    /// When it was told to pass the shard on.
    left: Option<Timestamp>,
    /// A shard may have several readings, while projections enter it one by one.
    ended_at: Vec<String>,
}

impl Owner {
    fn new(process: usize) -> Self {
        Self { process, left: None, ended_at: Vec::new() }
    }
}
