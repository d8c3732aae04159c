//! Explores models breadth first, so that a schedule that is found is a shortest one.

use std::{
    fmt::Debug,
    hash::Hash,
    io::{Write, stderr},
};

use stateright::{Checker, Expectation, HasDiscoveries, Model};

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

/// Explores until a property fails, which must happen. The schedule is printed.
pub fn breaks<M>(name: &str, model: M)
where
    M: Model + Send + Sync + 'static,
    M::State: Debug + Clone + PartialEq + Hash + Send + Sync + 'static,
    M::Action: Debug + Clone + PartialEq,
{
    let checker = model.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let discoveries = checker.discoveries();
    let failed =
        |property: &&'static str| checker.model().property(property).expectation == Expectation::Always;
    let Some(property) = discoveries.keys().copied().filter(failed).min() else {
        panic!("{name}: not found in {} states", checker.unique_state_count());
    };
    say(name, &checker, &format!("found: not always: {property}"));
    for step in checker.discovery(property).into_iter().flat_map(|path| path.into_actions()) {
        println!("    {step:?}");
    }
}

/// Not by `println`: what is explored is shown whether tests fail or not.
fn say<M: Model>(name: &str, checker: &impl Checker<M>, outcome: &str) {
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    let line = format!("model: {name}: {states} states, {depth} steps deep: {outcome}\n");
    stderr().write_all(line.as_bytes()).expect("a test can write to stderr");
}
