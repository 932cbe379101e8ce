//! Stories: text files of inputs, each with the actions that must follow. A line that starts with a number is an input at
//! that moment, in milliseconds; the indented lines after it are the actions. `tick` runs the clock to that moment. `1/2`
//! is slot 2 of instance 1, `workers 2 4` gives those that are assigned from then on so many workers, and `restarts 1`
//! orders a restart of them with the next assignment.

use super::input::{Action, Adopted, Input, Moment, Reported, StartTrouble};
use super::laws::{exit, spec};
use super::{Reconciler, Settings};
use crate::holder::words::{Exit, Told};
use crate::spec::Spec;
use events::Slot;
use events::manifest::{HealthCheck, Restart, Workers};
use events::report::{InstanceNews, Stage};
use std::collections::BTreeMap;
use std::fmt::Write;

struct Teller {
    reconciler: Reconciler,
    restart: Restart,
    workers: Option<Workers>,
    restarts: u32,
}

impl Teller {
    fn spec(&self, number: &str, port: u16) -> Spec {
        let mut spec = spec(number.parse().unwrap(), port, self.restart);
        let failures = 2;
        spec.how.health =
            Some(HealthCheck { failures, interval_ms: 1000, grace_ms: 5000, ..HealthCheck::default() });
        spec.how.workers.clone_from(&self.workers);
        spec.restarts = self.restarts;
        spec
    }

    fn known(&self, number: &str, adopted: Adopted) -> Input {
        let spec = Box::new(self.spec(number, 20000));
        let adopted = BTreeMap::from([(0, adopted)]);
        Input::Known { spec, missed: Vec::new(), adopted, looping: false, workers: 0 }
    }

    fn tell(&mut self, line: &str, out: &mut String) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let now: Moment = words[0].parse().unwrap();
        let id = |word: &str| self.spec(word, 0).instance;
        let at = |word: &str| {
            let (number, slot) = word.split_once('/').unwrap_or((word, "0"));
            (id(number), slot.parse::<Slot>().unwrap())
        };
        let input = match words[1..] {
            ["restart", policy] => {
                self.restart = serde_json::from_value(policy.into()).unwrap();
                return;
            }
            ["workers", min, max] => {
                let (min, max) = (Some(min.parse().unwrap()), Some(max.parse().unwrap()));
                self.workers = Some(Workers { min, max, ..Workers::AUTO });
                return;
            }
            ["restarts", count] => {
                self.restarts = count.parse().unwrap();
                return;
            }
            ["load", number, percent] => {
                let mean_permille = percent.parse::<u32>().unwrap() * 10;
                Input::Load { instance: id(number), mean_permille }
            }
            ["tick"] => {
                while let Some(due) = self.reconciler.deadline().filter(|due| *due <= now) {
                    self.act(due, Input::Tick, &format!("  at {due}: "), out);
                }
                return;
            }
            ["assign", ref list @ ..] => {
                let specs = list.iter().map(|word| {
                    let (number, port) = word.split_once(':').unwrap_or((word, "20000"));
                    self.spec(number, port.parse().unwrap())
                });
                Input::Assigned { specs: specs.collect(), broken: Vec::new() }
            }
            ["known", number, "running", pid] => {
                let (pid, is_reported, restarts) = (pid.parse().unwrap(), Reported::Yes, 0);
                let adopted = Adopted::Running { pid, is_reported, restarts };
                self.known(number, adopted)
            }
            ["known", number, "exited", pid] => {
                let exit = exit(pid.parse().unwrap(), Some(1), Told::Nothing);
                let adopted = Adopted::Exited { exit, is_reported: Reported::No };
                self.known(number, adopted)
            }
            ["ready", number] => Input::ReleaseReady(self.spec(number, 0).key),
            ["broken", number] => Input::ReleaseFailed {
                key: self.spec(number, 0).key,
                stage: Stage::Build,
                reason: "no".into(),
            },
            ["started", place, pid] => {
                let (instance, slot) = at(place);
                Input::Started { instance, slot, pid: pid.parse().unwrap() }
            }
            ["taken", place, port] => {
                let (instance, slot) = at(place);
                let trouble = StartTrouble::PortTaken(port.parse().unwrap());
                Input::StartFailed { instance, slot, trouble }
            }
            ["exited", place, pid, code] => {
                let (instance, slot) = at(place);
                let exit = exit(pid.parse().unwrap(), code.parse().ok(), Told::Nothing);
                Input::Exited { instance, exit: Exit { slot, ..exit } }
            }
            ["lost", place] => {
                let (instance, slot) = at(place);
                Input::StartFailed { instance, slot, trouble: StartTrouble::Passing("lost".into()) }
            }
            ["ended", place, pid] => {
                let (instance, slot) = at(place);
                let exit = exit(pid.parse().unwrap(), None, Told::Terminate);
                Input::Exited { instance, exit: Exit { slot, ..exit } }
            }
            ["passed", place, run] => {
                let (instance, slot) = at(place);
                Input::Passed { instance, slot, run: run.parse().unwrap() }
            }
            ["failed", place, run] => {
                let ((instance, slot), run) = (at(place), run.parse().unwrap());
                Input::CheckFailed { instance, slot, run, reason: "refused".into() }
            }
            ["gone", number] => Input::Gone(id(number)),
            ["end"] => Input::End,
            _ => panic!("no such input: {line}"),
        };
        self.act(now, input, "  ", out);
    }

    fn act(&mut self, now: Moment, input: Input, prefix: &str, out: &mut String) {
        for action in self.reconciler.step(now, input) {
            writeln!(out, "{prefix}{}", shown(&action)).unwrap();
        }
    }
}

