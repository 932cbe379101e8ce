//! Mails over real servers: what arrives, how often, and what the log says of it.

#[path = "support/mod.rs"]
mod support;

use events::command::alert::MailPhase;
use events::event::*;
use events::report::{PortRange, RegisterServant};
use events::{Fact, InstanceId, ServantId, Timestamp};
use support::Alerter;
use support::king::King;
use support::nats::Nats;
use support::smtp::{Smtp, header};
use uuid::Uuid;

const INSTANCE: InstanceId = InstanceId(Uuid::from_u128(1));
const SERVANT: ServantId = ServantId(Uuid::from_u128(2));

fn placed() -> Vec<Fact> {
    let name = || "local".parse().expect("a name");
    let facts = RegisterServant {
        servant: SERVANT,
        name: name(),
        capabilities: Default::default(),
        ports: PortRange::DEFAULT,
        cpus: 2,
        memory_bytes: 1,
        boot: "boot".to_owned(),
        labels: events::Labels::new(),
    };
    let place = InstancePlaced {
        instance: INSTANCE,
        app: "hello".parse().expect("a name"),
        process: "web".parse().expect("a name"),
        release: 1,
        servant: SERVANT,
        ports: Default::default(),
    };
    let domain = events::DomainName::default_domain();
    vec![Fact::Servant(ServantJoined { domain, facts }.into()), Fact::Instance(place.into())]
}

fn crashed() -> Fact {
    let crash = InstanceCrashed {
        instance: INSTANCE,
        pid: 77,
        exit: Exit::Signal(9),
        uptime_ms: 3200,
        restart_in_ms: Some(0),
        out_of_memory: None,
        slot: None,
    };
    Fact::Instance(crash.into())
}

fn healthy() -> Fact {
    Fact::Instance(InstanceBecameHealthy { instance: INSTANCE }.into())
}

fn lost() -> Fact {
    Fact::Servant(
        ServantLost { servant: SERVANT, name: "local".parse().expect("a name"), silent_ms: 3000 }.into(),
    )
}

fn kinds(alerts: &[AlertEvent]) -> Vec<&'static str> {
    alerts.iter().map(AlertEvent::kind).collect()
}

#[tokio::test]
async fn a_crash_gives_one_mail_and_its_end_the_reply_to_it() {
    let (nats, data) = (Nats::start(), tempfile::tempdir().expect("a folder"));
    let king = King::start(&nats.provisioned().await).await;
    let mut smtp = Smtp::start(&[]).await;
    let _alerter = Alerter::start(&nats.url, &data, &["--smtp", &smtp.url]).await;
    king.commits(placed()).await;
    king.commits([crashed(), crashed()]).await;
    let mail = smtp.mail().await;
    assert_eq!(header(&mail, "Subject"), "[King] FIRING hello/web crashed on local");
    assert_eq!(header(&mail, "To"), "ops@example.org");
    assert_eq!(header(&mail, "From"), "King <king@example.org>");
    assert_eq!(header(&mail, "Auto-Submitted"), "auto-generated");
    assert_eq!(header(&mail, "X-Auto-Response-Suppress"), "All");
    assert_eq!(header(&mail, "Precedence"), "bulk");
    assert_eq!(header(&mail, "List-Id"), "<alerts.king.king>");
    assert_eq!(header(&mail, "X-King-Incident"), format!("crash/{INSTANCE}"));
    assert_eq!(header(&mail, "X-King-Event"), "3");
    assert!(mail.contains("Process id:     77") && mail.contains("killed by SIGKILL"), "{mail}");
    king.commits([healthy()]).await;
    let end = smtp.mail().await;
    assert_eq!(header(&end, "Subject"), "[King] RESOLVED hello/web crashed on local");
    assert_eq!(header(&end, "In-Reply-To"), header(&mail, "Message-ID"));
    assert_eq!(header(&end, "References"), header(&mail, "Message-ID"));
    let alerts = king.alerts(4).await;
    assert_eq!(kinds(&alerts), ["alert.planned", "alert.sent", "alert.planned", "alert.sent"]);
    assert_eq!(header(&mail, "Message-ID"), format!("<{}@king>", alerts[0].mail()));
}

#[tokio::test]
async fn a_server_that_is_busy_first_gets_exactly_one_mail() {
    let (nats, data) = (Nats::start(), tempfile::tempdir().expect("a folder"));
    let king = King::start(&nats.provisioned().await).await;
    let mut smtp = Smtp::start(&["--refuse", "2"]).await;
    let _alerter = Alerter::start(&nats.url, &data, &["--smtp", &smtp.url]).await;
    king.commits(placed().into_iter().chain([crashed()])).await;
    assert!(smtp.next().await["refused"].is_array());
    assert!(smtp.next().await["refused"].is_array());
    assert_eq!(header(&smtp.mail().await, "Subject"), "[King] FIRING hello/web crashed on local");
    assert_eq!(kinds(&king.alerts(2).await), ["alert.planned", "alert.sent"]);
    king.commits([lost()]).await;
    let next = smtp.mail().await;
    assert_eq!(
        header(&next, "Subject"),
        "[King] FIRING servant local is lost",
        "no second mail came between"
    );
}

