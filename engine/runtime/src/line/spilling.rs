//! Early events beyond the bound on memory: rows of the checkpoint store until their turn comes.

use foldstream_model::{EarlyEvent, Result};
use futures::future::try_join_all;
use tokio_util::sync::CancellationToken;

use super::Line;
use crate::retry;

/// Rows that are written or read at once.
const AT_ONCE: usize = 16;

impl Line {
    /// Writes rows until memory is within its bound.
    pub(super) async fn spill(&mut self) -> Result<()> {
        let (context, never) = (self.context.clone(), CancellationToken::new());
        loop {
            let spills = self.order.next_spills(&context.shard.id, AT_ONCE)?;
            if spills.is_empty() {
                return Ok(());
            }
            let rows = spills.iter().map(|spill| {
                let put = || context.rows.spill(&context.source.name, &spill.name, &spill.envelope);
                retry::until_done(&never, "spilling an early event", put)
            });
            try_join_all(rows).await?;
            spills.iter().for_each(|spill| self.order.spilled(&spill.name));
        }
    }

    /// Reads back what the order stage needs next. Poison: an event cannot be read any more.
    pub(super) async fn bring(&mut self, lacking: Vec<EarlyEvent>) -> Result<()> {
        let context = self.context.clone();
        for lacking in lacking.chunks(AT_ONCE) {
            let envelopes = lacking.iter().map(async |early| match early {
                EarlyEvent::Envelope(envelope) => Ok(envelope.clone()),
                EarlyEvent::Spilled(spilled) => context.rows.spilled(&context.source.name, spilled).await,
            });
            for envelope in try_join_all(envelopes).await? {
                self.order.bring(&envelope)?;
            }
        }
        Ok(())
    }
}
