//! How a run is drawn: what each seed comes to.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use foldstream_model::OnFailure;

use crate::{
    chance::Chance,
    projections::Kind,
    records,
    workload::{Action, Fact, Fails, Refuses, RewindTo, Workload, handled},
};

/// How events travel in this run: times in a thousand.
struct Transport {
    disorder: u64,
    near: u64,
    far: u64,
    missing: u64,
    lost: u64,
    reshard: u64,
    backwards: u64,
}

impl Transport {
    fn draw(chance: &mut Chance, has_store: bool) -> Self {
        let mut on = |most: u64| if chance.one_in(2) { chance.within(1..most) } else { 0 };
        Self {
            disorder: on(300),
            near: on(300),
            far: on(100),
            missing: on(60),
            lost: if has_store { on(60) } else { 0 },
            reshard: on(40),
            backwards: on(200),
        }
    }
}

impl Workload {
    pub fn draw(chance: &mut Chance) -> Self {
        let has_store = !chance.one_in(4);
        let mut kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|_| chance.one_in(2)).collect();
        kinds.retain(|kind| has_store || *kind != Kind::States);
        if kinds.is_empty() {
            kinds.push(Kind::Collect);
        }
        let shards = u32::try_from(chance.pick(&[1, 1, 2, 4])).unwrap_or(1);
        let transport = Transport::draw(chance, has_store);
        let facts = facts(chance, &transport);
        let lateness = Duration::from_millis(chance.pick(&[0, 500, 60_000]));
        let mut actions = Vec::new();
        for (index, fact) in facts.iter().enumerate() {
            // A stream's last event is never lost: nothing would tell that it is missing.
            let is_followed = facts[index + 1..].iter().any(|later| later.stream == fact.stream);
            travel(chance, &transport, fact, is_followed, &mut actions);
        }
        operations(chance, &facts, &mut actions);
        let on_failure = on_failure(chance, &kinds);
        let failing = match on_failure.is_empty() {
            true => BTreeMap::new(),
            false => failing(chance, &facts, Fails::Document, &mut actions),
        };
        actions.sort_by_key(|(at, _)| *at);
        let handled = handled(&facts);
        Self {
            kinds,
            shards,
            has_store,
            facts,
            on_failure,
            failing,
            deadly: BTreeSet::new(),
            garbled: BTreeSet::new(),
            refuses: None,
            forgets: false,
            lost: BTreeSet::new(),
            actions,
            handled,
            lateness,
        }
    }

    pub fn draw_more(self, chance: &mut Chance) -> Self {
        let is_refusing = !self.on_failure.is_empty() && chance.one_in(3);
        let (bytes, one_in) = (chance.within(30..400), chance.within(2..30));
        let refuses = is_refusing.then(|| chance.pick(&[Refuses::Longer(bytes), Refuses::OneIn(one_in)]));
        let mut actions = self.actions;
        let releases = if chance.one_in(2) { chance.within(1..40) } else { 0 };
        for fact in &self.facts {
            if chance.in_thousand(releases) {
                let freezes = if chance.one_in(2) { chance.within(1_000..60_000) } else { 0 };
                let release = Action::Release { number: chance.next(), freezes };
                actions.push((Duration::from_millis(fact.stored_at), release));
            }
        }
        let forgets = if chance.one_in(2) { chance.within(1..100) } else { 0 };
        let loses = forgets > 0 && chance.one_in(12);
        for fact in &self.facts {
            let at = Duration::from_millis(fact.stored_at + chance.within(0..2_000));
            if chance.in_thousand(forgets) {
                actions.push((at, Action::Forget { loses: loses && chance.one_in(4) }));
            }
        }
        let mut failing = self.failing;
        let deadly = match self.on_failure.values().any(|what| *what == OnFailure::Park) && chance.one_in(3) {
            true => deadly(chance, &self.facts, &mut actions),
            false => BTreeSet::new(),
        };
        failing.extend(deadly.iter().map(|event| (*event, Fails::Document)));
        actions.sort_by_key(|(at, _)| *at);
        Self { refuses, forgets: forgets > 0, actions, failing, deadly, ..self }
    }

    /// Streams are parked, by some; and some stop at what they cannot take.
    pub fn draw_streams(mut self, chance: &mut Chance) -> Self {
        if chance.one_in(3) {
            return self;
        }
        self.draw_policies(chance);
        if !self.on_failure.is_empty() {
            let untold = failing(chance, &self.facts, Fails::Stream, &mut self.actions);
            self.failing.extend(untold.into_iter().filter(|(event, _)| !self.deadly.contains(event)));
            self.actions.sort_by_key(|(at, _)| *at);
        }
        self
    }

    /// Records come that cannot be decoded before the mapping is mended, or never, and forks.
    pub fn draw_records(mut self, chance: &mut Chance) -> Self {
        if chance.one_in(2) {
            return self;
        }
        self.draw_policies(chance);
        let mut on = |most: u64| if chance.one_in(2) { chance.within(1..most) } else { 0 };
        let (garbled, no_events, forks) = (on(100), on(60), on(60));
        let operations = chance.within(1..80);
        let named: Vec<_> = self.facts.iter().map(|fact| (fact.stream, fact.sequence)).collect();
        self.garbled = named.into_iter().filter(|_| chance.in_thousand(garbled)).collect();
        let mut more = Vec::new();
        let mut met = BTreeSet::new();
        for (at, action) in &self.actions {
            let Action::Arrive(fact) = action else { continue };
            let named = (fact.stream, fact.sequence);
            let later = |chance: &mut Chance| *at + Duration::from_millis(chance.within(1..10_000));
            // Before the event itself another one with its sequence would be taken for it.
            if let Some(n) = fact.n.filter(|_| met.insert(named) && !self.garbled.contains(&named))
                && self.has_store
                && chance.in_thousand(forks)
            {
                more.push((later(chance), Action::Fork(Fact { n: Some(n + 1), ..fact.clone() })));
            }
            if chance.in_thousand(no_events) {
                let data = records::no_event(chance);
                more.push((later(chance), Action::NoEvent { stream: fact.stream, data }));
            }
            if chance.in_thousand(operations) {
                let number = chance.next();
                let action = if chance.one_in(2) { Action::Redrive(number) } else { Action::Discard(number) };
                more.push((later(chance), action));
            }
        }
        let last = self.facts.last().map_or(0, |fact| fact.stored_at);
        more.push((Duration::from_millis(chance.within(0..last + 10_000)), Action::MendMapping));
        self.actions.extend(more);
        self.actions.sort_by_key(|(at, _)| *at);
        self
    }

    /// Events are missing for ever, and no store has them.
    pub fn draw_lost(mut self, chance: &mut Chance) -> Self {
        if self.has_store || !self.garbled.is_empty() || chance.one_in(3) {
            return self;
        }
        let (lost, asks) = (chance.within(1..60), chance.within(1..40));
        let lasts: BTreeMap<u64, u64> = self.facts.iter().map(|fact| (fact.stream, fact.sequence)).collect();
        for fact in &self.facts {
            if lasts[&fact.stream] != fact.sequence && chance.in_thousand(lost) {
                self.lost.insert((fact.stream, fact.sequence));
            }
            if chance.in_thousand(asks) {
                let at = Duration::from_millis(fact.stored_at + chance.within(0..10_000));
                self.actions.push((at, Action::GiveUp(chance.next())));
            }
        }
        let lost = &self.lost;
        self.actions.retain(|(_, action)| match action {
            Action::Arrive(fact) => !lost.contains(&(fact.stream, fact.sequence)),
            _ => true,
        });
        self.actions.sort_by_key(|(at, _)| *at);
        self
    }

    /// Nothing fails, and nobody has anything read again.
    pub fn gently(mut self) -> Self {
        self.failing.clear();
        self.deadly.clear();
        self.garbled.clear();
        self.refuses = None;
        self.forgets = false;
        self.actions.retain(|(_, action)| {
            use Action::{Forget, Fork, Mend, NoEvent, Release, Rewind};
            !matches!(
                action,
                Rewind { .. } | Release { .. } | Forget { .. } | Fork(_) | NoEvent { .. } | Mend
            )
        });
        self
    }

    /// Some that had nothing else to do about what they cannot take.
    fn draw_policies(&mut self, chance: &mut Chance) {
        for kind in &self.kinds {
            if chance.one_in(2) {
                let what =
                    chance.pick(&[OnFailure::Park, OnFailure::Park, OnFailure::Discard, OnFailure::Stop]);
                self.on_failure.entry(*kind).or_insert(what);
            }
        }
    }
}