#[tokio::test]
async fn a_connection_cut_after_the_mail_gives_the_same_mail_again() {
    let (nats, data) = (Nats::start(), tempfile::tempdir().expect("a folder"));
    let king = King::start(&nats.provisioned().await).await;
    let mut smtp = Smtp::start(&["--reset", "1"]).await;
    let _alerter = Alerter::start(&nats.url, &data, &["--smtp", &smtp.url]).await;
    king.commits(placed().into_iter().chain([crashed()])).await;
    let (first, second) = (smtp.mail().await, smtp.mail().await);
    assert_eq!(first, second, "to the byte");
    assert_eq!(kinds(&king.alerts(2).await), ["alert.planned", "alert.sent"]);
}

#[tokio::test]
async fn a_server_that_wants_a_login_is_asked_again() {
    let (nats, data) = (Nats::start(), tempfile::tempdir().expect("a folder"));
    let king = King::start(&nats.provisioned().await).await;
    let mut smtp = Smtp::start(&["--login", "1"]).await;
    let _alerter = Alerter::start(&nats.url, &data, &["--smtp", &smtp.url]).await;
    king.commits(placed().into_iter().chain([crashed()])).await;
    assert!(smtp.next().await["refused"].is_string());
    assert_eq!(header(&smtp.mail().await, "Subject"), "[King] FIRING hello/web crashed on local");
    assert_eq!(kinds(&king.alerts(2).await), ["alert.planned", "alert.sent"]);
}

#[tokio::test]
async fn a_server_that_hangs_is_left_and_asked_again() {
    let (nats, data) = (Nats::start(), tempfile::tempdir().expect("a folder"));
    let king = King::start(&nats.provisioned().await).await;
    let mut smtp = Smtp::start(&["--hang", "1"]).await;
    let flags = ["--smtp", &smtp.url, "--smtp-timeout-ms", "500"];
    let _alerter = Alerter::start(&nats.url, &data, &flags).await;
    king.commits(placed().into_iter().chain([crashed()])).await;
    assert!(smtp.next().await["hangs"].is_array());
    assert_eq!(header(&smtp.mail().await, "Subject"), "[King] FIRING hello/web crashed on local");
    assert_eq!(kinds(&king.alerts(2).await), ["alert.planned", "alert.sent"]);
}

#[tokio::test]
async fn a_server_that_comes_late_gets_beginning_and_end_in_order() {
    let (nats, data) = (Nats::start(), tempfile::tempdir().expect("a folder"));
    let king = King::start(&nats.provisioned().await).await;
    let port = support::nats::free_port().to_string();
    let url = format!("smtp://127.0.0.1:{port}");
    let mut alerter = Alerter::start(&nats.url, &data, &["--smtp", &url]).await;
    king.commits(placed().into_iter().chain([crashed(), healthy()])).await;
    assert_eq!(kinds(&king.alerts(2).await), ["alert.planned", "alert.planned"]);
    alerter.says("mail is tried again").await;
    let mut smtp = Smtp::start(&["--port", &port]).await;
    let (first, last) = (smtp.mail().await, smtp.mail().await);
    assert_eq!(header(&first, "Subject"), "[King] FIRING hello/web crashed on local");
    assert_eq!(header(&last, "In-Reply-To"), header(&first, "Message-ID"));
}

#[tokio::test]
async fn a_hostile_plan_is_one_mail_with_the_headers_of_any() {
    let (nats, data) = (Nats::start(), tempfile::tempdir().expect("a folder"));
    let king = King::start(&nats.provisioned().await).await;
    let mut smtp = Smtp::start(&[]).await;
    let _alerter = Alerter::start(&nats.url, &data, &["--smtp", &smtp.url]).await;
    let hostile = MailPlanned {
        mail: Uuid::from_u128(9),
        incident: "crash/\r\nX-Evil: one".to_owned(),
        phase: MailPhase::Firing,
        subject: format!("one\r\nBcc: all@example.org\r\n\r\n{}", "x".repeat(10_000)),
        body: "one\r\n.\r\nMAIL FROM:<evil@example.org>\r\n".to_owned(),
    };
    king.commits([Fact::Alert(hostile.into())]).await;
    let mail = smtp.mail().await;
    let head = mail.split("\n\n").next().expect("a head");
    assert!(!head.contains("\nBcc") && !head.contains("\nX-Evil"), "{head}");
    assert!(header(&mail, "Subject").starts_with("one Bcc: all@example.org"), "{head}");
    assert!(mail.contains("\n.\nMAIL FROM:<evil@example.org>\n"), "the dot is part of the text: {mail}");
    king.commits(placed().into_iter().chain([lost()])).await;
    let next = smtp.mail().await;
    assert_eq!(header(&next, "Subject"), "[King] FIRING servant local is lost", "it was one mail");
}

