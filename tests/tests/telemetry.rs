//! Telemetry of a real servant: what a process does shows, what is lost shows as a gap, and a King that starts knows what
//! was before.

use events::metric::Frame;
use events::subject;
use kingdom_tests::apps::File;
use kingdom_tests::{Kingdom, wait};
use serde_json::{Value, json};

/// Burns one processor.
const BURNER: &[File] =
    &[("king.yaml", "processes:\n  burner:\n    command: 'while :; do :; done'\n    stop_grace: 1s\n")];

/// Holds 200 MB that it has written to.
const HOARDER: &[File] = &[(
    "king.yaml",
    "processes:\n  hoarder:\n    command: [python3, -c, 'import time; hoard = bytearray(b\"x\" * 200_000_000); time.sleep(100000)']\n    stop_grace: 1s\n",
)];

async fn metrics(kingdom: &Kingdom, kind: &str, question: Value) -> Result<Vec<Value>, String> {
    kingdom.client.ask(kind, question).await
}

async fn frames(kingdom: &Kingdom) -> Vec<Frame> {
    let stored = kingdom.client.messages(subject::METRICS_STREAM).await;
    stored.iter().map(|(_, _, bytes)| Frame::decode(bytes).expect("a frame")).collect()
}

#[tokio::test]
async fn what_processes_use_shows_everywhere() {
    let kingdom = Kingdom::start().await;
    kingdom.deploy("burner", BURNER, 1).await;
    kingdom.deploy("hoarder", HOARDER, 1).await;
    wait::until("both show what they use", async || {
        let burner = metrics(&kingdom, "instance.metrics", json!({ "app": "burner" })).await?;
        let hoarder = metrics(&kingdom, "instance.metrics", json!({ "app": "hoarder" })).await?;
        let cpu = burner.first().and_then(|item| item["cpu_percent"].as_f64()).unwrap_or_default();
        let memory = hoarder.first().and_then(|item| item["memory_bytes"].as_u64()).unwrap_or_default();
        // Others want this machine too, so it may get much less than a whole processor; never more.
        let fits = (3.0..=105.0).contains(&cpu) && (195_000_000..300_000_000).contains(&memory);
        wait::holds(fits, || format!("{burner:?} {hoarder:?}"))
    })
    .await;

    wait::until("the busiest processes of the host are known, and its last seconds", async || {
        let servants =
            metrics(&kingdom, "servant.metrics", json!({ "servant": "s1", "history_s": 60 })).await?;
        let servant = &servants[0];
        let busiest = servant["top_by_cpu"].as_array().cloned().unwrap_or_default();
        let shares: Vec<f64> = busiest.iter().filter_map(|process| process["cpu_percent"].as_f64()).collect();
        let is_sorted = !shares.is_empty() && shares.is_sorted_by(|one, other| one >= other);
        wait::holds(is_sorted && servant["history"].as_array().is_some_and(|points| points.len() > 3), || {
            servant.to_string()
        })
    })
    .await;

    let servant = kingdom.kingctl_json(&["servant", "top"]).await.as_array().unwrap()[0].clone();
    assert!(servant["age_ms"].as_u64().unwrap() < 5000, "{servant}");
    assert!(servant["cpu_percent"].as_f64().unwrap() > 10.0 && servant["missed"] == 0, "{servant}");
    assert!(servant["memory_used_bytes"].as_u64().unwrap() > 200_000_000, "{servant}");
    let instances = kingdom.kingctl_json(&["instance", "top", "--sort", "memory"]).await;
    assert_eq!(instances[0]["app"], "hoarder", "{instances}");
    assert!(instances[0]["descriptors"].as_u64().unwrap() >= 3, "{instances}");
    let shown = kingdom.kingctl(&["servant", "show", "s1"]).await.success();
    assert!(shown.contains("frame") && shown.contains("busiest"), "{shown}");
    let table = kingdom.kingctl(&["instance", "top", "--app", "burner"]).await.success();
    assert!(table.contains("burner") && !table.contains("hoarder"), "{table}");
    kingdom.kingctl(&["instance", "top", "--app", "nobody"]).await.failure(3);

    let text = kingdom_tests::http::get(kingdom.ports.http(), "/metrics").await.unwrap().body;
    assert!(text.contains("king_servant_cpu_ratio{servant=\"s1\"} "), "{text}");
    assert!(text.contains("king_instance_memory_bytes{app=\"hoarder\",process=\"hoarder\""), "{text}");
}

#[tokio::test]
async fn frames_are_whole_and_numbered_and_what_is_missing_is_known() {
    let mut kingdom = Kingdom::start().await;
    wait::until("there are some frames", async || {
        let frames = frames(&kingdom).await;
        wait::holds(frames.len() >= 3, || format!("{} frames", frames.len()))
    })
    .await;
    for pair in frames(&kingdom).await.windows(2) {
        assert_eq!((pair[0].life, pair[0].number + 1), (pair[1].life, pair[1].number));
        assert!((900..5000).contains(&pair[1].interval_ms), "{}", pair[1].interval_ms);
        assert!(pair[1].host.memory_kib > 0 && pair[1].cost_us < 500_000, "{pair:?}");
    }

    // A King that starts anew knows what was before it.
    let before = frames(&kingdom).await.len();
    kingdom.kill9("king");
    kingdom.restart("king").await;
    wait::until("the King knows the past", async || {
        let servants = metrics(&kingdom, "servant.metrics", json!({ "history_s": 600 })).await?;
        let points = servants.first().and_then(|item| item["history"].as_array()).map_or(0, Vec::len);
        wait::holds(points >= before, || format!("{points} points of {before}"))
    })
    .await;

    // What the servant could not send while the bus was away comes later, or is counted as missing.
    kingdom.kill9("nats");
    kingdom.restart("nats").await;
    wait::until("frames come again", async || {
        let servants = metrics(&kingdom, "servant.metrics", json!({})).await?;
        let servant = servants.first().ok_or("no servant")?;
        let fresh = servant["age_ms"].as_u64().is_some_and(|age| age < 3000);
        let whole = servant["frame"].as_u64().is_some_and(|frame| frame > before as u64 + 3);
        wait::holds(fresh && whole, || servant.to_string())
    })
    .await;
}
