//! The names of the parts of an event as event stores, frameworks and teams use them.

use super::part::Part;

/// Names in lower case without separators, by how much they speak for a part.
type Names = &'static [(i32, &'static [&'static str])];

const STREAM_ID: Names = &[
    (100, &["streamid", "aggregateid", "aggregaterootid", "aggregateidentifier", "persistenceid"]),
    (95, &["eventstreamid", "eventstreamname", "entityid", "streamname", "sourceid", "rootid", "subjectid"]),
    (90, &["stream", "aggregate", "subject", "pk", "partitionkey", "hashkey"]),
    (60, &["entity", "key"]),
    (25, &["id"]),
];

const SEQUENCE: Names = &[
    (100, &["sequence", "sequencenumber", "seq", "seqno", "seqnr", "seqnum", "sequencenr", "sequenceno"]),
    (
        100,
        &[
            "aggregateversion",
            "streamversion",
            "aggregatesequence",
            "streamsequence",
            "aggregatesequencenumber",
        ],
    ),
    (
        95,
        &[
            "eventnumber",
            "streamposition",
            "streamrevision",
            "eventsequence",
            "playhead",
            "aggregaterevision",
        ],
    ),
    (90, &["version", "revision", "rev", "sk", "sortkey", "rangekey"]),
    (80, &["position", "offset", "index", "number", "ordinal", "nr", "no"]),
];

const ID: Names = &[
    (100, &["eventid", "eventuuid", "eventguid", "messageid", "eventidentifier"]),
    (80, &["id", "uuid", "guid", "msgid", "eventkey"]),
];

const TYPE: Names = &[
    (100, &["eventtype", "eventtypename"]),
    (95, &["eventname"]),
    (90, &["type", "messagetype", "detailtype", "typename"]),
    (80, &["event", "payloadtype", "datatype"]),
    (75, &["name", "kind", "evt", "ev", "what"]),
    (70, &["action", "class", "manifest", "eventclass", "eventmanifest", "eventkind", "topic"]),
];

const SCHEMA_VERSION: Names = &[
    (100, &["schemaversion", "eventversion", "eventschemaversion", "schemaver"]),
    (
        95,
        &[
            "typeversion",
            "payloadversion",
            "dataversion",
            "eventtypeversion",
            "payloadrevision",
            "eventrevision",
        ],
    ),
    (60, &["version", "ver", "v"]),
];

const RECORDED_AT: Names = &[
    (100, &["recordedat", "storedat", "committedat", "insertedat", "persistedat", "writtenat", "appendedat"]),
    (95, &["createdat", "created", "createdon", "datecreated", "creationtime", "createdtime", "recordedon"]),
    (90, &["timestamp", "ts", "eventtimestamp", "eventtime", "time", "datetime", "createdtimestamp"]),
    (
        80,
        &["publishedat", "receivedat", "loggedat", "emittedat", "raisedat", "updated", "date", "at", "when"],
    ),
];

const EFFECTIVE_AT: Names = &[
    (100, &["effectiveat", "effectivedate", "effectivefrom", "validfrom", "businesstime"]),
    (90, &["occurredat", "occurredon", "occurred", "happenedat", "happenedon", "eventdate", "occuredat"]),
];

const PAYLOAD: Names = &[
    (100, &["payload", "eventpayload", "eventdata", "data", "body", "eventbody"]),
    (90, &["detail", "details", "content", "attributes", "fields", "params", "properties"]),
    (60, &["message", "value", "args", "arguments", "record", "document", "event", "changes"]),
];

const METADATA: Names =
    &[(100, &["metadata", "meta", "eventmetadata", "headers"]), (60, &["context", "extensions", "attrs"])];

/// The names under which a part is well known.
pub(super) fn well_known(part: Part) -> Names {
    match part {
        Part::StreamId => STREAM_ID,
        Part::Sequence => SEQUENCE,
        Part::Id => ID,
        Part::Type => TYPE,
        Part::SchemaVersion => SCHEMA_VERSION,
        Part::RecordedAt => RECORDED_AT,
        Part::EffectiveAt => EFFECTIVE_AT,
        Part::Payload => PAYLOAD,
        Part::Metadata => METADATA,
    }
}
