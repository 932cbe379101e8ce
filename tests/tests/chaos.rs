//! A short slice of `make chaos`: three faults on a kingdom of three NATS servers and three Kings, each followed by the
//! proof from the log. Nothing here needs root; faults that do are left to `make chaos`.

use kingdom_tests::chaos::fault::Fault;
use kingdom_tests::chaos::run::Run;
use std::hash::{BuildHasher, RandomState};

#[tokio::test(flavor = "multi_thread")]
async fn a_kingdom_keeps_its_word_while_its_parts_die() {
    let seed = RandomState::new().hash_one("chaos") % 1_000_000;
    println!("the same choices again: make chaos SEED={seed}");
    let mut run = Run::start(seed).await;
    for fault in [Fault::KillWriter, Fault::KillLeader, Fault::HalfOpenWriter] {
        run.round(&[fault]).await;
    }
    println!("{}", run.table.text());
    assert!(!run.is_broken(), "what is wrong stands above");
    run.end().await;
}
