-- Instants are microseconds since 1970 in UTC; the views show them as text.

CREATE TABLE store (
    identity      TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    -- Revisions of rows are drawn from here, so that none comes back.
    last_revision INTEGER NOT NULL
);

CREATE TABLE streams (
    stream INTEGER PRIMARY KEY,
    id     TEXT NOT NULL UNIQUE,
    last   INTEGER NOT NULL
);

CREATE TABLE stored_events (
    -- The commit order.
    offset         INTEGER PRIMARY KEY,
    stream         INTEGER NOT NULL,
    sequence       INTEGER NOT NULL,
    id             TEXT NOT NULL,
    type           TEXT NOT NULL,
    schema_version INTEGER NOT NULL,
    recorded_at    INTEGER NOT NULL,
    -- Null: recorded_at.
    effective_at   INTEGER,
    payload        TEXT,
    metadata       TEXT,
    -- 1 on the last event of each atomic append.
    ends_append    INTEGER NOT NULL,
    UNIQUE (stream, sequence)
);

CREATE TABLE logs (
    log           INTEGER PRIMARY KEY AUTOINCREMENT,
    name          TEXT NOT NULL UNIQUE,
    incarnation   TEXT NOT NULL,
    -- Microseconds; null: for ever.
    retention     INTEGER,
    shards_made   INTEGER NOT NULL,
    -- Up to which offset of the events the relay has come.
    relayed       INTEGER NOT NULL,
    -- 1 as long as every append was recorded later than all before it.
    in_order      INTEGER NOT NULL,
    highest_recorded_at INTEGER,
    low_watermark INTEGER
);

CREATE TABLE shards (
    shard           INTEGER PRIMARY KEY AUTOINCREMENT,
    log             INTEGER NOT NULL,
    number          INTEGER NOT NULL,
    -- Decimal, as they have more digits than an integer here.
    first_hash_key  TEXT NOT NULL,
    last_hash_key   TEXT NOT NULL,
    parent          INTEGER,
    adjacent_parent INTEGER,
    -- Records up to this position are gone.
    trimmed         INTEGER NOT NULL,
    last            INTEGER NOT NULL,
    last_arrived_at INTEGER NOT NULL,
    closed_at       INTEGER,
    UNIQUE (log, number)
);

CREATE TABLE shard_records (
    shard         INTEGER NOT NULL,
    position      INTEGER NOT NULL,
    partition_key TEXT NOT NULL,
    arrived_at    INTEGER NOT NULL,
    data          BLOB NOT NULL,
    UNIQUE (shard, position)
);

-- Each has a table documents_<model> and the view named here.
CREATE TABLE read_models (
    model   INTEGER PRIMARY KEY AUTOINCREMENT,
    name    TEXT NOT NULL,
    version INTEGER NOT NULL,
    view    TEXT NOT NULL COLLATE NOCASE UNIQUE,
    UNIQUE (name, version)
);

-- Journals, cuts, checkpoints and what else the checkpoint store holds.
CREATE TABLE rows (
    kind      TEXT NOT NULL,
    partition TEXT NOT NULL,
    sort      TEXT NOT NULL,
    revision  INTEGER NOT NULL,
    body      TEXT NOT NULL,
    PRIMARY KEY (kind, partition, sort)
) WITHOUT ROWID;

-- Events that wait for their documents; `event` holds all of it as JSON.
CREATE TABLE parked (
    lot      TEXT NOT NULL,
    document TEXT NOT NULL,
    place    BLOB NOT NULL,
    event    TEXT NOT NULL,
    UNIQUE (lot, document, place)
);

-- Of each document that was parked, the highest mark that is closed.
CREATE TABLE closed_marks (
    lot      TEXT NOT NULL,
    document TEXT NOT NULL,
    mark     INTEGER NOT NULL,
    PRIMARY KEY (lot, document)
) WITHOUT ROWID;

CREATE VIEW events AS
SELECT e.offset, s.id AS stream_id, e.sequence, e.id, e.type, e.schema_version,
       strftime('%Y-%m-%dT%H:%M:%fZ', e.recorded_at / 1e6, 'unixepoch') AS recorded_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', coalesce(e.effective_at, e.recorded_at) / 1e6, 'unixepoch') AS effective_at,
       e.payload, e.metadata
FROM stored_events e JOIN streams s USING (stream);

CREATE VIEW records AS
SELECT l.name AS stream, printf('shardId-%012d', s.number) AS shard_id, r.position, r.partition_key,
       strftime('%Y-%m-%dT%H:%M:%fZ', r.arrived_at / 1e6, 'unixepoch') AS arrived_at,
       CAST(r.data AS TEXT) AS data
FROM shard_records r JOIN shards s USING (shard) JOIN logs l USING (log);
