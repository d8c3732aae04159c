//! A lane whose changes are tried: it says first which events it would apply, and applies those that it is answered.

use std::ops::ControlFlow;

use foldstream_model::{DocumentKey, Error, ports::DocumentWrite};

use super::{Lane, buffer::Phase};
use crate::guard::Origin;

impl Lane {
    /// The first events of at most `limit` documents that would be applied next; each document is answered by [`Lane::tried`] or
    /// [`Lane::untried`]. And writes that apply none, as [`Lane::to_write`] gives them.
    pub fn to_try(&mut self, limit: usize) -> (Vec<(DocumentKey, Origin)>, Vec<DocumentWrite>) {
        let (mut due, mut writes) = (Vec::new(), Vec::new());
        while due.len() + writes.len() < limit
            && let Some(slot) = self.ready.pop_front()
        {
            let Some(buffer) = self.documents.get_mut(slot) else { continue };
            if buffer.phase != Phase::Ready {
                continue;
            }
            match (buffer.prepare(&self.rules, &mut self.out), buffer.pending.first()) {
                (ControlFlow::Continue(_), Some(first)) => {
                    due.push((buffer.key.clone(), first.origin.clone()))
                }
                (ControlFlow::Continue(_), None) => {}
                (ControlFlow::Break(turn), _) => writes.extend(self.follow(slot, turn)),
            }
        }
        (due, writes)
    }

    /// The document may be changed: alone by one event. Of a guilty one, if it still comes first, the change is refused.
    pub fn tried(
        &mut self,
        key: &DocumentKey,
        alone: bool,
        guilty: Option<(&Origin, &Error)>,
    ) -> Option<DocumentWrite> {
        let (slot, buffer) = self.documents.find(key).filter(|(_, buffer)| buffer.phase == Phase::Ready)?;
        let (rules, out) = (&self.rules, &mut self.out);
        if alone {
            buffer.at_most = 1;
        }
        let turn = match (buffer.prepare(rules, out), guilty) {
            (ControlFlow::Continue(_), Some((origin, error))) if buffer.begins_with(origin) => {
                buffer.fail(0, error.clone(), rules, out)
            }
            (ControlFlow::Continue(due), _) => buffer.fold(due, rules, out),
            (ControlFlow::Break(turn), _) => turn,
        };
        self.follow(slot, turn)
    }

    /// The document has its turn later.
    pub fn untried(&mut self, key: &DocumentKey) {
        if let Some((slot, buffer)) = self.documents.find(key)
            && buffer.phase == Phase::Ready
        {
            self.ready.push_front(slot);
        }
    }
}
