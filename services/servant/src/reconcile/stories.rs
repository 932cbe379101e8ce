//! Stories: text files of inputs, each with the actions that must follow. A line that starts with a number is an input at
//! that moment, in milliseconds; the indented lines after it are the actions. `tick` runs the clock to that moment.

use super::input::{Action, Adopted, Input, Moment, Reported, StartTrouble};
use super::laws::{exit, spec};
use super::{Reconciler, Settings};
use crate::holder::words::Told;
use crate::spec::Spec;
use events::manifest::{HealthCheck, Restart};
use events::report::{InstanceNews, Stage};
use std::fmt::Write;

struct Teller {
    reconciler: Reconciler,
    restart: Restart,
}

impl Teller {
    fn spec(&self, number: &str, port: u16) -> Spec {
        let mut spec = spec(number.parse().unwrap(), port, self.restart);
        let failures = 2;
        spec.how.health =
            Some(HealthCheck { failures, interval_ms: 1000, grace_ms: 5000, ..HealthCheck::default() });
        spec
    }

    fn known(&self, number: &str, adopted: Adopted) -> Input {
        let spec = Box::new(self.spec(number, 20000));
        Input::Known { spec, missed: Vec::new(), adopted, looping: false }
    }

    fn tell(&mut self, line: &str, out: &mut String) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let now: Moment = words[0].parse().unwrap();
        let id = |word: &str| self.spec(word, 0).instance;
        let input = match words[1..] {
            ["restart", policy] => {
                self.restart = serde_json::from_value(policy.into()).unwrap();
                return;
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
                let adopted = Adopted::Running { pid: pid.parse().unwrap(), is_reported: Reported::Yes };
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
            ["started", number, pid] => Input::Started { instance: id(number), pid: pid.parse().unwrap() },
            ["taken", number, port] => Input::StartFailed {
                instance: id(number),
                trouble: StartTrouble::PortTaken(port.parse().unwrap()),
            },
            ["exited", number, pid, code] => Input::Exited {
                instance: id(number),
                exit: exit(pid.parse().unwrap(), code.parse().ok(), Told::Nothing),
            },
            ["lost", number] => {
                Input::StartFailed { instance: id(number), trouble: StartTrouble::Passing("lost".into()) }
            }
            ["ended", number, pid] => Input::Exited {
                instance: id(number),
                exit: exit(pid.parse().unwrap(), None, Told::Terminate),
            },
            ["passed", number, run] => Input::Passed { instance: id(number), run: run.parse().unwrap() },
            ["failed", number, run] => Input::CheckFailed {
                instance: id(number),
                run: run.parse().unwrap(),
                reason: "refused".into(),
            },
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
    match action {
        Action::Report(news) => {
            let about = match news {
                InstanceNews::Started(news) => format!("{} pid {}", short(&news.instance), news.pid),
                InstanceNews::Ready(news) => short(&news.instance),
                InstanceNews::Unhealthy(news) => format!("{} {}", short(&news.instance), news.reason),
                InstanceNews::Exited(news) => {
                    let restart = news.restart_in_ms.map_or("never".into(), |ms| format!("in {ms} ms"));
                    format!(
                        "{} pid {} code {:?}, again {restart}",
                        short(&news.instance),
                        news.pid,
                        news.code
                    )
                }
                InstanceNews::Looping(news) => format!("{} {} crashes", short(&news.instance), news.crashes),
                InstanceNews::Steady(news) => short(&news.instance),
                InstanceNews::Failed(news) => {
                    format!("{} {:?} {}", short(&news.instance), news.stage, news.reason)
                }
                InstanceNews::PortTaken(news) => format!("{} {}", short(&news.instance), news.port),
                InstanceNews::ImageBuilt(news) => format!("{} {}", short(&news.instance), news.dockerfile),
                InstanceNews::Stopped(news) => short(&news.instance),
                InstanceNews::Emitted(news) => format!("{} {}", short(&news.instance), news.name),
                InstanceNews::Erred(news) => short(&news.instance),
            };
            format!("report {} {about}", news.kind())
        }
        Action::ReportExit { news, .. } => shown(&Action::Report(InstanceNews::Exited(news.clone()))),
        Action::Prepare(spec) => format!("prepare {}", spec.key),
        Action::Start(spec) => {
            format!("start {} on {:?}", short(&spec.instance), spec.ports.values().collect::<Vec<_>>())
        }
        Action::Signal { instance, told } => format!("signal {} {told:?}", short(instance)),
        Action::Check { instance, run, target } => {
            format!("check {} run {run} port {}", short(instance), target.port)
        }
        Action::Forget(instance) => format!("forget {}", short(instance)),
        Action::Dismiss(instance) => format!("dismiss {}", short(instance)),
    }
}

/// The story as it goes: its own inputs and comments, with the actions that follow.
fn retold(story: &str) -> String {
    let reconciler = Reconciler::new(Settings { steady_ms: 3000, seed: 0 });
    let mut teller = Teller { reconciler, restart: Restart::Always };
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
