//! Whole mails as golden files, and what tries to break out of them.

use super::Sender;
use crate::courier::Letter;
use events::Timestamp;
use events::command::alert::MailPhase;
use uuid::Uuid;

fn sender() -> Sender {
    Sender { from: "King <king@example.org>".parse().expect("an address"), kingdom: "prod".to_owned() }
}

fn letter(subject: &str, body: &str) -> Letter {
    Letter {
        mail: Uuid::from_u128(0xa1),
        incident: "crash/0192d3a4-0000-7000-8000-000000000001".to_owned(),
        phase: MailPhase::Firing,
        event: Some(42),
        at: Timestamp(1_795_168_805_123),
        subject: subject.to_owned(),
        body: body.to_owned(),
        reply_to: None,
    }
}

fn eml(letter: &Letter) -> String {
    let to = ["Ops <ops@example.org>".parse().expect("an address")];
    let mail = sender().compose(letter, &to).expect("composed");
    String::from_utf8(mail.formatted()).expect("a mail is ASCII")
}

/// Line endings as they are on the wire, made visible where they are not CR LF.
fn golden(eml: &str) -> String {
    assert!(!eml.replace("\r\n", "").contains(['\r', '\n', '\0']), "every line ends in CR LF");
    eml.replace("\r\n", "\n")
}

const BODY: &str = "The process of hello/web on servant local ended without being told to: signal 9.\n\n  \
                    App:            hello\n  Event:          42\n\nWhat to do next:\n\n    kingctl logs hello\n    \
                    kingctl event tail\n\nDone <b>&amp; well.\n";

#[test]
fn firing() {
    insta::assert_snapshot!(golden(&eml(&letter("[King prod] FIRING hello/web crashed on local", BODY))));
}

#[test]
fn resolved() {
    let mut letter = letter("[King prod] RESOLVED hello/web crashed on local", "Resolved.\n");
    letter.phase = MailPhase::Resolved;
    letter.reply_to = Some(Uuid::from_u128(0xa0));
    insta::assert_snapshot!(golden(&eml(&letter)));
}

#[test]
fn nothing_breaks_out_of_a_header() {
    let mut hostile = letter(
        "one\r\nBcc: everybody@example.org\r\n\r\ntwo\0three\u{85}\u{2028}four 🦀",
        "before\r\n.\r\nRSET\r\n\0after\rbare\n",
    );
    hostile.incident = "crash/\r\nX-Evil: yes".to_owned();
    insta::assert_snapshot!(golden(&eml(&hostile)));
}

#[test]
fn a_long_subject_is_cut_and_folded() {
    let eml = eml(&letter(&"long ".repeat(2000), "body\n"));
    let head = eml.split("\r\n\r\n").next().expect("a head");
    assert!(head.lines().all(|line| line.len() <= 998), "RFC 5322, 2.1.1");
    assert!(head.len() < 2000, "{head}");
}

#[test]
fn the_same_letter_gives_the_same_bytes() {
    let letter = letter("subject ü", BODY);
    assert_eq!(eml(&letter), eml(&letter));
}
