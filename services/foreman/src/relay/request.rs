//! One request of a sender: the verdicts it has so far, and what its sender may say.

use events::report::{News, ServantNews};
use events::{DomainName, Refusal, RefusalCode, Report, ServantName, Verdict};

/// The number of a request, given by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Who sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A servant, by the name in its subject.
    Servant(ServantName),
    /// This Foreman itself.
    Foreman,
}

impl Sender {
    /// Why this sender may not send this report, if so.
    pub(super) fn refuses(&self, report: &Report, domain: &DomainName) -> Option<Refusal> {
        if report.domain != *domain {
            let rule = format!("is {}, but this is the Foreman of {domain}", report.domain);
            return Some(refusal("domain", rule, "send it to the Foreman of its own domain".to_owned()));
        }
        match self {
            Self::Foreman => None,
            Self::Servant(name) => refused_servant(name, report),
        }
    }
}

fn refused_servant(name: &ServantName, report: &Report) -> Option<Refusal> {
    let actor = format!("servant:{name}");
    if report.actor.as_str() != actor {
        let rule = format!("is {}, but the subject is that of servant {name}", report.actor);
        return Some(refusal("actor", rule, format!("a servant reports as itself: {actor}")));
    }
    match &report.news {
        News::Servant(ServantNews::Lose(_) | ServantNews::Return(_)) => {
            let rule = format!("{} is for a Foreman to say", report.news.kind());
            Some(refusal("kind", rule, "leave it to the Foreman, who hears the beats".to_owned()))
        }
        News::Servant(ServantNews::Register(_) | ServantNews::MeasureDisk(_) | ServantNews::CleanDisk(_))
        | News::Instance(_)
        | News::Exec(_) => None,
    }
}

fn refusal(field: &str, rule: String, fix: String) -> Refusal {
    Refusal { code: RefusalCode::Invalid, field: field.to_owned(), rule, fix }
}

/// A request that waits for its verdicts.
#[derive(Debug)]
pub(super) struct Request {
    verdicts: Vec<Option<Verdict>>,
    missing: usize,
    received_at: u64,
}

impl Request {
    pub(super) fn new(reports: usize, now: u64) -> Self {
        Self { verdicts: vec![None; reports], missing: reports, received_at: now }
    }

    pub(super) fn age(&self, now: u64) -> u64 {
        now.saturating_sub(self.received_at)
    }

    pub(super) fn fill(&mut self, slot: usize, verdict: Verdict) {
        let place = &mut self.verdicts[slot];
        assert!(place.is_none(), "each report is carried once");
        *place = Some(verdict);
        self.missing -= 1;
    }

    pub(super) fn is_complete(&self) -> bool {
        self.missing == 0
    }

    pub(super) fn into_verdicts(self) -> Vec<Verdict> {
        self.verdicts.into_iter().flatten().collect()
    }
}
