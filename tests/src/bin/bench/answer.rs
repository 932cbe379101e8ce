//! From the return of `git push` to the first HTTP answer of the app, `kingctl app deploy` included, for apps without a
//! build step: each time a new app, in turn one for Node with a `king.yaml` and one for Python with a `Procfile`.

use crate::row::{Row, Target};
use crate::samples::Samples;
use crate::stage::Stage;
use kingdom_tests::apps::{File, NODE_APP, PYTHON_APP};
use kingdom_tests::command::run;
use kingdom_tests::http;
use serde_json::json;
use std::time::{Duration, Instant};

const APPS: usize = 7;
const MOST_MS: f64 = 1000.0;
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// piku's figure on the reference machine, published.
const PIKU_MS: f64 = 3167.0;

/// Measures.
///
/// # Errors
/// When the kingdom does not run or an app does not answer.
pub async fn measure() -> anyhow::Result<Vec<Row>> {
    let stage = Stage::start("push_to_answer", 1).await?;
    let (mut node, mut python) = (Vec::new(), Vec::new());
    for turn in 0..APPS {
        node.push(one(&stage, "node", turn, NODE_APP).await?);
        python.push(one(&stage, "python", turn, PYTHON_APP).await?);
    }
    stage.stop().await;
    Ok([("push_to_answer_node", node), ("push_to_answer_python", python)]
        .map(|(name, took)| {
            let row = Row::of(name, &Samples::millis(&took), "ms", Target::AtMost(MOST_MS));
            row.beside("piku (published)", Some(PIKU_MS))
        })
        .to_vec())
}

async fn one(stage: &Stage, language: &str, turn: usize, files: &[File]) -> anyhow::Result<Duration> {
    let app = &format!("{language}-{turn}");
    let repository = stage.repository(app, files).await;
    repository.publish("v1.0.0").await;
    let began = Instant::now();
    run(stage.kingctl(&["app", "deploy", &format!("{app}@1.0.0"), "--detach"])?).await.success();
    while began.elapsed() < PATIENCE {
        if answers(stage, app, language).await {
            let took = began.elapsed();
            run(stage.kingctl(&["app", "stop", app])?).await.success();
            return Ok(took);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    anyhow::bail!("{app} does not answer within {PATIENCE:?}")
}

async fn answers(stage: &Stage, app: &str, language: &str) -> bool {
    let instances = stage.client.query("instance.ls", json!({ "app": app })).await;
    let port =
        instances.first().and_then(|instance| instance["ports"].as_object()?.values().next()?.as_u64());
    let Some(port) = port.and_then(|port| u16::try_from(port).ok()) else { return false };
    http::page(port).await.is_ok_and(|page| page.starts_with(language))
}
