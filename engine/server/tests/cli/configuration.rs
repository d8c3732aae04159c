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
fn the_tests_of_every_example_pass() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/examples");
    let folder = Folder::new();
    for entry in std::fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "yaml") {
            let file = path.to_str().unwrap();
            folder.run(&["validate", "-c", file]).ok();
            folder.run(&["test", "-c", file]).ok();
        }
    }
}

#[test]
fn the_smallest_configuration_on_aws_that_the_readme_shows_is_valid_and_has_a_policy() {
    let readme = include_str!("../../../../README.md");
    let section = readme.split("\n### The smallest configuration\n").nth(1).unwrap();
    let yaml = section.split("```yaml\n").nth(1).and_then(|text| text.split("```").next()).unwrap();
    let folder = Folder::new();
    folder.write("foldstream.yaml", yaml);
    let said = folder.run(&["validate"]).ok();
    assert!(said.ends_with("valid: 1 source, 1 projection, 0 tests\n"), "{said}");
    let policy = folder.run(&["config", "policy", "--region", "eu-west-1", "--account", "123456789012"]).ok();
    assert!(policy.contains("eu-west-1:123456789012:table/foldstream-shop"), "{policy}");
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
    let sample = Sample { text: &sample, events: 40, streams: 8, key: "A-3", holds: &["\"amount\":35.5"] };
    let folder = sample.runs_unedited();
    folder.run(&["init", "--from", "sample.ndjson"]).fails(2);
}

const LIFTED: &str = "config_version: 1
sources:
  shop:
    kind: local
    upcasters:
      - { event: Placed, from: 1, rename: { client: customer } }
      - { event: Placed, from: 2, set: { total: =payload.net + payload.tax } }
projections:
  orders:
    version: 1
    source: shop
    ordering: per_stream
    handlers:
      - event: Placed
        key: =event.stream_id
        set: { customer: =payload.customer, total: =payload.total, stored: =event.schema_version }
";

#[test]
fn a_test_and_a_run_lift_events_alike() {
    let folder = Folder::new();
    folder.write("foldstream.yaml", LIFTED);
    let events = r#"{"stream_id":"o-1","sequence":1,"type":"Placed","schema_version":1,"payload":{"client":"ada","net":8,"tax":1.52}}
{"stream_id":"o-2","sequence":1,"type":"Placed","schema_version":4,"payload":{"customer":"bob","total":3}}
"#;
    folder.run_with(&["events", "import", "-"], events).ok();
    let recorded = folder.run(&["test", "--record", "o-1"]).ok();
    let error = folder.run(&["test", "--record", "o-2"]).fails(1);
    let ran = folder.run(&["run", "--until-caught-up"]);
    let made = folder.run(&["documents", "get", "orders", "o-1", "-o", "json"]).ok();
    let document = r#"{"customer":"ada","stored":1,"total":9.52}"#;
    assert!(recorded.ends_with(&format!("{document}\n")) && made.contains(document), "{recorded} {made}");
    let refused = "schema_version=4 is newer than 3";
    assert!(ran.code == 4 && ran.out.contains(refused) && error.contains(refused), "{ran:?} {error}");
}

/// Events of somebody else, and what must be in one of the documents that `init` makes of them.
struct Sample<'s> {
    text: &'s str,
    events: usize,
    streams: usize,
    key: &'s str,
    holds: &'s [&'s str],
}

