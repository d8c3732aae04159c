//! What `ordering: commutative` can keep: documents that come out the same in whatever order the streams are read.

use std::collections::BTreeMap;

use foldstream_config::Place;
use foldstream_config::settings;
use foldstream_model::Path;

use super::operation::kind;
use super::report::Report;
use crate::operation::{Kind, Operation};

const ALLOWED: &str = "allowed are add, min, max, add_to_set, put_entry under event.stream_id, and set with latest_by or \
                       earliest_by; else use `ordering: per_stream` or `global`";

/// What the handlers of a projection do to each path.
#[derive(Default)]
pub(super) struct Commutative {
    paths: BTreeMap<Path, Use>,
}

struct Use {
    kind: Kind,
    /// of `put_entry`: where in the key the stream's id stands
    key: Option<(usize, usize)>,
}

impl Commutative {
    /// Checks the operations of one handler, `compiled` being those that change something.
    pub(super) fn check(
        &mut self,
        report: &mut Report,
        written: &[settings::Operation],
        compiled: &[Operation],
    ) {
        let changes = written.iter().filter_map(|operation| match operation {
            settings::Operation::Delete(place) => {
                report.error(
                    *place,
                    "`delete_document` depends on the order of events",
                    Some(ALLOWED.to_owned()),
                );
                None
            }
            settings::Operation::Change(change) => Some(change),
        });
        for (change, operation) in changes.collect::<Vec<_>>().into_iter().zip(compiled) {
            let place = change.path.place;
            let name = kind(&change.kind).name();
            report
                .at(&format!("{name}.{}", operation.path), |report| self.operation(report, place, operation));
        }
    }

    fn operation(&mut self, report: &mut Report, place: Place, operation: &Operation) {
        let Operation { path, kind, arguments, .. } = operation;
        let key = match (kind, arguments.first()) {
            (Kind::Add | Kind::Min | Kind::Max | Kind::AddToSet | Kind::SetLatest | Kind::SetEarliest, _) => {
                None
            }
            (Kind::PutEntry, Some(key)) => match key.stream_id_place() {
                Some(place) => Some(place),
                None => {
                    let help = "an entry belongs to one stream: use the key =event.stream_id, or a list with it, \
                                =[event.stream_id, payload.name]";
                    let message =
                        "put_entry depends on the order of events unless its key holds event.stream_id";
                    return report.error(place, message, Some(help.to_owned()));
                }
            },
            _ => {
                let message = format!("`{}` depends on the order of events", kind.name());
                return report.error(place, message, Some(ALLOWED.to_owned()));
            }
        };
        self.check_other_uses(report, place, path, &Use { kind: *kind, key });
        self.paths.insert(path.clone(), Use { kind: *kind, key });
    }

    /// Two kinds of operation on one path do not commute, nor do two on paths inside each other.
    fn check_other_uses(&self, report: &mut Report, place: Place, path: &Path, new: &Use) {
        for (other, earlier) in &self.paths {
            let same = other == path;
            if !same && !other.covers(path) && !path.covers(other) {
                continue;
            }
            if !same {
                let message = format!("the paths {other} and {path} lie inside each other");
                report.error(place, message, Some("keep them in separate fields".to_owned()));
            } else if earlier.kind != new.kind {
                let message = format!(
                    "`{}` and `{}` of the same path depend on the order of events",
                    earlier.kind.name(),
                    new.kind.name()
                );
                report.error(place, message, Some("keep them in separate fields".to_owned()));
            } else if earlier.key != new.key {
                let message =
                    format!("the entries of {path} have keys of two shapes, which two streams could share");
                report.error(
                    place,
                    message,
                    Some("write event.stream_id in the same place of both keys".to_owned()),
                );
            }
        }
    }
}
