//! Provisioning and the proof of durability against real servers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use bus::durable::{DurabilityError, prove};
use bus::provision::{Limits, ProvisionError, provision};
use bus::{ConnectError, Options};
use std::time::Duration;
use support::{Server, limits};

#[tokio::test]
async fn provisioning_twice_is_fine_and_drift_is_refused_by_name() {
    let server = Server::start();
    let bus = server.connect().await;
    provision(&bus, &limits()).await.unwrap();
    provision(&bus, &limits()).await.unwrap();
    let other = Limits { log_bytes: 1 << 20, logs_age: Duration::from_secs(60), ..limits() };
    let ProvisionError::Drift(drifts) = provision(&bus, &other).await.unwrap_err() else {
        panic!("drift is an error")
    };
    let found: Vec<_> = drifts.iter().map(|drift| (drift.stream.as_str(), drift.setting.as_str())).collect();
    assert_eq!(found, [("KING_LOG", "max_bytes"), ("KING_LOGS", "max_age")]);
    let text = drifts[0].to_string();
    assert_eq!(text, "KING_LOG: max_bytes is 10737418240, wanted 1048576");
    provision(&bus, &limits()).await.unwrap();
}

#[tokio::test]
async fn a_server_with_small_messages_is_refused() {
    let config = include_str!("nats.conf").replace("max_payload: 1MB", "max_payload: 512KB");
    let server = Server::start_with(&config);
    let error = provision(&server.connect().await, &limits()).await.unwrap_err();
    assert!(matches!(error, ProvisionError::PayloadTooSmall { found: 524_288 }), "{error:?}");
}

#[tokio::test]
async fn the_proof_holds_only_where_every_message_is_synced() {
    let system = Some(("system", "system"));
    let server = Server::start();
    server.connect().await;
    let proof = prove(&server.options(system)).await.unwrap();
    assert_eq!(proof.servers.len(), 1);
    assert_eq!(proof.servers[0].0, "king-1");

    let config = include_str!("nats.conf").replace(", sync_interval: always", "");
    let lazy = Server::start_with(&config);
    lazy.connect().await;
    let error = prove(&lazy.options(system)).await.unwrap_err();
    assert!(matches!(error, DurabilityError::NotSynced { .. }), "{error:?}");
    assert!(error.to_string().contains("jetstream { sync_interval: always }"), "{error}");

    let error = prove(&server.options(None)).await.unwrap_err();
    assert!(matches!(error, DurabilityError::NoAnswer { .. }), "{error:?}");
    let error = prove(&server.options(Some(("system", "wrong")))).await.unwrap_err();
    assert!(matches!(error, DurabilityError::Connect(ConnectError::Refused { .. })), "{error:?}");
}

#[tokio::test]
async fn addresses_that_are_none_are_refused_at_once() {
    let options = |url: &str| Options { url: url.to_owned(), name: "test".to_owned(), credentials: None };
    let error = bus::connect(&options("http://127.0.0.1:4222")).await.unwrap_err();
    assert!(matches!(error, ConnectError::BadUrl { .. }), "{error:?}");
    let error = bus::connect(&options("nats://king:king@127.0.0.1:4222")).await.unwrap_err();
    assert!(matches!(error, ConnectError::CredentialsInUrl { .. }), "{error:?}");
    assert!(!error.to_string().contains("king:king"), "{error}");
}