fn on_failure(chance: &mut Chance, kinds: &[Kind]) -> BTreeMap<Kind, OnFailure> {
    if chance.one_in(2) {
        return BTreeMap::new();
    }
    let mut on_failure = BTreeMap::new();
    for kind in kinds {
        if chance.one_in(4) {
            continue;
        }
        on_failure.insert(*kind, chance.pick(&[OnFailure::Park, OnFailure::Park, OnFailure::Discard]));
    }
    on_failure
}

/// Events that cannot be taken, and what is done about them meanwhile.
fn failing(
    chance: &mut Chance,
    facts: &[Fact],
    fails: Fails,
    actions: &mut Vec<(Duration, Action)>,
) -> BTreeMap<(u64, u64), Fails> {
    let times = chance.pick(&[10, 50, 200]);
    let (redrives, discards) = (chance.within(1..60), chance.pick(&[0, 0, 20]));
    let last = facts.last().map_or(0, |fact| fact.stored_at);
    let mend = chance.within(0..last + 10_000);
    actions.push((Duration::from_millis(mend), Action::Mend));
    let mut failing = BTreeMap::new();
    for fact in facts {
        if fact.n.is_some() && chance.in_thousand(times) {
            failing.insert((fact.stream, fact.sequence), fails);
        }
        let at = Duration::from_millis(fact.stored_at + chance.within(0..2_000));
        if chance.in_thousand(redrives) {
            actions.push((at, Action::Redrive(chance.next())));
        }
        if chance.in_thousand(discards) {
            actions.push((at, Action::Discard(chance.next())));
        }
    }
    failing
}

