//! The suites that every implementation of a port passes.
//!
//! Each `run` panics at the first sentence of the port's contract that it finds broken. The suites need no runtime: call
//! them inside the one that the implementation needs. They can be run again on a store that keeps what they have left.

pub mod source;
pub mod event_store;
pub mod projector;
pub mod document_store;
pub mod checkpoint_store;
pub mod lease_store;
pub mod parking_lot;

use std::{future::poll_fn, pin::Pin, task::Poll};

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};

/// Texts that a store could take for something else than a name.
const HOSTILE: [&str; 16] = [
    "a",
    "A",
    "a b",
    " a",
    "a/b",
    "a\\b",
    "a\"b'c`d",
    "'; DROP TABLE documents; --",
    "%41",
    "../../etc/passwd",
    "line\nfeed\ttab",
    "{\"json\": true}",
    "\u{e9}",
    "e\u{301}",
    "日本語",
    "🦀🦀",
];

/// Runs futures at the same time; their outputs in the order given.
async fn together<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    poll_fn(move |context| {
        let mut all_done = true;
        for (future, output) in running.iter_mut().filter(|(_, output)| output.is_none()) {
            match future.as_mut().poll(context) {
                Poll::Ready(value) => *output = Some(value),
                Poll::Pending => all_done = false,
            }
        }
        if !all_done {
            return Poll::Pending;
        }
        Poll::Ready(running.iter_mut().filter_map(|(_, output)| output.take()).collect())
    })
    .await
}

/// Polls a future once, then drops it; its output if it was ready.
async fn begin_and_drop<F: Future>(future: F) -> Option<F::Output> {
    let mut future: Pin<Box<F>> = Box::pin(future);
    poll_fn(move |context| match future.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// As many values of a strategy, the same in every run.
fn cases<S: Strategy>(strategy: S, count: usize) -> impl Iterator<Item = S::Value> {
    let mut runner = TestRunner::deterministic();
    std::iter::repeat_with(move || {
        strategy.new_tree(&mut runner).expect("the strategy rejects nothing").current()
    })
    .take(count)
}