#[tokio::test]
async fn one_bad_recipient_blocks_no_other_and_stands_in_the_record() {
    let (nats, data) = (Nats::start(), tempfile::tempdir().expect("a folder"));
    let king = King::start(&nats.provisioned().await).await;
    let mut smtp = Smtp::start(&["--unknown", "gone@example.org"]).await;
    let to = "gone@example.org,night@example.org";
    let _alerter = Alerter::start(&nats.url, &data, &["--smtp", &smtp.url, "--to", to]).await;
    king.commits(placed().into_iter().chain([crashed()])).await;
    let mut recipients = [smtp.mail().await, smtp.mail().await].map(|mail| header(&mail, "To").to_owned());
    recipients.sort();
    assert_eq!(recipients, ["night@example.org", "ops@example.org"]);
    let alerts = king.alerts(2).await;
    let AlertEvent::Sent(sent) = &alerts[1] else { panic!("sent to those that exist: {alerts:?}") };
    assert!(
        sent.via.contains("gone@example.org") && sent.via.contains("nobody of that name"),
        "{}",
        sent.via
    );
}

#[tokio::test]
async fn a_death_between_sending_and_recording_is_the_only_way_to_a_second_mail() {
    let (nats, data) = (Nats::start(), tempfile::tempdir().expect("a folder"));
    let king = King::start(&nats.provisioned().await).await;
    let mut smtp = Smtp::start(&[]).await;
    let flags = ["--smtp", smtp.url.as_str()].map(str::to_owned);
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    king.takes_records(false).await;
    let mut alerter = Alerter::start(&nats.url, &data, &flags).await;
    king.commits(placed().into_iter().chain([crashed()])).await;
    let first = smtp.mail().await;
    alerter.says("records a mail").await;
    alerter.kill().await;
    assert_eq!(kinds(&king.alerts(1).await), ["alert.planned"]);

    king.takes_records(true).await;
    let alerter = Alerter::start(&nats.url, &data, &flags).await;
    let second = smtp.mail().await;
    assert_eq!(first, second, "to the byte");
    assert_eq!(kinds(&king.alerts(2).await), ["alert.planned", "alert.sent"]);
    alerter.kill().await;

    let _alerter = Alerter::start(&nats.url, &data, &flags).await;
    king.commits([lost()]).await;
    let next = smtp.mail().await;
    assert_eq!(
        header(&next, "Subject"),
        "[King] FIRING servant local is lost",
        "nothing was sent a third time"
    );
}

#[tokio::test]
async fn what_happened_while_no_alerter_ran_is_mailed_unless_it_is_long_over() {
    let (nats, data) = (Nats::start(), tempfile::tempdir().expect("a folder"));
    let king = King::start(&nats.provisioned().await).await;
    let mut smtp = Smtp::start(&[]).await;
    let long_ago = placed().into_iter().chain([crashed(), healthy(), lost()]);
    king.commits_at(long_ago, Timestamp(1_000_000)).await;
    let _alerter = Alerter::start(&nats.url, &data, &["--smtp", &smtp.url]).await;
    assert_eq!(header(&smtp.mail().await, "Subject"), "[King] FIRING servant local is lost");
    assert_eq!(kinds(&king.alerts(2).await), ["alert.planned", "alert.sent"]);
}

#[tokio::test]
async fn without_a_mail_server_mails_are_files() {
    let (nats, data) = (Nats::start(), tempfile::tempdir().expect("a folder"));
    let king = King::start(&nats.provisioned().await).await;
    let _alerter = Alerter::start(&nats.url, &data, &[]).await;
    king.commits(placed().into_iter().chain([crashed()])).await;
    let alerts = king.alerts(2).await;
    let AlertEvent::Sent(sent) = &alerts[1] else { panic!("written: {alerts:?}") };
    assert!(sent.via.ends_with(&format!("-{}.eml", sent.mail)), "{}", sent.via);
    let mail = std::fs::read_to_string(&sent.via).expect("the file is there").replace("\r\n", "\n");
    assert_eq!(header(&mail, "Subject"), "[King] FIRING hello/web crashed on local");
    let folder = data.path().join("alerter/mail");
    assert_eq!(
        std::fs::read_dir(folder).expect("the folder is there").count(),
        1,
        "no half-written file is left"
    );
}
