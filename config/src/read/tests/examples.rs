//! The files of `examples/`.

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
