//! The JSON schema of the file, for editors and for those who want to check a file without this program.

mod shape;

#[cfg(test)]
mod tests;

use schemars::generate::SchemaSettings;

/// The schema as indented JSON with a line break at its end: what `schema.json` in this folder holds.
///
/// It knows fields, words and shapes. What depends on other parts of a file, such as names that must exist,
/// is left to [`Config::read`](crate::Config::read).
pub fn schema() -> String {
    let generator = SchemaSettings::draft07().into_generator();
    let schema = generator.into_root_schema_for::<shape::File>();
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    text.push('\n');
    text
}
