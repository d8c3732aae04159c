use super::Folder;

const ORDERS: &str = include_str!("../../../../config/examples/orders.yaml");
const ORDER_EVENTS: &str = include_str!("../../../../config/examples/orders.ndjson");

#[test]
fn the_tests_of_a_file_pass_and_can_be_chosen_by_name() {
    let folder = Folder::new();
    folder.write("foldstream.yaml", ORDERS);
    let all = folder.run(&["test"]).ok();
    assert!(all.ends_with("tests passed\n"), "{all}");
    let one = folder.run(&["test", "revenue"]).ok();
    assert!(one.ends_with("1 test passed\n"), "{one}");
    folder.run(&["test", "no such name"]).fails(2);
}

#[test]
fn a_test_that_fails_shows_what_differs() {
    let folder = Folder::new();
    folder.write("foldstream.yaml", ORDERS.replace("revenue: 9.00", "revenue: 8.00"));
    let ran = folder.run(&["test"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    for said in ["FAIL  revenue follows", "customer_totals/c-9", "-   \"revenue\": 8,", "+   \"revenue\": 9,"]
    {
        assert!(ran.out.contains(said), "{said}: {}", ran.out);
    }
}

#[test]
fn a_test_is_recorded_from_stored_events_and_passes() {
    let folder = Folder::new();
    folder.write("foldstream.yaml", ORDERS);
    folder.run_with(&["events", "import", "-"], ORDER_EVENTS).ok();
    let entry = folder.run(&["test", "--record", "o-1001"]).ok();
    assert!(entry.contains("name: \"what o-1001 comes to\""), "{entry}");
    folder.run(&["test", "--record", "o-1001", "--write"]).ok();
    assert!(folder.read("foldstream.yaml").starts_with(ORDERS.lines().next().unwrap()));
    let ran = folder.run(&["test", "o-1001"]).ok();
    assert!(ran.ends_with("1 test passed\n"), "{ran}");
}

#[test]
fn a_file_is_begun_from_a_sample_and_runs_unedited() {
    let folder = Folder::new();
    let sample: String = (0..40)
        .map(|n| {
            let (order, kind) = (n % 8, ["opened", "paid", "shipped"][n / 8 % 3]);
            let (version, minute) = (n / 8 + 1, n);
            format!(
                "{{\"orderId\":\"A-{order}\",\"version\":{version},\"eventType\":\"{kind}\",\
                 \"occurredAt\":\"2026-02-03T10:{minute:02}:00Z\",\"data\":{{\"amount\":{n}.50}}}}\n"
            )
        })
        .collect();
    folder.write("sample.ndjson", sample);
    let said = folder.run(&["init", "--from", "sample.ndjson"]).ok();
    assert!(said.contains("foldstream run --until-caught-up"), "{said}");
    folder.run(&["init", "--from", "sample.ndjson"]).fails(2);
    folder.run(&["validate"]).ok();
    folder.run(&["test"]).ok();
    let imported = folder.run(&["events", "import", "sample.ndjson"]).ok();
    assert!(imported.contains("40  taken"), "{imported}");
    folder.run(&["run", "--until-caught-up"]).ok();
    let last = said.lines().rev().find(|line| line.contains("documents list")).unwrap().trim();
    let arguments: Vec<&str> = last.split(' ').skip(1).collect();
    assert_eq!(folder.run(&arguments).ok().lines().count(), 8);
}
