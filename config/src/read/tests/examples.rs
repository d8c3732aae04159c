//! The files of `examples/`.

use proptest::prelude::*;

use super::*;

fn example(name: &str) -> Config {
    let path = format!("{}/examples/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let config = Config::read(name, &text, &|_| None).unwrap_or_else(|found| panic!("{}", show(&found)));
    assert_eq!(show(&crate::unavailable(&config)), "");
    config
}

#[test]
fn every_example_can_be_read_and_needs_nothing_that_this_version_has_not() {
    let folder = std::fs::read_dir(format!("{}/examples", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let mut names: Vec<_> = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".yaml"));
    assert!(names.len() >= 2);
    for name in names {
        assert!(!example(&name).tests.is_empty(), "{name} has tests");
    }
}

#[test]
fn the_orders_example_has_three_read_models_behind_one_reducer() {
    let config = example("orders.yaml");
    let names: Vec<_> = config.projections.keys().map(Name::as_str).collect();
    assert_eq!(names, ["category_sales", "customer_totals", "orders"]);
    assert_eq!(config.reducers["order"].steps.len(), 3);
    let Projector::Declared(handlers) = &config.projections["orders"].projector else { panic!() };
    assert_eq!(handlers[1].when.as_ref().unwrap().text, "document.status == \"placed\"");
    assert!(matches!(handlers[2].operations[..], [Operation::Delete(_)]));
}

#[test]
fn the_history_of_a_repository_comes_from_the_stream_git_with_four_shards() {
    let config = example("git-history.yaml");
    let local = SourceKind::Local { stream: "git".to_owned(), shards: 4, retention: None };
    assert_eq!(config.sources["history"].kind.value, local);
    assert!(
        matches!(&config.projections["churn"].projector, Projector::Native { name, .. } if name.value == "churn")
    );
    assert_eq!(config.projections["changes"].ordering.value, Ordering::Global);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_damaged_file_is_read_or_refused_with_places_inside_of_it(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..12, "[-=:#,{}\\[\\]\"' \n\t$&*!|>a0]{0,4}"), 1..4),
    ) {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/orders.yaml");
        let mut text: Vec<char> = std::fs::read_to_string(path).unwrap().chars().collect();
        for (at, length, put) in cuts {
            let start = at.index(text.len());
            let end = (start + length).min(text.len());
            text.splice(start..end, put.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(found) = Config::read("orders.yaml", &text, &|_| None) {
            prop_assert!(!found.is_empty());
            for one in found {
                let lines = u32::try_from(text.lines().count()).unwrap() + 1;
                prop_assert!((1..=lines).contains(&one.place.line) && one.place.column >= 1, "{}", one);
            }
        }
    }
}
