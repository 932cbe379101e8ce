//! The past is found, followed and rebuilt as it was.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use audit::history::History;
use audit::{Index, chain, find, travel};
use events::query::{ChainItem, ChainLink, EventQuestion, Moment};
use events::{Event, Timestamp};
use realm::State;

fn index(world: &support::World) -> Index {
    let mut index = Index::default();
    world.events().iter().for_each(|event| index.note(event));
    index
}

fn numbers(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.id).collect()
}

#[test]
fn the_state_of_any_moment_is_the_fold_up_to_it() {
    let (world, mut state) = (support::lively(), State::default());
    let backup = world.backup();
    assert_eq!(travel::state_at(&backup, Moment::Event(0)).unwrap(), state);
    for event in world.events() {
        realm::apply(&mut state, &event);
        let then = travel::state_at(&backup, Moment::Event(event.id)).unwrap();
        assert_eq!(then, state, "after event {}", event.id);
    }
    assert_eq!(travel::state_at(&backup, Moment::Event(state.last)).unwrap().hash(), world.state.hash());
    assert!(travel::state_at(&backup, Moment::Event(state.last + 1)).is_err());
}

#[test]
fn the_state_at_a_time_holds_all_events_up_to_it_and_no_later_one() {
    let world = support::lively();
    let backup = world.backup();
    for at in [0, support::BEGIN_MS, support::BEGIN_MS + 7_000, support::BEGIN_MS + 20_500, u64::MAX] {
        let state = travel::state_at(&backup, Moment::Time(Timestamp(at))).unwrap();
        let wanted =
            world.events().iter().take_while(|event| event.at.0 <= at).last().map_or(0, |event| event.id);
        assert_eq!(state.last, wanted, "at {at}");
    }
}

#[test]
fn places_are_found_by_event_and_by_time() {
    let world = support::lively();
    let backup = world.backup();
    for stored in &world.commits {
        let commit = stored.read().unwrap();
        assert_eq!(stored.first(), Some(commit.first));
        assert_eq!(backup.sequence_of_event(commit.first).unwrap(), stored.sequence);
        assert_eq!(backup.sequence_of_event(commit.last()).unwrap(), stored.sequence);
        let at = commit.events.last().unwrap().at;
        assert_eq!(backup.sequence_of_time(at).unwrap(), stored.sequence);
        assert_eq!(backup.sequence_of_time(Timestamp(at.0 - 1)).unwrap(), stored.sequence - 1);
    }
}

#[test]
fn any_filter_finds_what_a_look_at_every_event_finds() {
    let world = support::lively();
    let (backup, index, events) = (world.backup(), index(&world), world.events());
    let page = |question: &EventQuestion| numbers(&find::page(&backup, &index, question).unwrap().0);
    let question = |json: serde_json::Value| serde_json::from_value::<EventQuestion>(json).unwrap();
    let of = |wanted: &dyn Fn(&Event) -> bool| {
        numbers(&events.iter().filter(|event| wanted(event)).cloned().collect::<Vec<_>>())
    };
    assert_eq!(page(&EventQuestion::default()), of(&|_| true));
    assert_eq!(page(&question(serde_json::json!({"noun": "app"}))), of(&|event| event.fact.noun() == "app"));
    assert_eq!(
        page(&question(serde_json::json!({"actor": "bob"}))),
        of(&|event| event.actor.as_str() == "nats:bob")
    );
    assert_eq!(page(&question(serde_json::json!({"actor": "nats:bob"}))).len(), 2);
    assert!(page(&question(serde_json::json!({"actor": "nobody"}))).is_empty());
    let (from, to) = (Timestamp(support::BEGIN_MS + 5_000), Timestamp(support::BEGIN_MS + 9_000));
    let range = EventQuestion {
        since: Some(Moment::Time(from)),
        until: Some(Moment::Time(to)),
        ..EventQuestion::default()
    };
    assert_eq!(page(&range), of(&|event| (from..=to).contains(&event.at)));
    let both = question(serde_json::json!({"app": "shop", "servant": "s11", "noun": "instance"}));
    let found = page(&both);
    assert!(
        !found.is_empty()
            && found.iter().all(|number| events[*number as usize - 1].fact.noun() == "instance")
    );
}

#[test]
fn pages_are_the_list_without_a_gap() {
    let world = support::lively();
    let (backup, index) = (world.backup(), index(&world));
    let mut question = EventQuestion { limit: Some(7), ..EventQuestion::default() };
    let mut all = Vec::new();
    loop {
        let (mut events, next) = find::page(&backup, &index, &question).unwrap();
        events.append(&mut all);
        all = events;
        question.after = next;
        if question.after.is_none() {
            break;
        }
    }
    assert_eq!(numbers(&all), (1..=world.state.last).collect::<Vec<_>>());
}

fn kinds(links: &[ChainLink]) -> Vec<&'static str> {
    links.iter().map(|link| link.event.fact.kind()).collect()
}

fn chain_of(world: &support::World, wanted: impl Fn(&Event) -> bool) -> ChainItem {
    let number = world.events().iter().find(|event| wanted(event)).unwrap().id;
    chain::of(&world.backup(), &index(world), number).unwrap()
}

#[test]
fn a_sent_mail_is_traced_back_to_the_command_of_somebody() {
    let world = support::lively();
    let chain = chain_of(&world, |event| event.fact.kind() == "alert.sent");
    assert_eq!(
        kinds(&chain.causes),
        ["alert.planned", "instance.crashed", "instance.placed", "command.accepted"]
    );
    assert_eq!(chain.causes.last().unwrap().event.actor.as_str(), "kingctl:ada");
}

#[test]
fn a_deploy_leads_to_its_instances_their_crashes_and_the_mails() {
    let world = support::lively();
    let chain =
        chain_of(&world, |event| serde_json::to_value(event).unwrap()["data"]["command"] == "app.deploy");
    assert!(chain.causes.is_empty() && !chain.cut);
    let placed = chain.consequences.iter().filter(|link| link.event.fact.kind() == "instance.placed");
    assert_eq!(placed.clone().count(), 3);
    assert!(kinds(&chain.consequences).contains(&"release.created"));
    let crashed =
        placed.flat_map(|link| &link.led_to).find(|link| link.event.fact.kind() == "instance.crashed");
    let crashed = crashed.unwrap();
    assert_eq!(kinds(&crashed.led_to), ["alert.planned"]);
    assert_eq!(kinds(&crashed.led_to[0].led_to), ["alert.sent"]);
}

#[test]
fn a_stopped_instance_is_traced_to_what_replaced_it() {
    let world = support::lively();
    let chain = chain_of(&world, |event| event.fact.kind() == "instance.stopped");
    assert_eq!(chain.causes[0].event.fact.kind(), "instance.retired");
    let last = chain.causes.last().unwrap();
    assert_eq!(last.event.fact.kind(), "command.accepted", "{:?}", kinds(&chain.causes));
}

#[test]
fn a_lost_servant_leads_to_successors_elsewhere() {
    let world = support::lively();
    let chain = chain_of(&world, |event| event.fact.kind() == "servant.lost");
    assert!(kinds(&chain.consequences).contains(&"instance.placed"), "{:?}", kinds(&chain.consequences));
    assert!(chain::of(&world.backup(), &index(&world), world.state.last + 1).is_err());
}
