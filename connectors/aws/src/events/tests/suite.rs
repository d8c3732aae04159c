use std::time::Duration;

use aws_sdk_dynamodb::types::{ProjectionType, ScalarAttributeType as Type};
use foldstream_model::conformance;

use super::bed::*;

#[tokio::test]
async fn with_padded_sort_keys_and_a_window_it_passes_the_suite() {
    let bed = Bed::new();
    bed.make_with_index("shop", Type::S, Some((Type::S, ProjectionType::All))).await;
    let settings = ordered("EVENT#", Some(6), Duration::from_millis(200));
    let events = bed.open(settings, Mapping::default()).await.unwrap();
    conformance::event_store::run(&events, "first run").await;
    conformance::event_store::run(&events, "second run").await;
}

#[tokio::test]
async fn with_numbers_as_sort_keys_it_passes_the_suite() {
    let bed = Bed::new();
    bed.make_with_index("shop", Type::N, Some((Type::N, ProjectionType::All))).await;
    let mapping = Mapping { sequence: ("sk", ""), include: Some(("kind", "event")), ..Mapping::default() };
    let events = bed.open(ordered("", None, Duration::ZERO), mapping).await.unwrap();
    conformance::event_store::run(&events, "run").await;
}

#[tokio::test]
async fn with_sort_keys_without_zeros_in_front_it_passes_the_suite() {
    let bed = Bed::new();
    bed.make_with_index("shop", Type::S, Some((Type::N, ProjectionType::All))).await;
    let events = bed.open(ordered("EVENT#", None, Duration::ZERO), Mapping::default()).await.unwrap();
    conformance::event_store::run(&events, "run").await;
}
