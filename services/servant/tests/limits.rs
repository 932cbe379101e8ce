//! What instances may use, as whom they run and how they are told to end, on this real host.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use events::manifest::{
    CommandLine, HealthCheck, LIMITS_CPU, LIMITS_MEMORY, LIMITS_PIDS, Restart, StopSignal,
};
use events::report::{Exited, InstanceNews, Stage};
use events::view::AssignedProcess;
use std::time::Duration;
use support::*;

/// Assigns one instance of this process type.
async fn run(kingdom: &mut Kingdom, process: AssignedProcess) -> events::InstanceId {
    let release = kingdom.release(1, &[("x", "x")], process).await;
    let one = instance(&release);
    kingdom.assign(&[&release], &[&one]).await;
    one.instance
}

fn exit_of(heard: &Heard, instance: events::InstanceId) -> Option<Exited> {
    heard.of(instance).into_iter().find_map(|news| match news {
        InstanceNews::Exited(news) => Some(news),
        _ => None,
    })
}

/// Whether this host can limit all processes of an instance together; not every host that runs tests can.
async fn limits(kingdom: &Kingdom, what: &str) -> bool {
    let heard = kingdom.wait("it registers", |heard| heard.registration().is_some()).await;
    let by = heard.registration().unwrap().capabilities.get(what).cloned();
    by.is_some_and(|by| by.starts_with("cgroup"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_out_of_memory_is_told_as_that() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    if !limits(&kingdom, LIMITS_MEMORY).await {
        return;
    }
    let mut process = script("exec python3 -c 'x = bytearray(200 << 20); print(len(x), flush=True)'");
    process.restart = Restart::Never;
    process.supervision.limits.memory_bytes = Some(32 << 20);
    let one = run(&mut kingdom, process).await;
    let heard = kingdom.wait("it ends", |heard| exit_of(heard, one).is_some()).await;
    let exit = exit_of(&heard, one).unwrap();
    assert_eq!((exit.signal, exit.out_of_memory), (Some(9), Some(32 << 20)));
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_and_time_are_limited() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    if !limits(&kingdom, LIMITS_PIDS).await || !limits(&kingdom, LIMITS_CPU).await {
        return;
    }
    let bomb = "for i in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done 2>/dev/null; wait";
    let mut process = script(bomb);
    process.restart = Restart::Never;
    process.supervision.limits.pids = Some(4);
    process.supervision.limits.cpu_milli = Some(500);
    let one = run(&mut kingdom, process).await;
    // dash gives up when it cannot fork.
    let heard = kingdom.wait("it ends", |heard| exit_of(heard, one).is_some()).await;
    assert_eq!(exit_of(&heard, one).unwrap().code, Some(2));
    until("all of it is gone", || processes_of(one).is_empty()).await;
}

/// An app that says nothing, and whose children leave theirs to nobody: those are reaped at once, or they would use up what
/// it may have.
#[tokio::test(flavor = "multi_thread")]
async fn orphans_that_have_ended_take_no_room() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    if !limits(&kingdom, LIMITS_PIDS).await {
        return;
    }
    let orphans = "for i in $(seq 60); do (sleep 0.01 &); sleep 0.03; done; echo done; exec sleep 1000";
    let mut process = script(orphans);
    process.restart = Restart::Never;
    process.supervision.limits.pids = Some(16);
    let one = run(&mut kingdom, process).await;
    assert_eq!(kingdom.lines(one, "stdout", 1).await[&1], "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_has_its_files_its_niceness_and_its_user() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    let mut process = script("ulimit -n; nice; id -u; id -G; exec sleep 1000");
    process.supervision.limits.open_files = Some(77);
    process.supervision.limits.nice = Some(3);
    process.supervision.user = Some("nobody".to_owned());
    let one = run(&mut kingdom, process).await;
    let lines = kingdom.lines(one, "stdout", 4).await;
    let nobody = servant::users::find("nobody").unwrap();
    let expected = ["77".to_owned(), "3".to_owned(), nobody.uid.to_string()];
    assert_eq!(lines.values().take(3).cloned().collect::<Vec<_>>(), expected);
    let groups: Vec<String> = nobody.groups.iter().map(u32::to_string).collect();
    assert_eq!(lines[&4].split(' ').collect::<Vec<_>>(), groups);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_asks_for_health_as_the_user_of_its_instance() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    let mut process = script("exec sleep 1000");
    let command =
        Some(CommandLine::Shell("test \"$(id -un)\" = nobody && test \"$(ulimit -n)\" = 77 && cat x".into()));
    process.health = Some(HealthCheck { command, ..HealthCheck::default() });
    process.supervision.user = Some("nobody".to_owned());
    process.supervision.limits.open_files = Some(77);
    let one = run(&mut kingdom, process).await;
    kingdom.wait("it is healthy", |heard| heard.is_ready(one)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_was_let_through_has_its_release_by_absolute_paths_and_nothing_else_of_the_servant() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    let let_through = |path: &std::path::Path| {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
    };
    let_through(kingdom.data.path());
    let_through(&kingdom.folder());
    kingdom.end_servant();
    kingdom.start_servant();
    let mut process = script(
        "cat \"$PWD/x\"; echo; for part in . instances images execs table outbox releases ev; do ls \"$PWD/../../../$part\" 2>&1 | grep -c denied; done; exec sleep 1000",
    );
    process.supervision.user = Some("nobody".to_owned());
    let one = run(&mut kingdom, process).await;
    let lines = kingdom.lines(one, "stdout", 9).await;
    assert_eq!(lines.into_values().collect::<Vec<_>>(), ["x", "1", "1", "1", "1", "1", "1", "1", "1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_the_host_lacks_is_a_failed_start_with_its_reason() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    let mut process = script("sleep 1000");
    process.supervision.user = Some("no-such-user".to_owned());
    let one = run(&mut kingdom, process).await;
    let is_so = |news: &InstanceNews| matches!(news, InstanceNews::Failed(news) if news.stage == Stage::Start && news.reason.contains("no user \"no-such-user\""));
    kingdom.wait("it fails", |heard| heard.of(one).iter().any(is_so)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_to_end_as_it_wants_to_be() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    let polite = "trap 'echo bye; exit 0' INT; trap '' TERM; echo up; while true; do sleep 0.02; done";
    let mut process = script(polite);
    process.supervision.stop_signal = Some(StopSignal::SigInt);
    process.stop_grace_ms = 20_000;
    let one = run(&mut kingdom, process).await;
    kingdom.lines(one, "stdout", 1).await;
    kingdom.assign(&[], &[]).await;
    kingdom.wait("it is stopped", |heard| heard.is_stopped(one)).await;
    assert_eq!(kingdom.lines(one, "stdout", 2).await[&2], "bye");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_escapes_its_control_group() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    // Another session, another parent, no environment, and the main process lives on: only the group knows.
    let hiding = "env -i setsid sh -c 'sleep 86411 & sleep 86412 & wait' & exec sleep 1000";
    let mut process = script(hiding);
    process.stop_grace_ms = 300;
    let one = run(&mut kingdom, process).await;
    let named = |mark: &str| {
        let line = |pid: u32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let is_it = |pid: &u32| String::from_utf8_lossy(&line(*pid)).split('\0').any(|word| word == mark);
        processes().into_iter().filter(is_it).count()
    };
    until("it hides", || named("86411") == 1 && named("86412") == 1).await;
    kingdom.assign(&[], &[]).await;
    kingdom.wait("it is stopped", |heard| heard.is_stopped(one)).await;
    assert_eq!((named("86411"), named("86412")), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_says_whether_it_is_healthy() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    let mut process = script("rm -f bad; touch good; sleep 1000");
    let command =
        Some(CommandLine::Shell("test -e good && [ -n \"$KING_INSTANCE\" ] && ! test -e bad".into()));
    let quick = HealthCheck { interval_ms: 50, failures: 2, ..HealthCheck::default() };
    process.health = Some(HealthCheck { command, ..quick });
    let one = run(&mut kingdom, process).await;
    let heard = kingdom.wait("it is ready", |heard| heard.is_ready(one)).await;
    let tree = std::fs::read_link(format!("/proc/{}/cwd", heard.pids(one)[0])).unwrap();
    std::fs::write(tree.join("bad"), "").unwrap();
    let is_so = |news: &InstanceNews| matches!(news, InstanceNews::Unhealthy(news) if news.reason.contains("exit status: 1"));
    kingdom.wait("it is unhealthy", |heard| heard.of(one).iter().any(is_so)).await;
    kingdom.wait("it is restarted", |heard| heard.pids(one).len() == 2).await;
    tokio::time::timeout(
        Duration::from_secs(30),
        kingdom.wait("and ready", |heard| {
            heard.of(one).iter().filter(|news| matches!(news, InstanceNews::Ready(_))).count() == 2
        }),
    )
    .await
    .unwrap();
}
