//! A world for stories: names for the ids that the law makes, and inputs written as text.

use events::event::{Fact, InstanceEvent};
use events::plan::PlanToken;
use events::report::{News, PortRange, RegisterServant};
use events::{
    Actor, Command, DomainName, Event, InstanceId, Kinded, KingId, Order, Report, ReportId, ServantId,
    Timestamp, label,
};
use realm::{Context, Input, Response, State, plan, project, query, step};
use serde_json::Value;
use std::collections::BTreeMap;
use uuid::Uuid;

#[derive(Default)]
pub struct World {
    state: State,
    clock: u64,
    servants: BTreeMap<String, ServantId>,
    instances: Vec<InstanceId>,
    reported: BTreeMap<Uuid, u64>,
    /// The token of the plan made last.
    planned: Option<PlanToken>,
}

impl World {
    /// One line of a story; what came of it, a line each.
    pub fn input(&mut self, line: &str) -> Vec<String> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "command" => self.command(rest, None),
            "plan" => self.plan(rest),
            "keep" => self.command(rest, self.planned.clone()),
            "servant" => self.servant(rest),
            "report" => self.report(rest),
            "again" => self.repeat(rest),
            "tick" => self.take(&Input::Tick),
            "elect" => self.take(&Input::Election(KingId(Uuid::from_u128(99)).into())),
            "assignment" => self.assignment(rest),
            "runs" => self.runs(rest),
            "query" => self.query(rest),
            other => panic!("a story cannot say {other:?}"),
        }
    }

    fn take(&mut self, input: &Input) -> Vec<String> {
        self.clock += 1;
        let context = Context { at: Timestamp(self.clock * 1000), entropy: u128::from(self.clock) };
        let decision = step(&mut self.state, input, &context);
        for event in &decision.events {
            if let Fact::Instance(InstanceEvent::Placed(placed)) = &event.fact {
                self.instances.push(placed.instance);
            }
        }
        let mut lines: Vec<String> = decision.events.iter().map(|event| self.tell(event)).collect();
        match decision.response {
            Response::Repeated(outcome) => lines.push(self.named(&format!("repeated: {}", json(&outcome)))),
            Response::Report(verdict) => lines.push(self.named(&format!("verdict: {}", json(&verdict)))),
            Response::Decided(_) | Response::None => {}
        }
        lines
    }

    fn tell(&self, event: &Event) -> String {
        let mut data = Vec::new();
        event.fact.serialize_data(&mut serde_json::Serializer::new(&mut data)).unwrap();
        self.named(&format!("{} {} {}", event.id, event.fact.kind(), String::from_utf8(data).unwrap()))
    }

    /// Ids replaced by the names that the story uses.
    fn named(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (number, id) in self.instances.iter().enumerate() {
            text = text.replace(&id.to_string(), &format!("i{}", number + 1));
        }
        for (name, id) in &self.servants {
            text = text.replace(&id.to_string(), &format!("@{name}"));
        }
        text
    }

    /// Names replaced by the ids that the law knows.
    fn meant(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (number, id) in self.instances.iter().enumerate().rev() {
            text = text.replace(&format!("\"i{}\"", number + 1), &format!("\"{id}\""));
        }
        for (name, id) in &self.servants {
            text = text.replace(&format!("@{name}"), &id.to_string());
        }
        text
    }

    /// `command ID KIND JSON`; `keep ID KIND JSON` sends the token of the last plan along.
    fn command(&mut self, rest: &str, plan: Option<PlanToken>) -> Vec<String> {
        let mut words = rest.splitn(3, ' ');
        let (id, kind, data) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or("{}"));
        let order = self.order(kind, data);
        self.take(&Input::Command(Command {
            id: id.parse().unwrap(),
            actor: Actor::anonymous(),
            order,
            plan,
        }))
    }

    fn order(&self, kind: &str, data: &str) -> Order {
        let data = self.meant(data);
        Order::deserialize_data(kind, 1, &mut serde_json::Deserializer::from_str(&data)).unwrap()
    }

    /// `plan KIND JSON`: the events and differences of it, a line each; the state stays as it is.
    fn plan(&mut self, rest: &str) -> Vec<String> {
        let (kind, data) = rest.split_once(' ').unwrap();
        let order = self.order(kind, data);
        let command = Command { id: "plan".parse().unwrap(), actor: Actor::anonymous(), order, plan: None };
        let before = self.state.clone();
        let context = Context { at: Timestamp((self.clock + 1) * 1000), entropy: 77 };
        let item = plan::plan(&mut self.state, &command, &context);
        assert_eq!(self.state, before, "a plan changes nothing");
        self.planned = item.token;
        let refusal = item.refusal.iter().map(|refusal| format!("would be refused: {refusal}"));
        let events = item.events.iter().map(|event| format!("would be {} {}", event.kind, event.data));
        let differences =
            item.differences.iter().map(|difference| format!("would differ: {}", json(difference)));
        refusal.chain(events).chain(differences).map(|line| self.named(&line)).collect()
    }

    /// `servant NAME PORTS TOOL=VERSION… label:NAME=VALUE…`: registers it.
    fn servant(&mut self, rest: &str) -> Vec<String> {
        let mut words = rest.split(' ');
        let (name, ports) = (words.next().unwrap().to_owned(), words.next().unwrap());
        let (first, last) = ports.split_once('-').unwrap();
        let next = ServantId(Uuid::from_u128(1000 + self.servants.len() as u128));
        let id = *self.servants.entry(name.clone()).or_insert(next);
        let (labels, tools): (Vec<&str>, Vec<&str>) = words.partition(|word| word.starts_with("label:"));
        let tools = tools.into_iter().map(|tool| tool.split_once('=').unwrap());
        let labels = labels.iter().map(|label| label::parse_label(&label["label:".len()..]).unwrap());
        let facts = RegisterServant {
            servant: id,
            name: name.parse().unwrap(),
            capabilities: tools.map(|(tool, version)| (tool.to_owned(), version.to_owned())).collect(),
            ports: PortRange { first: first.parse().unwrap(), last: last.parse().unwrap() },
            cpus: 2,
            memory_bytes: 1 << 30,
            boot: "boot-1".to_owned(),
            labels: labels.collect(),
        };
        let news = News::Servant(facts.into());
        let number = self.next_number(id.0);
        self.hear(id.0, number, news)
    }

    /// `report SENDER KIND JSON`
    fn report(&mut self, rest: &str) -> Vec<String> {
        let mut words = rest.splitn(3, ' ');
        let (sender, kind, data) =
            (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or("{}"));
        let sender = self.sender(sender);
        let number = self.next_number(sender);
        let news = self.news(kind, data);
        self.hear(sender, number, news)
    }

    /// `again SENDER KIND JSON`: the same number as the last report of that sender.
    fn repeat(&mut self, rest: &str) -> Vec<String> {
        let mut words = rest.splitn(3, ' ');
        let (sender, kind, data) =
            (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or("{}"));
        let sender = self.sender(sender);
        let news = self.news(kind, data);
        self.hear(sender, self.reported[&sender], news)
    }

    fn sender(&self, name: &str) -> Uuid {
        if name == "foreman" { Uuid::from_u128(500) } else { self.servants[name].0 }
    }

    fn news(&self, kind: &str, data: &str) -> News {
        News::deserialize_data(kind, 1, &mut serde_json::Deserializer::from_str(&self.meant(data))).unwrap()
    }

    fn next_number(&mut self, sender: Uuid) -> u64 {
        let number = self.reported.entry(sender).or_insert(0);
        *number += 1;
        *number
    }

    fn hear(&mut self, sender: Uuid, number: u64, news: News) -> Vec<String> {
        self.take(&Input::Report(Report {
            id: ReportId { sender, epoch: 1, number },
            at: Timestamp(self.clock),
            actor: "servant:x".parse().unwrap(),
            domain: DomainName::default_domain(),
            news,
        }))
    }

    fn assignment(&self, name: &str) -> Vec<String> {
        let assignment = project::assignment(&self.state, self.servants[name]);
        let run = assignment.instances.iter().map(|instance| {
            let ports: Vec<String> = instance.ports.values().map(ToString::to_string).collect();
            let release = assignment
                .releases
                .iter()
                .find(|release| (&release.app, release.release) == (&instance.app, instance.release));
            let container = release.and_then(|it| it.processes.get(&instance.process)?.container.as_ref());
            let image =
                container.map_or(String::new(), |container| format!(" image {}", json(&container.image)));
            let restarts = match instance.restarts {
                0 => String::new(),
                count => format!(" restarts {count}"),
            };
            format!(
                "run {} {}/{} release {} ports {}{image}{restarts}",
                instance.instance,
                instance.app,
                instance.process,
                instance.release,
                ports.join(",")
            )
        });
        let stop = assignment.stopping.iter().map(|id| format!("stop {id}"));
        run.chain(stop).map(|line| self.named(&line)).collect()
    }

    /// `runs NAME`: what its view of runs holds.
    fn runs(&self, name: &str) -> Vec<String> {
        let view = project::execs(&self.state, self.servants[name]);
        view.runs.iter().map(|run| self.named(&json(run))).collect()
    }

    fn query(&self, rest: &str) -> Vec<String> {
        let (kind, question) = rest.split_once(' ').unwrap_or((rest, "{}"));
        let question = serde_json::from_str(&self.meant(question)).unwrap();
        match query::answer(&self.state, kind, &question) {
            Err(refusal) => vec![format!("refused: {refusal}")],
            Ok((items, _)) => match serde_json::to_value(items).unwrap() {
                Value::Array(items) => items.iter().map(|item| self.named(&item.to_string())).collect(),
                other => vec![other.to_string()],
            },
        }
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap()
}
