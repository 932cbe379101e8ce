//! When everything is well again: copies current, Kings ready, Servants alive, apps settled, every instance exactly one
//! process, and the King's knowledge of them the truth.

use super::site::{KINGS, MOVING, STEADY, Site};
use crate::{strays, wait};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long that may take after the last fault is healed, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The processes of instances, by instance.
pub type Pids = BTreeMap<String, u64>;

/// Waits until it is so, and gives the processes of the steady apps.
///
/// # Panics
/// When it does not become so.
pub async fn again(site: &mut Site) -> Pids {
    site.cluster.is_current().await;
    for king in KINGS {
        wait::within(PATIENCE, &format!("{king} is ready"), async || {
            let revived = site.revive();
            wait::holds(revived.is_empty(), || format!("{revived:?} had ended and were started again"))?;
            site.king(king).await.map(|_| ())
        })
        .await;
        site.is_ready(king).await;
    }
    site.all_servants_live().await;
    for app in STEADY.map(|(app, ..)| app).into_iter().chain([MOVING]) {
        settled(site, app).await;
    }
    wait::within(PATIENCE, "every instance is one process, and the King knows it", async || {
        let steady = every_instance_runs_once(site).await?;
        let revived = site.revive();
        wait::holds(revived.is_empty(), || format!("{revived:?} had ended and were started again"))?;
        Ok::<_, String>(steady)
    })
    .await
}

async fn settled(site: &Site, app: &str) {
    wait::within(PATIENCE, &format!("{app} is settled"), async || {
        let items = site.client.ask("app.show", json!({ "app": app })).await?;
        let item = items.into_iter().next().unwrap_or_default();
        wait::holds(item["phase"] == "settled", || item.to_string())
    })
    .await;
}

async fn every_instance_runs_once(site: &Site) -> Result<Pids, String> {
    let instances = site.client.ask("instance.ls", json!({})).await?;
    let known: Pids = instances.iter().filter_map(pid).collect();
    let runs = strays::runs(site.path());
    let once = |pids: &Vec<u32>| pids.len() == 1;
    let seen: Pids = runs.iter().map(|(id, pids)| (id.clone(), u64::from(pids[0]))).collect();
    wait::holds(instances.len() == known.len() && seen == known && runs.values().all(once), || {
        format!("the King knows {known:?} of {instances:?}, and {runs:?} run")
    })?;
    let steady = |item: &&Value| STEADY.iter().any(|(app, ..)| item["app"] == *app);
    Ok(instances.iter().filter(steady).filter_map(pid).collect())
}

fn pid(item: &Value) -> Option<(String, u64)> {
    Some((item["instance"].as_str()?.to_owned(), item["pid"].as_u64()?))
}