fn shown(action: &Action) -> String {
    let short = |id: &events::InstanceId| id.0.as_u128().to_string();
    let place = |id: &events::InstanceId, slot: Option<Slot>| match slot {
        Some(slot) => format!("{}/{slot}", short(id)),
        None => short(id),
    };
    // Of an instance without workers the slot goes without saying.
    let in_slot = |id: &events::InstanceId, slot: Slot| place(id, (slot > 0).then_some(slot));
    match action {
        Action::Report(news) => {
            let about = match news {
                InstanceNews::Started(news) => {
                    format!("{} pid {}", place(&news.instance, news.slot), news.pid)
                }
                InstanceNews::Ready(news) => short(&news.instance),
                InstanceNews::Unhealthy(news) => {
                    format!("{} {}", place(&news.instance, news.slot), news.reason)
                }
                InstanceNews::Exited(news) => {
                    let restart = news.restart_in_ms.map_or("never".into(), |ms| format!("in {ms} ms"));
                    format!(
                        "{} pid {} code {:?}, again {restart}",
                        place(&news.instance, news.slot),
                        news.pid,
                        news.code
                    )
                }
                InstanceNews::Looping(news) => {
                    format!("{} {} crashes", place(&news.instance, news.slot), news.crashes)
                }
                InstanceNews::Steady(news) => short(&news.instance),
                InstanceNews::Failed(news) => {
                    format!("{} {:?} {}", short(&news.instance), news.stage, news.reason)
                }
                InstanceNews::PortTaken(news) => format!("{} {}", short(&news.instance), news.port),
                InstanceNews::ImageBuilt(news) => format!("{} {}", short(&news.instance), news.dockerfile),
                InstanceNews::Stopped(news) => short(&news.instance),
                InstanceNews::Emitted(news) => format!("{} {}", short(&news.instance), news.name),
                InstanceNews::Erred(news) => short(&news.instance),
                InstanceNews::Scaled(news) => {
                    format!("{} from {} to {}", short(&news.instance), news.from, news.to)
                }
            };
            format!("report {} {about}", news.kind())
        }
        Action::ReportExit { news, .. } => shown(&Action::Report(InstanceNews::Exited(news.clone()))),
        Action::Prepare(spec) => format!("prepare {}", spec.key),
        Action::Start { spec, slot } => {
            let ports = spec.ports.values().collect::<Vec<_>>();
            format!("start {} on {ports:?}", in_slot(&spec.instance, *slot))
        }
        Action::Signal { instance, slot, told } => format!("signal {} {told:?}", in_slot(instance, *slot)),
        Action::Check { instance, slot, run, target } => {
            format!("check {} run {run} port {}", in_slot(instance, *slot), target.port)
        }
        Action::Forget(instance) => format!("forget {}", short(instance)),
        Action::Dismiss(instance) => format!("dismiss {}", short(instance)),
    }
}

/// The story as it goes: its own inputs and comments, with the actions that follow.
fn retold(story: &str) -> String {
    let reconciler = Reconciler::new(Settings { steady_ms: 3000, ..Settings::default() });
    let mut teller = Teller { reconciler, restart: Restart::Always, workers: None, restarts: 0 };
    let mut out = String::new();
    for line in story.lines().filter(|line| !line.starts_with(' ')) {
        writeln!(out, "{line}").unwrap();
        if line.starts_with(|c: char| c.is_ascii_digit()) {
            teller.tell(line, &mut out);
        }
    }
    out
}

#[test]
fn every_story_goes_as_it_is_told() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/stories");
    let mut told = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let story = std::fs::read_to_string(&path).unwrap();
        let now = retold(&story);
        assert!(story == now, "{} goes otherwise now:\n{now}", path.display());
        told += 1;
    }
    assert!(told > 0);
}
