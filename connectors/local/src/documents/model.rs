//! Read models: a table for each, so that one can be removed without touching the others, and a view with its name for
//! people.

use foldstream_model::ReadModel;
use rusqlite::{Connection, OptionalExtension, params};

use crate::errors::Failure;

/// The statements of one read model.
pub(super) struct Model {
    pub(super) select: String,
    pub(super) insert: String,
    pub(super) update: String,
    pub(super) list: String,
}

impl Model {
    pub(super) fn find(snapshot: &Connection, model: &ReadModel) -> Result<Option<Self>, Failure> {
        let found = row(snapshot, model)?;
        Ok(found.map(|found| Self::of(found.id)))
    }

    pub(super) fn find_or_create(transaction: &Connection, model: &ReadModel) -> Result<Self, Failure> {
        match Self::find(transaction, model)? {
            Some(found) => Ok(found),
            None => create(transaction, model),
        }
    }

    pub(super) fn remove(transaction: &Connection, model: &ReadModel) -> Result<(), Failure> {
        let Some(ModelRow { id, view }) = row(transaction, model)? else {
            return Ok(());
        };
        transaction.execute_batch(&format!("DROP VIEW {}; DROP TABLE documents_{id};", quoted(&view)))?;
        transaction.execute("DELETE FROM read_models WHERE model = ?1", [id])?;
        Ok(())
    }

    fn of(id: i64) -> Self {
        Self {
            select: format!("SELECT guard, fields, hidden FROM documents_{id} WHERE key = ?1"),
            insert: format!(
                "INSERT INTO documents_{id} (key, guard, fields, hidden) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING"
            ),
            update: format!(
                "UPDATE documents_{id} SET guard = ?2, fields = ?3, hidden = ?4 WHERE key = ?1 AND guard = ?5"
            ),
            list: format!(
                "SELECT guard, fields, hidden, key FROM documents_{id}
                 WHERE fields IS NOT NULL AND key >= ?1 ORDER BY key LIMIT ?2"
            ),
        }
    }
}

struct ModelRow {
    id: i64,
    view: String,
}

fn row(snapshot: &Connection, model: &ReadModel) -> Result<Option<ModelRow>, Failure> {
    let mut statement =
        snapshot.prepare_cached("SELECT model, view FROM read_models WHERE name = ?1 AND version = ?2")?;
    let row = statement.query_row(params![model.name.as_str(), model.version.0], |row| {
        Ok(ModelRow { id: row.get(0)?, view: row.get(1)? })
    });
    Ok(row.optional()?)
}

fn create(transaction: &Connection, model: &ReadModel) -> Result<Model, Failure> {
    let view = format!("{}_v{}", model.name, model.version.0);
    let id: i64 = transaction.query_row(
        "INSERT INTO read_models (name, version, view) VALUES (?1, ?2, 'new read model') RETURNING model",
        params![model.name.as_str(), model.version.0],
        |row| row.get(0),
    )?;
    let view = if can_name_a_view(transaction, &view)? { view } else { format!("read_model_{id}") };
    transaction.execute("UPDATE read_models SET view = ?2 WHERE model = ?1", params![id, view])?;
    transaction.execute_batch(&format!(
        "CREATE TABLE documents_{id} (
             key    TEXT NOT NULL PRIMARY KEY,
             guard  TEXT NOT NULL,
             -- Null: the document was deleted, its guard is remembered.
             fields TEXT,
             hidden TEXT
         );
         CREATE VIEW {} AS SELECT key, fields FROM documents_{id} WHERE fields IS NOT NULL;",
        quoted(&view)
    ))?;
    Ok(Model::of(id))
}

/// SQLite takes names for the same that differ only in the case of letters, keeps some for itself, and reads none beyond
/// a NUL.
fn can_name_a_view(transaction: &Connection, name: &str) -> Result<bool, Failure> {
    let taken: bool = transaction.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE)",
        [name],
        |row| row.get(0),
    )?;
    let reserved = name.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("sqlite_"));
    Ok(!taken && !reserved && !name.chars().any(char::is_control))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
