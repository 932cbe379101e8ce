//! After an election nobody is declared lost before whoever lives could have said so.

use events::event::ServantEvent;
use events::limits::ELECTION_GRACE_MS;
use events::report::{LoseServant, RegisterServant, ServantNews};
use events::{DomainName, Fact, KingId, News, Report, ReportId, ServantId, Timestamp, Verdict};
use realm::{Context, Input, Response, State, step};
use uuid::Uuid;

const ELECTED_AT: u64 = 100_000;

fn report(sender: Uuid, number: u64, news: ServantNews) -> Input {
    let id = ReportId { sender, epoch: 1, number };
    let (domain, actor) = (DomainName::default_domain(), "test".parse().expect("an actor"));
    Input::Report(Report { id, domain, actor, at: Timestamp(0), news: News::Servant(news) })
}

fn hear(state: &mut State, at: u64, input: &Input) -> (Response, bool) {
    let decision = step(state, input, &Context { at: Timestamp(at), entropy: 1 });
    let lost = decision.events.iter().any(|event| matches!(event.fact, Fact::Servant(ServantEvent::Lost(_))));
    (decision.response, lost)
}

#[test]
fn a_servant_is_lost_only_after_the_grace() {
    let (servant, foreman) = (ServantId(Uuid::from_u128(7)), Uuid::from_u128(8));
    let mut state = State::default();
    let facts: RegisterServant = serde_json::from_value(serde_json::json!({
        "servant": servant, "name": "a", "capabilities": {}, "ports": { "first": 20000, "last": 20009 },
        "cpus": 1, "memory_bytes": 1, "boot": "boot",
    }))
    .expect("a registration");
    hear(&mut state, 1, &report(servant.0, 1, facts.into()));
    hear(&mut state, ELECTED_AT, &Input::Election(KingId(Uuid::from_u128(9)).into()));
    let lose = |number| report(foreman, number, LoseServant { servant, silent_ms: 3000 }.into());
    let early = hear(&mut state, ELECTED_AT + ELECTION_GRACE_MS - 1, &lose(1));
    assert_eq!(early, (Response::Report(Verdict::Redundant), false));
    let late = hear(&mut state, ELECTED_AT + ELECTION_GRACE_MS, &lose(2));
    assert_eq!(late, (Response::Report(Verdict::Committed), true));
}