/// Events that end the process, which is mended late, so that there is time to find them.
fn deadly(chance: &mut Chance, facts: &[Fact], actions: &mut [(Duration, Action)]) -> BTreeSet<(u64, u64)> {
    let handled: Vec<_> = facts.iter().filter(|fact| fact.n.is_some()).collect();
    for (at, action) in actions {
        if matches!(action, Action::Mend) {
            *at += Duration::from_millis(chance.within(0..240_000));
        }
    }
    let number = if handled.is_empty() { 0 } else { chance.within(1..3) };
    (0..number).map(|_| chance.pick(&handled)).map(|fact| (fact.stream, fact.sequence)).collect()
}

fn facts(chance: &mut Chance, transport: &Transport) -> Vec<Fact> {
    let streams = chance.within(1..20);
    let hot = chance.pick(&[0, 0, 500, 900]);
    let gap = chance.pick(&[1, 5, 20, 100]);
    let mut sequences: BTreeMap<u64, u64> = BTreeMap::new();
    let mut millis = 0;
    let mut facts = Vec::new();
    for _ in 0..chance.within(5..300) {
        millis += chance.within(0..gap * 2);
        let stream = if chance.in_thousand(hot) { 0 } else { chance.within(0..streams) };
        let sequence = sequences.entry(stream).or_default();
        *sequence += 1;
        let back = if chance.in_thousand(transport.backwards) { chance.within(0..5_000) } else { 0 };
        let recorded_at = i64::try_from(millis.saturating_sub(back) * 1_000).unwrap_or(0);
        let n = i64::try_from(chance.within(0..40)).unwrap_or(0) - 10;
        let n = (!chance.one_in(10)).then_some(n);
        facts.push(Fact { stream, sequence: *sequence, stored_at: millis, recorded_at, n });
    }
    facts
}

fn travel(
    chance: &mut Chance,
    transport: &Transport,
    fact: &Fact,
    is_followed: bool,
    actions: &mut Vec<(Duration, Action)>,
) {
    let stored = fact.stored_at;
    let at = Duration::from_millis;
    actions.push((at(stored), Action::Store(fact.clone())));
    let delay = match () {
        () if is_followed && chance.in_thousand(transport.lost) => None,
        () if chance.in_thousand(transport.missing) => Some(chance.within(500..30_000)),
        () if chance.in_thousand(transport.disorder) => Some(chance.within(1..3_000)),
        () => Some(chance.within(0..5)),
    };
    let arrives = delay.map(|delay| stored + delay);
    let near = chance.in_thousand(transport.near).then(|| chance.within(0..50));
    let far = chance.in_thousand(transport.far).then(|| chance.within(1_000..60_000));
    for arrival in arrives
        .into_iter()
        .flat_map(|first| [Some(0), near, far].into_iter().flatten().map(move |later| first + later))
    {
        actions.push((at(arrival), Action::Arrive(fact.clone())));
    }
    if chance.in_thousand(transport.reshard) {
        let number = chance.next();
        let action = if chance.one_in(2) { Action::Split(number) } else { Action::Merge(number) };
        actions.push((at(stored), action));
    }
}

/// What an operator does meanwhile.
fn operations(chance: &mut Chance, facts: &[Fact], actions: &mut Vec<(Duration, Action)>) {
    let times = if chance.one_in(2) { chance.within(1..60) } else { 0 };
    for fact in facts {
        if chance.in_thousand(times) {
            operate(chance, Duration::from_millis(fact.stored_at), actions);
        }
    }
}

fn operate(chance: &mut Chance, at: Duration, actions: &mut Vec<(Duration, Action)>) {
    let (number, other) = (chance.next(), chance.next());
    if chance.one_in(2) {
        let to = chance.pick(&[
            RewindTo::Beginning,
            RewindTo::Rebuild,
            RewindTo::Places(other),
            RewindTo::Time(other),
        ]);
        return actions.push((at, Action::Rewind { number, to }));
    }
    let time = chance.pick(&[100, 1_000, 10_000]);
    actions.push((at, Action::Pause(number)));
    actions.push((at + Duration::from_millis(chance.within(0..time)), Action::Resume(number)));
}
