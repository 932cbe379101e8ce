//! Filters: exact whether an instance is there, gone, or long gone.

use super::support::{Kingdom, created, instance, lost, placed, servant, started, stopped};
use events::Fact;
use king::feed::Placement;
use std::sync::atomic::Ordering;

/// Two apps on two servants, and their ends: event numbers 1 to 12.
fn story() -> Vec<Vec<Fact>> {
    vec![
        vec![created("shop"), created("blog")],
        vec![placed(1, "shop", 1), placed(2, "blog", 1)],
        vec![placed(3, "shop", 2), started(1)],
        vec![started(2), started(3)],
        vec![lost(1, "alpha"), stopped(1)],
        vec![stopped(2), stopped(3)],
    ]
}

async fn passed(kingdom: &Kingdom, query: &str, last: u64) -> Vec<u64> {
    let mut stream = kingdom.follow(&format!("/v1/events?since=0&{query}"), "").await;
    let mut ids = Vec::new();
    loop {
        let message = stream.next().await.expect("the stream goes on");
        if message.data.is_some() {
            ids.extend(message.id);
        }
        if message.id == Some(last) {
            return ids;
        }
    }
}

async fn check(kingdom: &Kingdom) {
    let by_id = format!("servant={}", servant(1));
    let checks = [
        ("noun=app", vec![1, 2]),
        ("noun=servant,app", vec![1, 2, 9]),
        ("app=shop", vec![1, 3, 5, 6, 8, 10, 12]),
        ("app=blog", vec![2, 4, 7, 11]),
        ("app=nobody", vec![]),
        ("servant=alpha", vec![3, 4, 6, 7, 9, 10, 11]),
        (by_id.as_str(), vec![3, 4, 6, 7, 9, 10, 11]),
        ("servant=alpha&app=shop", vec![3, 6, 10]),
        ("servant=alpha&app=shop&noun=app", vec![]),
    ]
    .map(|(query, ids)| async move { assert_eq!(passed(kingdom, query, 12).await, ids, "{query}") });
    futures_util::future::join_all(checks).await;
}

#[tokio::test]
async fn filters_pass_what_belongs_while_it_happens() {
    let mut kingdom = Kingdom::start(100).await;
    story().into_iter().for_each(|facts| kingdom.commit(facts));
    check(&kingdom).await;
    assert_eq!(kingdom.memory.reads.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn filters_pass_the_same_from_the_log_of_earlier_kings() {
    let mut kingdom = Kingdom::cold(100).await;
    for facts in story() {
        kingdom.store(facts);
    }
    kingdom.feed.begin(6, 12);
    check(&kingdom).await;
}

#[tokio::test]
async fn an_instance_that_is_gone_is_found_where_it_was_placed() {
    let mut kingdom = Kingdom::cold(100).await;
    for facts in story() {
        kingdom.store(facts);
    }
    kingdom.feed.begin(6, 12);
    // Begins behind the placings: the stopped instances are in no state, and nothing has remembered them.
    let mut stream = kingdom.follow("/v1/events?since=9&app=shop", "").await;
    assert_eq!(stream.ids(2).await, [10, 12]);
}

#[tokio::test]
async fn what_the_state_of_now_knows_is_not_looked_for() {
    let mut kingdom = Kingdom::start(100).await;
    let place = Placement { app: "shop".parse().unwrap(), servant: servant(1) };
    kingdom.placements.lock().unwrap().insert(instance(7), place);
    kingdom.commit(vec![started(7), created("blog")]);
    assert_eq!(passed(&kingdom, "app=shop", 2).await, [1]);
    assert_eq!(kingdom.memory.reads.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_filter_that_skips_moves_its_client_on() {
    let mut kingdom = Kingdom::start(100).await;
    let mut stream = kingdom.follow("/v1/events?noun=servant", "").await;
    stream.next().await.unwrap();
    kingdom.commit(vec![created("shop"), created("blog")]);
    let told = stream.next().await.unwrap();
    assert_eq!((told.id, told.data), (Some(2), None));
    kingdom.commit(vec![lost(1, "alpha")]);
    assert_eq!(stream.next().await.unwrap().id, Some(3));
}