impl Sample<'_> {
    /// Init, validate, test, import, run: with nothing in between.
    #[track_caller]
    fn runs_unedited(&self) -> Folder {
        let folder = Folder::new();
        folder.write("sample.ndjson", self.text);
        let said = folder.run(&["init", "--from", "sample.ndjson"]).ok();
        assert!(said.contains("foldstream run --until-caught-up"), "{said}");
        folder.run(&["validate"]).ok();
        assert!(folder.run(&["test"]).ok().ends_with("1 test passed\n"));
        let imported = folder.run(&["events", "import", "sample.ndjson"]).ok();
        assert!(imported.contains(&format!("{}  taken", self.events)), "{imported}");
        folder.run(&["run", "--until-caught-up"]).ok();
        let last = said.lines().rev().find(|line| line.contains("documents list")).unwrap().trim();
        let arguments: Vec<&str> = last.split(' ').skip(1).collect();
        let documents = folder.run(&arguments).ok();
        assert_eq!(documents.lines().count(), self.streams, "{documents}");
        let key = format!("{{\"key\":\"{}\"", self.key);
        let document = documents.lines().find(|line| line.starts_with(&key));
        let document = document.unwrap_or_else(|| panic!("{key} in {documents}"));
        for held in self.holds {
            assert!(document.contains(held), "{held} in {document}");
        }
        folder
    }
}

/// None of them was there when the guesses were written.
const SAMPLES: [Sample<'static>; 5] = [
    // Flat, in camel case, the payload beside the envelope.
    Sample {
        text: include_str!("samples/bookings.ndjson"),
        events: 22,
        streams: 6,
        key: "BK-20931",
        holds: &[
            r#""ratePerNight":208.3,"roomNumber":"345","upgraded":false"#,
            r#""last_event_at":"2025-11-03T00:08:24.702000Z""#,
        ],
    },
    // Items of a table with composite keys.
    Sample {
        text: include_str!("samples/invoices.ndjson"),
        events: 15,
        streams: 5,
        key: "2025-0042",
        holds: &[r#""lines":[{"qty":3,"sku":"HOSTING-M","unitPrice":19.9}"#, r#""number":"RE-9001""#],
    },
    // Rows in snake case, with metadata.
    Sample {
        text: include_str!("samples/shipments.ndjson"),
        events: 27,
        streams: 7,
        key: "shipment-8812",
        holds: &[r#""postal_code":"09115""#, r#""last_event_at":"2025-06-01T09:30:26.186456Z""#],
    },
    // Entries of an event store's feed.
    Sample {
        text: include_str!("samples/carts.ndjson"),
        events: 23,
        streams: 5,
        key: "cart-7b519743956b",
        holds: &[r#""unitPrice":{"amount":53.73,"currency":"EUR"}"#, r#""last_event_at":"2025-03-04T"#],
    },
    // Times in milliseconds, amounts as text and of any length.
    Sample {
        text: include_str!("samples/wallets.ndjson"),
        events: 27,
        streams: 6,
        key: "263336266582",
        holds: &[
            r#""amount":"104.99","balance":461310885800.561996813889738304"#,
            r#""last_event_at":"2025-01-01T02:35:54.999000Z""#,
        ],
    },
];

#[test]
fn samples_of_many_shapes_run_unedited() {
    for sample in &SAMPLES {
        sample.runs_unedited();
    }
}

#[test]
fn the_events_of_the_example_come_to_its_documents() {
    let folder = Folder::new();
    folder.write("foldstream.yaml", ORDERS);
    folder.write("orders.ndjson", ORDER_EVENTS);
    folder.run(&["events", "import", "orders.ndjson"]).ok();
    assert_eq!(folder.run(&["run", "--until-caught-up"]).ok(), "caught up\n");
    let expected = [
        ("orders", "o-1001", r#""status":"placed","total":21}"#),
        ("orders", "o-1003", r#""status":"cancelled","total":39.9}"#),
        ("customer_totals", "c-12", r#""orders":2,"revenue":46.35}"#),
        ("customer_totals", "c-9", r#""orders":1,"revenue":0}"#),
        ("category_sales", "drinks", r#"{"units":10}"#),
    ];
    for (projection, key, part) in expected {
        let document = folder.run(&["documents", "get", projection, key, "-o", "json"]).ok();
        assert!(document.contains(part), "{part} in {document}");
    }
    folder.run(&["documents", "get", "orders", "o-1005"]).fails(1);
}
