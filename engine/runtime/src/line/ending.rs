//! How projections leave a line, and how a line ends.

use std::sync::Arc;

use foldstream_model::{Error, Place, Result};
use tokio_util::sync::CancellationToken;

use super::{Left, Line, LineKind, Subscriber, rejoin::Joining};
use crate::{merging::MergeInput, subscription::Subscription, write::Outlet};

impl Line {
    /// Lets those go that met poison, were fenced or told to leave, or were to join and do not come. What they had
    /// settled is saved first, the reason with it.
    pub(super) async fn drop_left(&mut self) -> Result<()> {
        let does_not_come = |known: &Subscriber| {
            let is_past = |joining: &Joining| joining.past.is_cancelled();
            known.joining.as_ref().is_some_and(|joining| is_past(joining) || known.is_gone())
        };
        if self.subscribers.iter().any(does_not_come) {
            self.subscribers.retain(|known| !does_not_come(known));
            self.tell_gauge();
        }
        if !self.subscribers.iter().any(|subscriber| subscriber.is_gone()) {
            return Ok(());
        }
        for index in (0..self.subscribers.len()).rev() {
            if let Some(left) = self.subscribers[index].left() {
                if matches!(left, Left::Stopped(_)) {
                    self.settle_before_poison(index).await;
                }
                if !matches!(left, Left::Fenced(_)) {
                    self.save_now(false).await?;
                }
                let left = self.subscribers[index].unless_overtaken(left);
                self.leave(index, left).await?;
            }
        }
        Ok(())
    }

    /// Others have read on, and what this line knows is of no use any more.
    pub(super) async fn fence_all(&mut self, error: &Error) -> Result<()> {
        for subscriber in &self.subscribers {
            subscriber.subscription.fence(error.clone());
        }
        self.drop_left().await
    }

    /// Those that are told to leave and have something to settle first. The others do not wait for them.
    pub(super) fn leaving(&self) -> Vec<Arc<Subscription>> {
        let leaving = self.subscribers.iter().filter(|subscriber| subscriber.is_gone());
        leaving.map(|subscriber| subscriber.subscription.clone()).collect()
    }

    /// What precedes the poison may still be on its way to the documents.
    async fn settle_before_poison(&self, index: usize) {
        let subscription = &self.subscribers[index].subscription;
        self.wait_for(&subscription.projection.hurry, subscription.level_before_stop()).await;
    }

    /// Waits for what settles, for as long as there is patience. Beyond that a checkpoint is only further back.
    pub(super) async fn wait_for(&self, hurry: &CancellationToken, settled: impl Future<Output = ()>) {
        tokio::select! {
            biased;
            () = settled => {}
            () = hurry.cancelled() => {}
            () = tokio::time::sleep(self.patience) => {}
        }
    }

    /// Takes a projection out of this line; its lanes forget what is undone.
    pub(super) async fn leave(&mut self, index: usize, left: Left) -> Result<()> {
        let busy = self.gauge.busy();
        let subscriber = self.subscribers.remove(index);
        let subscription = &subscriber.subscription;
        let hurry = &subscription.projection.hurry;
        match &subscription.projection.outlet {
            Outlet::Lanes(lanes) => {
                subscription.abandon();
                if matches!(left, Left::Ended) {
                    // Lanes that hang are told at the next start; until then guards name the shard for longer.
                    self.wait_for(hurry, lanes.closed(self.context.known.number)).await;
                }
            }
            Outlet::Merge { inputs, .. } => {
                let (closed, shard) = (matches!(left, Left::Ended), self.context.known.number);
                // A merge that has ended holds nothing, and in a hurry nothing begins again before it ends.
                tokio::select! {
                    biased;
                    _ = inputs.send(MergeInput::Leave { line: self.id, shard, closed }) => {}
                    () = hurry.cancelled() => {}
                }
                subscription.abandon();
            }
        }
        self.tell_gauge();
        self.tell(subscriber.id(), left, busy).await;
        Ok(())
    }

    /// Whom this line serves, for reports and for knowing when it is caught up.
    pub(super) fn tell_gauge(&self) {
        self.gauge.serve(self.subscribers.iter().map(|subscriber| subscriber.subscription.clone()).collect());
    }

    /// Waits until all that was delivered is settled, then saves it.
    pub(super) async fn settle_and_save(&mut self) -> Result<()> {
        let level = async {
            for subscriber in self.subscribers.iter().filter(|subscriber| subscriber.joining.is_none()) {
                subscriber.subscription.level().await;
            }
        };
        self.wait_for(&self.context.hurry, level).await;
        self.save_now(false).await
    }

