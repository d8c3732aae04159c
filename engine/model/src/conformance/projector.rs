//! What a [`Projector`] promises.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    Document, DocumentKey, Event, Payload, Value,
    ports::{Projector, StateCarried, Touch},
};

/// Checks a projector with events of its types, in an order in which they could come; their payloads and metadata raw.
pub fn run(projector: &dyn Projector, events: &[StateCarried]) {
    for carried in events {
        let event_type = &carried.event.event_type;
        assert!(
            projector.event_types().contains(event_type),
            "the sample holds only what it handles: {event_type}"
        );
        let event = only_what_is_read(projector, carried);
        let touches = touches(projector, &event);
        each_document_is_touched_once(&touches);
        equal_input_gives_equal_output(projector, &event, &touches);
        nothing_is_read_that_was_not_asked_for(projector, carried, &touches);
        touches.iter().for_each(a_change_can_be_applied_again);
    }
}

/// What a touch came to, on a document that is not there.
fn effect(touch: &Touch) -> (DocumentKey, Option<Option<Document>>) {
    let mut document = None;
    let outcome = touch.change.apply(&mut document);
    (touch.key.clone(), outcome.is_ok().then_some(document))
}

fn touches(projector: &dyn Projector, event: &StateCarried) -> Vec<Touch> {
    let mut touches = Vec::new();
    projector.touch(event, &mut touches).expect("the sample holds no poison");
    touches
}

fn parsed(carried: &StateCarried, read: impl Fn(&mut Event)) -> StateCarried {
    let mut event = Event::clone(&carried.event);
    read(&mut event);
    StateCarried { event: Arc::new(event), before: carried.before.clone(), state: carried.state.clone() }
}

fn only_what_is_read(projector: &dyn Projector, carried: &StateCarried) -> StateCarried {
    let reads = projector.reads(&carried.event.event_type);
    parsed(carried, |event| {
        event.payload.parse(&reads.payload).expect("the sample's payload is JSON");
        event.metadata.parse(&reads.metadata).expect("the sample's metadata is JSON");
    })
}

fn each_document_is_touched_once(touches: &[Touch]) {
    let keys: BTreeSet<&DocumentKey> = touches.iter().map(|touch| &touch.key).collect();
    assert_eq!(keys.len(), touches.len(), "an event touches a document once, by one change");
}

fn equal_input_gives_equal_output(projector: &dyn Projector, event: &StateCarried, touches: &[Touch]) {
    let effects = |touches: &[Touch]| touches.iter().map(effect).collect::<Vec<_>>();
    let again = self::touches(projector, event);
    assert_eq!(effects(&again), effects(touches), "equal events touch alike");
    let mut appended = touches_behind_another(projector, event);
    assert_eq!(
        effects(&appended.split_off(1)),
        effects(touches),
        "touches are appended, those before are left alone"
    );
}

fn touches_behind_another(projector: &dyn Projector, event: &StateCarried) -> Vec<Touch> {
    let nothing = |_: &mut Option<Document>| Ok(());
    let mut touches = vec![Touch { key: DocumentKey::new("of another event"), change: Box::new(nothing) }];
    projector.touch(event, &mut touches).expect("the sample holds no poison");
    touches
}

fn nothing_is_read_that_was_not_asked_for(
    projector: &dyn Projector,
    carried: &StateCarried,
    touches: &[Touch],
) {
    let whole = parsed(carried, |event| {
        for part in [&mut event.payload, &mut event.metadata] {
            *part = Payload { value: value(part), ..part.clone() };
        }
    });
    let of_whole: Vec<_> = self::touches(projector, &whole).iter().map(effect).collect();
    let of_parts: Vec<_> = touches.iter().map(effect).collect();
    assert_eq!(of_parts, of_whole, "what it reads is all that decides");
}

fn value(payload: &Payload) -> Value {
    if payload.raw.is_empty() {
        return Value::Null;
    }
    Value::parse(&payload.raw).expect("the sample is JSON")
}

fn a_change_can_be_applied_again(touch: &Touch) {
    assert_eq!(effect(touch), effect(touch), "a change changes nothing but the document it is given");
}
