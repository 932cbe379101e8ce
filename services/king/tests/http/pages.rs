//! Pages, probes, numbers, lists, and what is refused before any of them.

use super::support::{Kingdom, created};

#[tokio::test]
async fn probes_say_what_is() {
    let kingdom = Kingdom::start(100).await;
    assert_eq!(kingdom.get("/healthz").await.body, "ok");
    let waiting = kingdom.get("/readyz").await;
    assert_eq!(waiting.status, 503);
    assert_eq!(waiting.json()["reasons"][0]["code"], "starting");
    kingdom.readiness.block("bus-unreachable", "NATS does not answer");
    kingdom.readiness.clear("starting");
    assert_eq!(kingdom.get("/readyz").await.json()["reasons"].as_array().unwrap().len(), 1);
    kingdom.readiness.clear("bus-unreachable");
    kingdom.readiness.ready().await;
    let ready = kingdom.get("/readyz").await;
    assert_eq!((ready.status, ready.json()["ready"].as_bool()), (200, Some(true)));
    assert_eq!(kingdom.get("/version").await.json()["version"], env!("CARGO_PKG_VERSION"));
    assert!(kingdom.get("/").await.body.contains("/v1/events"));
}

#[tokio::test]
async fn metrics_come_in_the_format_that_is_accepted() {
    let kingdom = Kingdom::start(100).await;
    kingdom.get("/healthz").await;
    let text = kingdom.get("/metrics").await;
    assert!(text.head.contains("content-type: text/plain; version=0.0.4"), "{}", text.head);
    let counted = "king_http_requests_total{method=\"GET\",route=\"/healthz\",status=\"200\"} 1";
    assert!(text.body.contains(counted), "{}", text.body);
    let accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    let request =
        format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{accept}\r\nConnection: close\r\n\r\n");
    let open = kingdom.send(&request).await;
    assert!(open.head.contains("content-type: application/openmetrics-text"), "{}", open.head);
    assert!(open.body.ends_with("# EOF\n"));
}

#[tokio::test]
async fn unknown_addresses_and_methods_are_told_what_exists() {
    let kingdom = Kingdom::start(100).await;
    let unknown = kingdom.get("/v1/event").await;
    assert_eq!(unknown.status, 404);
    assert!(unknown.json()["detail"].as_str().unwrap().contains("/v1/events"));
    let post = kingdom.send("POST /v1/apps HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert_eq!((post.status, post.problem().0.as_str()), (405, "method"));
    assert!(post.head.contains("allow: get"), "{}", post.head);
}

#[tokio::test]
async fn only_this_machines_own_hosts_are_served() {
    let kingdom = Kingdom::start(100).await;
    for host in ["localhost", "LOCALHOST:7480", "127.0.0.1:80", "[::1]:7480"] {
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        assert_eq!(kingdom.send(&request).await.status, 200, "{host}");
    }
    for host in
        ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "a@localhost", "0.0.0.0", ""]
    {
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = kingdom.send(&request).await;
        assert_eq!((answer.status, answer.problem().0.as_str()), (421, "Host"), "{host}");
    }
    let absolute = "GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(kingdom.send(absolute).await.status, 421);
    let unknown = "GET /x HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(kingdom.send(unknown).await.status, 421);
    let double = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert!(matches!(kingdom.send(double).await.status, 400 | 421));
}

#[tokio::test]
async fn other_sites_pages_are_refused() {
    let kingdom = Kingdom::start(100).await;
    let ask = |header: &str| {
        format!("GET /healthz HTTP/1.1\r\nHost: localhost:7480\r\n{header}\r\nConnection: close\r\n\r\n")
    };
    for header in ["Origin: http://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site"] {
        let answer = kingdom.send(&ask(header)).await;
        assert_eq!(answer.status, 403, "{header}");
        answer.problem();
    }
    for header in [
        "Origin: http://localhost:7480",
        "Sec-Fetch-Site: same-origin",
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate",
    ] {
        assert_eq!(kingdom.send(&ask(header)).await.status, 200, "{header}");
    }
}

#[tokio::test]
async fn heads_and_bodies_are_bounded() {
    let kingdom = Kingdom::start(100).await;
    let body =
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    assert_eq!(kingdom.send(body).await.status, 413);
    let many = "X: y\r\n".repeat(200);
    let heads = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{many}\r\n");
    assert_eq!(kingdom.send(&heads).await.status, 431);
}

#[tokio::test]
async fn lists_answer_from_the_query() {
    let mut kingdom = Kingdom::cold(100).await;
    assert_eq!(kingdom.get("/v1/apps").await.status, 503);
    kingdom.feed.begin(0, 0);
    kingdom.commit(vec![created("shop")]);
    let apps = kingdom.get("/v1/apps?app=shop&min_event=1").await.json();
    assert_eq!((apps["event"].as_u64(), &apps["items"][0]["kind"]), (Some(3), &"app.ls".into()));
    for (path, field) in [
        ("/v1/apps?app=Shop..", "app"),
        ("/v1/apps?min_event=-1", "min_event"),
        ("/v1/servants?app=shop", "app"),
        ("/v1/instances?app=a&app=b", "app"),
    ] {
        let answer = kingdom.get(path).await;
        assert_eq!((answer.status, answer.problem().0.as_str()), (400, field), "{path}");
    }
    assert_eq!(kingdom.get("/v1/apps?min_event=99").await.status, 503);
}