    /// What is to be read next was trimmed. Who needs it stops here; who stands behind it goes on from there.
    pub(super) async fn lost(&mut self, error: &Error) -> Result<()> {
        let (shard, position) = (&self.context.shard.id, &self.at.position);
        let error = error.clone().context(format!(
            "shard={shard}: records behind position={position} were trimmed before the projection had read them, so their events are lost to it. Bring them into a new stream, from the event store or wherever they are kept, read that under another name in `sources`, and give the projection a new version; a longer retention time keeps this from happening again"
        ));
        let place = Place::end(position.max(&self.hindmost.position).clone(), u32::MAX);
        self.stop_all(&place, &error).await?;
        self.drop_left().await
    }

    /// The line is told to stop: nothing more is read; what was delivered is settled and saved.
    pub(super) async fn drain(&mut self) -> Result<()> {
        if self.kind != LineKind::Merge {
            self.settle_and_save().await?;
        }
        // Who is joining is served by its own line still, and leaves there.
        self.subscribers.retain(|subscriber| subscriber.joining.is_none());
        self.drop_left().await?;
        self.save_now(false).await?;
        while let Some(index) = self.subscribers.len().checked_sub(1) {
            self.leave(index, Left::Drained).await?;
        }
        tracing::debug!(shard = %self.context.shard.id, reader = self.kind.as_str(), up_to = %self.at.position, "a reading was told to end");
        Ok(())
    }

    /// The last record is in order: the shard is sealed, and each projection has ended it when it has settled it.
    pub(super) async fn finish(&mut self, drain: &CancellationToken) -> Result<()> {
        self.fill_all_gaps(drain).await?;
        if drain.is_cancelled() {
            return self.drain().await;
        }
        self.seal().await?;
        self.put_in_order(None).await?;
        self.gauge.ended();
        if let LineKind::Merge = self.kind {
            self.tell_end().await?;
        }
        loop {
            self.drop_left().await?;
            let level = self.subscribers.iter().position(|subscriber| {
                subscriber.joining.is_none() && subscriber.subscription.is_level() && !subscriber.is_gone()
            });
            if let Some(index) = level {
                self.save_now(true).await?;
                if self.subscribers[index].is_gone() {
                    continue;
                }
                if !self.subscribers[index].handle.checkpoint().ended {
                    // What is at the ends of its parents is not settled yet.
                    tokio::select! {
                        biased;
                        () = drain.cancelled() => return self.drain().await,
                        () = self.departures.changed() => continue,
                        () = tokio::time::sleep(self.context.settings.checkpoint_interval) => continue,
                    }
                }
                self.leave(index, Left::Ended).await?;
                continue;
            }
            if self.subscribers.is_empty() && self.commands.is_empty() {
                return Ok(());
            }
            let change = self.any_change();
            tokio::select! {
                biased;
                () = drain.cancelled() => return self.drain().await,
                () = self.departures.changed() => {}
                Some(command) = self.commands.recv() => self.command(command).await?,
                () = change => {}
            }
        }
    }

    /// Returns when one of the subscribers is level, or has left by itself, or does not come.
    fn any_change(&self) -> impl Future<Output = ()> + use<> {
        let changes: Vec<_> = self
            .subscribers
            .iter()
            .map(|subscriber| {
                let subscription = subscriber.subscription.clone();
                let past = subscriber.joining.as_ref().map(|joining| joining.past.clone());
                Box::pin(async move {
                    match past {
                        Some(past) => past.cancelled().await,
                        None => subscription.level().await,
                    }
                })
            })
            .collect();
        async move {
            if changes.is_empty() {
                return std::future::pending().await;
            }
            futures::future::select_all(changes).await;
        }
    }

    /// A merge goes on in the children as soon as this shard is read to its end, settled or not; they begin with the
    /// order state at that end, which is saved for them now.
    async fn tell_end(&mut self) -> Result<()> {
        let cut = self.save_cut_at_end().await?;
        let listed = self.context.source.source.shards().await?;
        let is_child = |shard: &&foldstream_model::Shard| shard.parents.contains(&self.context.shard.id);
        let children: Vec<_> = listed.iter().filter(is_child).map(|shard| shard.id.clone()).collect();
        for subscriber in &self.subscribers {
            let left = Left::ReadToEnd { cut: cut.clone(), children: children.clone() };
            self.tell(subscriber.id(), left, self.gauge.busy()).await;
        }
        Ok(())
    }
}

impl Subscriber {
    /// Where another worker has got beyond what stops it here, it looks anew, and goes on from there.
    fn unless_overtaken(&self, left: Left) -> Left {
        match left {
            Left::Stopped(stop) if stop.place < self.handle.checkpoint().place() => Left::Fenced(
                Error::fenced(format!("others have got beyond what stopped the projection here: {stop}")),
            ),
            left => left,
        }
    }
}

/// Returns when one of these is level; never without any.
pub(super) async fn any_level(of: Vec<Arc<Subscription>>) {
    if of.is_empty() {
        return std::future::pending().await;
    }
    futures::future::select_all(of.iter().map(|subscription| Box::pin(subscription.level()))).await;
}
