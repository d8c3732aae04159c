use super::Reader;
use crate::{
    diagnostic::{Place, nearest},
    settings::Spanned,
    yaml::{Key, Kind, Node},
};

/// The fields of a mapping while they are taken one by one; what nobody has taken at the end is unknown.
pub(super) struct Fields<'n> {
    place: Place,
    entries: Vec<(&'n Key, &'n Node)>,
    known: Vec<&'static str>,
    missing: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// `None`, and an error, if the node is no mapping. `what` completes "expected …".
    pub fn of(reader: &mut Reader<'_>, node: &'n Node, what: &str) -> Option<Self> {
        let Kind::Map(entries) = &node.kind else {
            reader.error(
                node.place,
                format!("expected {what}, found {}", node.describe()),
                "write it as a mapping: `name: value`, one a line and indented, or `{ name: value, … }`",
            );
            return None;
        };
        let entries = entries.iter().map(|(key, value)| (key, value)).collect();
        Some(Self { place: node.place, entries, known: Vec::new(), missing: Vec::new() })
    }

    pub fn place(&self) -> Place {
        self.place
    }

    /// The field's value as `read` has it; `None` if it is missing, or was refused.
    pub fn required<'e, T>(
        &mut self,
        reader: &mut Reader<'e>,
        name: &'static str,
        read: impl FnOnce(&mut Reader<'e>, &'n Node) -> Option<T>,
    ) -> Option<T> {
        let Some((_, node)) = self.take(name) else {
            self.missing.push(name);
            return None;
        };
        reader.at(name, |reader| read(reader, node))
    }

    /// `Some(None)` if the field is not there; `None` if it was refused.
    pub fn optional<'e, T>(
        &mut self,
        reader: &mut Reader<'e>,
        name: &'static str,
        read: impl FnOnce(&mut Reader<'e>, &'n Node) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.take(name) {
            Some((_, node)) => reader.at(name, |reader| read(reader, node)).map(Some),
            None => Some(None),
        }
    }

    /// `default` if the field is not there; `None` if it was refused.
    pub fn or<'e, T>(
        &mut self,
        reader: &mut Reader<'e>,
        name: &'static str,
        default: T,
        read: impl FnOnce(&mut Reader<'e>, &'n Node) -> Option<T>,
    ) -> Option<T> {
        self.optional(reader, name, read).map(|read| read.unwrap_or(default))
    }

    /// One of a closed list of words; the first of them if the field is not there.
    pub fn word<T: Clone>(
        &mut self,
        reader: &mut Reader<'_>,
        name: &'static str,
        words: &[(&str, T)],
    ) -> Option<Spanned<T>> {
        let (_, first) = words.first()?;
        let default = Spanned::new(first.clone(), self.place);
        self.or(reader, name, default, |reader, node| reader.choice(node, words))
    }

    pub fn take(&mut self, name: &'static str) -> Option<(&'n Key, &'n Node)> {
        self.known.push(name);
        let at = self.entries.iter().position(|(key, _)| key.text == name)?;
        Some(self.entries.remove(at))
    }

    /// Every field of one of these names, in the order of the file.
    pub fn all_of(&mut self, names: &[&'static str]) -> Vec<(&'n Key, &'n Node)> {
        self.known.extend(names);
        self.entries.extract_if(.., |(key, _)| names.contains(&key.text.as_str())).collect()
    }

    /// For a mapping of which it is not known which fields it has.
    pub fn ignore_rest(&mut self) {
        self.entries.clear();
    }

    /// Reports the fields that are missing and those that are unknown.
    pub fn finish(mut self, reader: &mut Reader<'_>) {
        self.known.sort_unstable();
        for (key, _) in &self.entries {
            let meant = nearest(&key.text, self.known.iter().copied());
            let help = match meant {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            reader.error(key.place, format!("unknown field `{}`", key.text), help);
            // A misspelt field is one mistake, not two.
            self.missing.retain(|name| Some(*name) != meant);
        }
        for name in self.missing {
            reader.error(self.place, format!("the field `{name}` is missing"), format!("add `{name}:` here"));
        }
    }
}
