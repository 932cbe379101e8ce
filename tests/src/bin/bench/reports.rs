//! A servant that only talks: it reports what instances go through as fast as it is heard. It belongs to a domain of its
//! own, whose Foreman it speaks for, so nobody counts it as lost.

use anyhow::{Context, ensure};
use bytes::Bytes;
use events::answer::ReportAnswer;
use events::limits::REPORTS_PER_BATCH;
use events::report::{InstanceNews, PortRange, Ready, RegisterServant, Started, Unhealthy};
use events::subject::report;
use events::{DomainName, InstanceId, News, Report, ReportId, ServantId, Timestamp, Verdict, wire};
use kingdom_tests::client::Client;
use uuid::Uuid;

const DOMAIN: &str = "bench";
const NAME: &str = "talker";
const SERVANT: ServantId = ServantId(Uuid::from_u128(0x6265_6e63_6800_7000_8000_0000_0000_0001));
/// 2026-01-01: the King stamps events by its own clock.
const SEEN_AT: Timestamp = Timestamp(1_767_225_600_000);

/// The servant.
pub struct Talker {
    client: Client,
    domain: DomainName,
    /// The number of its last report.
    number: u64,
}

impl Talker {
    /// Registers it.
    ///
    /// # Errors
    /// When the King does not take it.
    pub async fn join(client: Client) -> anyhow::Result<Self> {
        let mut talker = Self { client, domain: DOMAIN.parse()?, number: 0 };
        let facts = RegisterServant {
            servant: SERVANT,
            name: NAME.parse()?,
            capabilities: [].into(),
            ports: PortRange::DEFAULT,
            cpus: 1,
            memory_bytes: 1 << 30,
            boot: "bench".into(),
            labels: events::Labels::new(),
        };
        let register = wire::encode(&vec![talker.report(News::Servant(facts.into()))]);
        talker.send(register.into()).await?;
        Ok(talker)
    }

    fn report(&mut self, news: News) -> Report {
        self.number += 1;
        Report {
            id: ReportId { sender: SERVANT.0, epoch: 1, number: self.number },
            at: SEEN_AT,
            actor: format!("servant:{NAME}").parse().expect("a printable actor"),
            domain: self.domain.clone(),
            news,
        }
    }

    /// A full batch: instances in turn are started, become healthy, and become unhealthy. Each report is one event.
    pub fn batch(&mut self, instances: &[InstanceId]) -> Bytes {
        let reports: Vec<Report> = (0..REPORTS_PER_BATCH)
            .map(|index| {
                let instance = instances[index / 3 % instances.len()];
                self.report(News::Instance(news(index % 3, instance)))
            })
            .collect();
        wire::encode(&reports).into()
    }

    /// Sends a batch, and waits until all that it says is stored.
    ///
    /// # Errors
    /// When the King does not answer, or takes a report for none.
    pub async fn send(&self, batch: Bytes) -> anyhow::Result<()> {
        let answer = self.client.nats.request(report(&self.domain), batch).await?;
        let ReportAnswer { verdicts } = wire::decode(&answer.payload).context("an answer to reports")?;
        let odd = verdicts.iter().find(|verdict| !matches!(verdict, Verdict::Committed));
        ensure!(!verdicts.is_empty() && odd.is_none(), "a report was not committed: {odd:?}");
        Ok(())
    }
}

fn news(step: usize, instance: InstanceId) -> InstanceNews {
    match step {
        0 => Started { instance, pid: 4242, slot: None }.into(),
        1 => Ready { instance }.into(),
        _ => Unhealthy { instance, reason: "GET / answered 500".into(), slot: None }.into(),
    }
}
