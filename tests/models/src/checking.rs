//! Explores models breadth first.

use std::{
    collections::HashMap,
    fmt::Debug,
    hash::Hash,
    io::{Write, stderr},
    sync::{Mutex, OnceLock},
};

use stateright::{Checker, Expectation, HasDiscoveries, Model, Property};

/// Explores every reachable state. Panics, with a schedule, where a property does not hold.
pub fn holds<M>(name: &str, model: M)
where
    M: Model + Send + Sync + 'static,
    M::State: Debug + Clone + PartialEq + Hash + Send + Sync + 'static,
    M::Action: Debug + Clone + PartialEq,
{
    let checker = model.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    checker.assert_properties();
    say(name, &checker, "all hold");
}

/// Explores until a property fails, which must happen. A shortest schedule is printed.
pub fn breaks<M>(name: &str, model: M)
where
    M: Model + Send + Sync + 'static,
    M::State: Debug + Clone + PartialEq + Hash + Send + Sync + 'static,
    M::Action: Debug + Clone + PartialEq,
{
    let first = FirstFailure { model, property: OnceLock::new() };
    let checker = first.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let Some(property) = checker.model().property.get() else {
        panic!("{name}: not found in {} states", checker.unique_state_count());
    };
    say(name, &checker, &format!("found: not always: {property}"));
    for step in checker.discovery(FAILURE).into_iter().flat_map(|path| path.into_actions()) {
        println!("    {step:?}");
    }
}

const FAILURE: &str = "nothing fails";

/// The checker explores a block of states to its end, and would tell the last failure in it: deeper ones are none here.
struct FirstFailure<M> {
    model: M,
    property: OnceLock<&'static str>,
}

impl<M: Model> FirstFailure<M> {
    fn holds(&self, state: &M::State) -> bool {
        let fails = |property: &Property<M>| {
            property.expectation == Expectation::Always && !(property.condition)(&self.model, state)
        };
        let is_first = self.property.get().is_none();
        let failed = is_first.then(|| self.model.properties().into_iter().find(fails)).flatten();
        failed.is_none_or(|failed| self.property.set(failed.name).is_err())
    }
}

impl<M: Model> Model for FirstFailure<M> {
    type State = M::State;
    type Action = M::Action;

    fn init_states(&self) -> Vec<M::State> {
        self.model.init_states()
    }

    fn actions(&self, state: &M::State, actions: &mut Vec<M::Action>) {
        self.model.actions(state, actions);
    }

    fn next_state(&self, last: &M::State, action: M::Action) -> Option<M::State> {
        self.model.next_state(last, action)
    }

    fn within_boundary(&self, state: &M::State) -> bool {
        self.model.within_boundary(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always(FAILURE, Self::holds)]
    }
}

/// What was found of states before, told apart by what of them matters to that.
#[derive(Debug)]
pub struct Found<S>(Mutex<HashMap<S, bool>>);

impl<S> Default for Found<S> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<S: Clone + Eq + Hash> Found<S> {
    pub fn or_find(&self, state: S, find: impl FnOnce(S) -> bool) -> bool {
        let mut found = self.0.lock().expect("nobody panics while it is held");
        *found.entry(state.clone()).or_insert_with(|| find(state))
    }
}

/// Not by `println`: what is explored is shown whether tests fail or not.
fn say<M: Model>(name: &str, checker: &impl Checker<M>, outcome: &str) {
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    let line = format!("model: {name}: {states} states, {depth} steps deep: {outcome}\n");
    stderr().write_all(line.as_bytes()).expect("a test can write to stderr");
}
