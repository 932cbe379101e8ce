//! The Foreman's own reports. They say what is so now, so only their numbers outlive this process: what was not
//! answered is taken back, and told anew under a new number if it is still true.

use crate::relay::Ticket;
use bus::outbox::{Outbox, OutboxError};
use events::report::{News, ServantNews};
use events::wire::encode;
use events::{Actor, DomainName, Report, ReportId, ServantId, Verdict};
use service::clock::now;
use uuid::Uuid;

/// Why news could not be numbered, and about whom they were.
#[derive(Debug, thiserror::Error)]
#[error("own reports cannot be numbered")]
pub(super) struct OwnError {
    pub servants: Vec<ServantId>,
    pub source: OutboxError,
}

pub(super) struct Own {
    sender: Uuid,
    domain: DomainName,
    actor: Actor,
    outbox: Outbox,
    /// To be told next; one per servant, the newest.
    news: Vec<ServantNews>,
    told: Option<Told>,
}

/// The request that is on its way.
struct Told {
    ticket: Ticket,
    last: u64,
    servants: Vec<ServantId>,
}

impl Own {
    pub(super) fn new(sender: Uuid, domain: DomainName, outbox: Outbox) -> Result<Self, OutboxError> {
        let actor = format!("foreman:{domain}").parse().expect("a domain's name is printable and short");
        let own = Self { sender, domain, actor, outbox, news: Vec::new(), told: None };
        own.forget_earlier_life()?;
        Ok(own)
    }

    /// Waits until the disk fails.
    pub(super) fn failing(&self) -> impl Future<Output = OutboxError> + use<> {
        let outbox = self.outbox.clone();
        async move { outbox.fails().await }
    }

    fn forget_earlier_life(&self) -> Result<(), OutboxError> {
        match self.outbox.pending(usize::MAX)?.last() {
            Some((last, _)) => self.outbox.ack_up_to(*last),
            None => Ok(()),
        }
    }

    /// To be told; it takes the place of what was to be told of the same servant.
    pub(super) fn say(&mut self, news: ServantNews) {
        let servant = about(&news);
        self.news.retain(|other| about(other) != servant);
        self.news.push(news);
    }

    /// The next request, when none is on its way and there is something to tell.
    pub(super) async fn next(&mut self, ticket: Ticket) -> Result<Option<Vec<Report>>, OwnError> {
        if self.told.is_some() || self.news.is_empty() {
            return Ok(None);
        }
        let news = std::mem::take(&mut self.news);
        let servants: Vec<_> = news.iter().map(about).collect();
        match self.number(news).await {
            Ok((reports, last)) => {
                self.told = Some(Told { ticket, last, servants });
                Ok(Some(reports))
            }
            Err(source) => Err(OwnError { servants, source }),
        }
    }

    async fn number(&self, news: Vec<ServantNews>) -> Result<(Vec<Report>, u64), OutboxError> {
        let (mut reports, mut last) = (Vec::with_capacity(news.len()), 0);
        for news in news {
            let mut report = self.report(news);
            last = self.outbox.push(encode(&report))?;
            report.id.number = last;
            reports.push(report);
        }
        self.outbox.barrier().await?;
        Ok((reports, last))
    }

    fn report(&self, news: ServantNews) -> Report {
        let id = ReportId { sender: self.sender, epoch: self.outbox.epoch(), number: 0 };
        Report {
            id,
            at: now(),
            actor: self.actor.clone(),
            domain: self.domain.clone(),
            news: News::Servant(news),
        }
    }

    /// The King's verdicts on the request.
    pub(super) fn answered(&mut self, ticket: Ticket, verdicts: &[Verdict]) {
        for verdict in verdicts {
            if let Verdict::Refused(refusal) = verdict {
                tracing::warn!(%refusal, "the King refuses a report of this Foreman");
            }
        }
        self.taken_back(ticket);
    }

    /// The request is over; whom it was about.
    pub(super) fn taken_back(&mut self, ticket: Ticket) -> Vec<ServantId> {
        let Some(told) = self.told.take_if(|told| told.ticket == ticket) else { return Vec::new() };
        if let Err(error) = self.outbox.ack_up_to(told.last) {
            tracing::warn!(%error, "the outbox keeps what was answered; it is forgotten at the next start");
        }
        told.servants
    }
}

fn about(news: &ServantNews) -> ServantId {
    match news {
        ServantNews::Register(register) => register.servant,
        ServantNews::Lose(lose) => lose.servant,
        ServantNews::Return(back) => back.servant,
        ServantNews::MeasureDisk(news) => news.servant,
        ServantNews::CleanDisk(news) => news.servant,
    }
}
