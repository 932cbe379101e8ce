//! An app that tells of its orders. Run it as a process type, or by hand: then nobody hears, and nothing is done.

use king_client::{King, json};
use std::time::Duration;

fn main() {
    let king = King::from_env();
    king.event("started", json!({ "pid": std::process::id() }));
    for id in 1..=3 {
        king.counter("orders", 1.0);
        king.gauge_with("queue", f64::from(3 - id), &[("shard", "a")]);
        king.event("order-placed", json!({ "id": id, "total": 12.5 }));
    }
    if !king.flush(Duration::from_secs(1)) {
        eprintln!("nobody took it within a second; {} lines were lost", king.lost());
    }
}
