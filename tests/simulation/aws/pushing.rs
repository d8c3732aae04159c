//! What a shard pushes to whoever has subscribed to it, for five minutes at most.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use foldstream_aws::memory::{Push, Reply};
use foldstream_model::Result;
use serde_json::Value;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};

use super::{Cloud, streams::Subscribed};
use crate::link::{Link, pause};

const LASTS: Duration = Duration::from_secs(300);
/// Without a record, an event says so often that there is none.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// As many events as are on their way.
const EVENTS: usize = 4;

pub async fn subscribe(link: &Arc<Link>, cloud: &Arc<Cloud>, input: &Value) -> Result<Reply> {
    let subscribed = match cloud.streams().subscribe(input) {
        Ok(subscribed) => subscribed,
        Err(refused) => return Ok(refused),
    };
    link.world.count("subscription");
    let (sender, events) = mpsc::channel(EVENTS);
    let (pushing, cloud) = (link.clone(), cloud.clone());
    link.world.send(async move {
        let until = Instant::now() + LASTS;
        let _ = timeout_at(until, push(&pushing, &cloud, subscribed, sender)).await;
    });
    Ok(Reply::Pushed { of: "SubscribeToShardEvent", events: Arc::new(Mutex::new(events)) })
}

/// Ends when nobody listens, when another subscription takes its place, and behind the shard's last record.
async fn push(link: &Arc<Link>, cloud: &Cloud, mut subscribed: Subscribed, sender: mpsc::Sender<Push>) {
    let world = &link.world;
    while !sender.is_closed() {
        let most = world.chance().pick(&[1, 3, 1_000]);
        let Some((event, after, is_end)) = cloud.streams().event(&subscribed, most) else { return };
        let is_new = after > subscribed.after;
        pause(world.way()).await;
        link.thawed().await;
        if world.is_gone() || world.strikes("subscription reset", cloud.weather.reset) {
            let how = world.chance().pick(&[Push::Reset, Push::Fails("InternalFailureException")]);
            let _ = sender.send(how).await;
            return;
        }
        link.saw(&format!("pushed {} behind {} up to {after}", subscribed.shard, subscribed.after));
        if sender.send(Push::Event(event)).await.is_err() || is_end {
            return;
        }
        subscribed.after = after;
        if !is_new {
            let _ = timeout(HEARTBEAT, world.log.changes()).await;
        }
    }
}
