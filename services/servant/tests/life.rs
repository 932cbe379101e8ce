//! The life of instances under a real servant: start, serve, crash, stop; the servant killed and started again.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use events::manifest::Restart;
use events::report::{InstanceNews, Stage};
use std::time::{Duration, Instant};
use support::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_fetched_started_checked_and_stopped() {
    let mut kingdom = Kingdom::with_servant(&["--keep-releases", "0"]).await;
    let facts = kingdom.heard().registration().unwrap();
    assert!(facts.capabilities.contains_key("git"), "{facts:?}");
    let release = kingdom.release(1, &[("server.py", SERVER)], web("exec python3 server.py")).await;
    let one = with_port(&release, free_port());
    let begun = Instant::now();
    kingdom.assign(&[&release], &[&one]).await;
    let heard = kingdom.wait("it is ready", |heard| heard.is_ready(one.instance)).await;
    println!("assignment to ready: {:?}", begun.elapsed());
    let pid = heard.pids(one.instance)[0];
    let port = *one.ports.values().next().unwrap();
    assert_eq!(get(port).await.unwrap(), format!("{pid} {}", one.instance));
    assert_eq!(processes_of(one.instance), [pid]);
    kingdom.assign(&[], &[]).await;
    kingdom.wait("it is stopped", |heard| heard.is_stopped(one.instance)).await;
    assert!(!lives(pid));
    let folder = kingdom.instance_folder(one.instance);
    until("its folder is removed", || !folder.exists()).await;
    let releases = kingdom.folder().join("releases/hello");
    until("its release is removed", || !releases.exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_instance_is_back_at_once() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    let release = kingdom.release(1, &[("server.py", SERVER)], web("exec python3 server.py")).await;
    let one = with_port(&release, free_port());
    kingdom.assign(&[&release], &[&one]).await;
    let heard = kingdom.wait("it is ready", |heard| heard.is_ready(one.instance)).await;
    let first = heard.pids(one.instance)[0];
    let folder = kingdom.instance_folder(one.instance);
    let begun = Instant::now();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(first as i32).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    while last_pid(&folder) == first {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (elapsed, second) = (begun.elapsed(), last_pid(&folder));
    println!("kill to successor: {elapsed:?}");
    // The bar is 50 ms, measured by the benchmark on a quiet machine; this one may be busy with other tests.
    assert!(elapsed < Duration::from_millis(500), "{elapsed:?}");
    let heard = kingdom.wait("it is ready again", |heard| heard.pids(one.instance).len() == 2).await;
    assert_eq!(heard.pids(one.instance)[1], second);
    let exited = heard.of(one.instance).into_iter().find_map(|news| match news {
        InstanceNews::Exited(news) => Some(news),
        _ => None,
    });
    let exited = exited.unwrap();
    assert_eq!((exited.pid, exited.signal, exited.restart_in_ms), (first, Some(9), Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_servant_keeps_pids_and_loses_no_line() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    let counting = "i=0; while [ $i -lt 4000 ]; do i=$((i+1)); echo out $i; echo err $i >&2; [ $((i % 20)) = 0 ] && sleep 0.01; done; sleep 1000";
    let release = kingdom.release(1, &[("x", "x")], script(counting)).await;
    let one = instance(&release);
    kingdom.assign(&[&release], &[&one]).await;
    let heard = kingdom.wait("it is started", |heard| !heard.pids(one.instance).is_empty()).await;
    let pids = heard.pids(one.instance);
    for lines in [500, 1500, 2500] {
        kingdom.lines(one.instance, "stdout", lines).await;
        kingdom.kill_servant();
        assert!(lives(pids[0]));
        kingdom.start_servant();
    }
    for (output, text) in [("stdout", "out"), ("stderr", "err")] {
        let lines = kingdom.lines(one.instance, output, 4000).await;
        let expected = (1..=4000).map(|number| (number, format!("{text} {number}"))).collect();
        assert_eq!(lines, expected);
    }
    assert_eq!(
        kingdom.wait("registered", |heard| heard.registration().is_some()).await.pids(one.instance),
        pids
    );
    assert!(processes_of(one.instance).contains(&pids[0]));
    kingdom.assign(&[], &[]).await;
    kingdom.wait("it is stopped", |heard| heard.is_stopped(one.instance)).await;
    assert!(processes_of(one.instance).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exit_while_the_servant_is_away_is_reported_once_and_repaired() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    let release =
        kingdom.release(1, &[("x", "x")], script("trap 'exit 7' TERM; echo begin; sleep 1000 & wait")).await;
    let one = instance(&release);
    kingdom.assign(&[&release], &[&one]).await;
    let heard = kingdom.wait("it is ready", |heard| heard.is_ready(one.instance)).await;
    let pid = heard.pids(one.instance)[0];
    kingdom.lines(one.instance, "stdout", 1).await;
    kingdom.kill_servant();
    signal(pid, "TERM");
    until("all of it is gone", || processes_of(one.instance).is_empty()).await;
    kingdom.start_servant();
    let heard = kingdom.wait("it runs again", |heard| heard.pids(one.instance).len() == 2).await;
    let exits: Vec<_> =
        heard.of(one.instance).into_iter().filter(|news| matches!(news, InstanceNews::Exited(_))).collect();
    assert!(
        matches!(&exits[..], [InstanceNews::Exited(news)] if news.pid == pid && (news.code, news.signal) == (Some(7), None)),
        "{exits:?}"
    );
    kingdom.lines(one.instance, "stdout", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exit_that_was_found_at_a_start_is_not_reported_at_the_next() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    let mut process = script("exec sleep 1000");
    process.restart = Restart::Never;
    let release = kingdom.release(1, &[("x", "x")], process).await;
    let one = instance(&release);
    kingdom.assign(&[&release], &[&one]).await;
    let heard = kingdom.wait("it is ready", |heard| heard.is_ready(one.instance)).await;
    let pid = heard.pids(one.instance)[0];
    kingdom.kill_servant();
    signal(pid, "KILL");
    until("it is gone", || !lives(pid)).await;
    let is_exit = |news: &InstanceNews| matches!(news, InstanceNews::Exited(_));
    kingdom.start_servant();
    kingdom.wait("its end is told", |heard| heard.of(one.instance).iter().any(is_exit)).await;
    kingdom.kill_servant();
    kingdom.start_servant();
    // What is found at a start is reported before anything new is.
    let two = instance(&release);
    kingdom.assign(&[&release], &[&one, &two]).await;
    let heard = kingdom.wait("another is ready", |heard| heard.is_ready(two.instance)).await;
    assert_eq!(heard.of(one.instance).iter().filter(|news| is_exit(news)).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_to_end_is_killed_in_time_even_without_the_servant() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    let mut process = script("trap 'echo told' TERM; while true; do sleep 0.05; done");
    process.stop_grace_ms = 500;
    let release = kingdom.release(1, &[("x", "x")], process).await;
    let one = instance(&release);
    kingdom.assign(&[&release], &[&one]).await;
    kingdom.wait("it is ready", |heard| heard.is_ready(one.instance)).await;
    kingdom.assign(&[], &[]).await;
    kingdom.lines(one.instance, "stdout", 1).await;
    kingdom.kill_servant();
    until("all of it is gone", || processes_of(one.instance).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_holder_leaves_no_copy_and_its_instance_comes_back() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    let escaping = "setsid sleep 1000 & sleep 1000";
    let release = kingdom.release(1, &[("x", "x")], script(escaping)).await;
    let one = instance(&release);
    kingdom.assign(&[&release], &[&one]).await;
    let heard = kingdom.wait("it is started", |heard| !heard.pids(one.instance).is_empty()).await;
    let first = heard.pids(one.instance)[0];
    for round in 1..=3 {
        let before = processes_of(one.instance);
        let holder = holder_of(&kingdom, one.instance);
        if round >= 2 {
            kingdom.kill_servant();
        }
        signal(holder, "KILL");
        if round == 3 {
            // As if it had been killed before it could record what it started.
            std::fs::remove_file(kingdom.instance_folder(one.instance).join("runs")).unwrap();
        }
        if round >= 2 {
            kingdom.start_servant();
        }
        kingdom.wait("it runs again", |heard| heard.pids(one.instance).len() == round + 1).await;
        assert!(before.iter().all(|pid| !lives(*pid)), "{before:?}");
    }
    assert!(!lives(first));
    until("one copy", || processes_of(one.instance).len() == 3 || processes_of(one.instance).len() == 2)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_hangs_keeps_nobody_waiting() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    let release = kingdom.release(1, &[("x", "x")], script("exec sleep 1000")).await;
    let (one, two) = (instance(&release), instance(&release));
    kingdom.assign(&[&release], &[&one]).await;
    let heard = kingdom.wait("it is ready", |heard| heard.is_ready(one.instance)).await;
    let holder = holder_of(&kingdom, one.instance);
    kingdom.kill_servant();
    signal(holder, "STOP");
    kingdom.start_servant();
    kingdom.assign(&[&release], &[&one, &two]).await;
    kingdom.wait("the other is ready", |heard| heard.is_ready(two.instance)).await;
    assert_eq!(processes_of(one.instance), heard.pids(one.instance));
    signal(holder, "CONT");
    kingdom.assign(&[&release], &[&two]).await;
    kingdom.wait("it is stopped", |heard| heard.is_stopped(one.instance)).await;
    assert!(processes_of(one.instance).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_the_servant_knows_nothing_of_is_taken_over() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    let (one, heard) = sleeper(&mut kingdom).await;
    let pid = heard.pids(one.instance)[0];
    kingdom.kill_servant();
    std::fs::remove_dir_all(kingdom.folder().join("table")).unwrap();
    std::fs::remove_file(kingdom.instance_folder(one.instance).join("spec")).unwrap();
    kingdom.start_servant();
    let heard = kingdom.wait("it is found", |heard| heard.pids(one.instance).len() == 2).await;
    assert_eq!(heard.pids(one.instance), [pid, pid]);
    assert_eq!(processes_of(one.instance), [pid]);
    kingdom.assign(&[], &[]).await;
    kingdom.wait("it is stopped", |heard| heard.is_stopped(one.instance)).await;
    assert!(processes_of(one.instance).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_on_old_ports_is_found_to_be_outdated() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    let release = kingdom.release(1, &[("server.py", SERVER)], web("exec python3 server.py")).await;
    let one = with_port(&release, free_port());
    kingdom.assign(&[&release], &[&one]).await;
    kingdom.wait("it is ready", |heard| heard.is_ready(one.instance)).await;
    kingdom.kill_servant();
    // As if the Servant had died after it had remembered its assignment, whose port is the one that is in the table.
    let spec = kingdom.instance_folder(one.instance).join("spec");
    let port = one.ports.values().next().unwrap();
    let old = read(&spec).replace(&port.to_string(), &free_port().to_string());
    std::fs::write(&spec, old).unwrap();
    kingdom.start_servant();
    let heard = kingdom.wait("it is started anew", |heard| heard.pids(one.instance).len() == 2).await;
    assert!(!heard.of(one.instance).iter().any(|news| matches!(news, InstanceNews::Exited(_))));
}

/// An instance that sleeps and is ready, and what was heard by then.
async fn sleeper(kingdom: &mut Kingdom) -> (events::view::AssignedInstance, Heard) {
    let release = kingdom.release(1, &[("x", "x")], script("exec sleep 1000")).await;
    let one = instance(&release);
    kingdom.assign(&[&release], &[&one]).await;
    let heard = kingdom.wait("it is ready", |heard| heard.is_ready(one.instance)).await;
    (one, heard)
}

fn holder_of(kingdom: &Kingdom, instance: events::InstanceId) -> u32 {
    let folder = kingdom.instance_folder(instance).display().to_string();
    let is_holder = |pid: &u32| read(format!("/proc/{pid}/cmdline").as_ref()).contains(&folder);
    processes().into_iter().find(is_holder).expect("a holder")
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_takes_the_whole_group_and_what_left_it() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    let stubborn = "trap '' TERM; setsid sh -c 'trap \"\" TERM; sleep 1000' & (sleep 1000 &) ; while true; do sleep 1; done";
    let mut process = script(stubborn);
    process.stop_grace_ms = 300;
    let release = kingdom.release(1, &[("x", "x")], process).await;
    let one = instance(&release);
    kingdom.assign(&[&release], &[&one]).await;
    kingdom.wait("it is ready", |heard| heard.is_ready(one.instance)).await;
    until("all of it runs", || processes_of(one.instance).len() >= 4).await;
    let begun = Instant::now();
    kingdom.assign(&[], &[]).await;
    kingdom.wait("it is stopped", |heard| heard.is_stopped(one.instance)).await;
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert!(begun.elapsed() < Duration::from_millis(1300), "{:?}", begun.elapsed());
    assert!(processes_of(one.instance).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_of_a_stranger_is_reported_and_another_is_used() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    let release = kingdom.release(1, &[("server.py", SERVER)], web("exec python3 server.py")).await;
    let stranger = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = stranger.local_addr().unwrap().port();
    let mut one = with_port(&release, taken);
    kingdom.assign(&[&release], &[&one]).await;
    let is_taken = |news: &InstanceNews| matches!(news, InstanceNews::PortTaken(news) if news.port == taken);
    let heard = kingdom.wait("the port is taken", |heard| heard.of(one.instance).iter().any(is_taken)).await;
    assert!(heard.pids(one.instance).is_empty());
    let other = free_port();
    one.ports.values_mut().for_each(|port| *port = other);
    kingdom.assign(&[&release], &[&one]).await;
    kingdom.wait("it is ready", |heard| heard.is_ready(one.instance)).await;
    assert!(get(other).await.unwrap().contains(&one.instance.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_are_a_loop_once_and_steady_once() {
    let mut kingdom = Kingdom::with_servant(&["--steady-ms", "300"]).await;
    // It crashes five times and then stays.
    let crashing =
        "n=$(cat count 2>/dev/null || echo 0); echo $((n+1)) > count; [ $n -ge 5 ] && sleep 1000; exit 3";
    let release = kingdom.release(1, &[("x", "x")], script(crashing)).await;
    let one = instance(&release);
    kingdom.assign(&[&release], &[&one]).await;
    let is_steady = |news: &InstanceNews| matches!(news, InstanceNews::Steady(_));
    let heard = kingdom.wait("it is steady", |heard| heard.of(one.instance).iter().any(is_steady)).await;
    let news = heard.of(one.instance);
    let waits: Vec<_> = news
        .iter()
        .filter_map(|news| match news {
            InstanceNews::Exited(news) => Some((news.code, news.restart_in_ms.unwrap())),
            _ => None,
        })
        .collect();
    // Each a little longer than the least, and none by more than a quarter.
    let least = [0, 100, 200, 400, 800];
    let is_so = |((code, wait), least): (&(Option<i32>, u64), u64)| {
        *code == Some(3) && (least..=least + least / 4).contains(wait)
    };
    assert!(waits.len() == 5 && waits.iter().zip(least).all(is_so), "{waits:?}");
    let loops = news.iter().filter(|news| matches!(news, InstanceNews::Looping(_))).count();
    assert_eq!((loops, news.iter().filter(|news| is_steady(news)).count()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_stays_done() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    let mut process = script("echo done");
    process.restart = Restart::OnFailure;
    let release = kingdom.release(1, &[("x", "x")], process).await;
    let one = instance(&release);
    kingdom.assign(&[&release], &[&one]).await;
    let is_done = |news: &InstanceNews| matches!(news, InstanceNews::Exited(news) if news.code == Some(0) && news.restart_in_ms.is_none());
    kingdom.wait("it is done", |heard| heard.of(one.instance).iter().any(is_done)).await;
    kingdom.kill_servant();
    kingdom.start_servant();
    let two = instance(&release);
    kingdom.assign(&[&release], &[&one, &two]).await;
    let heard = kingdom.wait("the other is done", |heard| heard.of(two.instance).iter().any(is_done)).await;
    assert_eq!(heard.of(one.instance).iter().filter(|news| is_done(news)).count(), 1);
    assert_eq!(heard.pids(one.instance).len(), 1);
    assert_eq!(kingdom.lines(one.instance, "stdout", 1).await[&1], "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_started_fails_with_its_stage() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    let mut failing = kingdom.release(1, &[("x", "x")], script("true")).await;
    failing.build = Some(events::manifest::CommandLine::Shell("echo making; echo broken >&2; exit 4".into()));
    let hostile = hostile_archive();
    let hostile = kingdom.release_of(2, &hostile, script("true")).await;
    let mut missing = kingdom.release(3, &[("x", "y")], script("true")).await;
    missing.archive = events::Digest::of(b"never stored");
    let mut no_program = script("true");
    no_program.command = Some(events::manifest::CommandLine::Exec(vec!["./nothing".into()]));
    let no_program = kingdom.release(4, &[("x", "z")], no_program).await;
    let releases = [&failing, &hostile, &missing, &no_program];
    let instances = releases.map(instance);
    kingdom.assign(&releases, &[&instances[0], &instances[1], &instances[2], &instances[3]]).await;
    let expected = [
        (Stage::Build, "broken"),
        (Stage::Unpack, "evil"),
        (Stage::Fetch, "not in the store"),
        (Stage::Start, "\"./nothing\" could not be started"),
    ];
    for (instance, (stage, words)) in instances.iter().zip(expected) {
        let is_so = |news: &InstanceNews| matches!(news, InstanceNews::Failed(news) if news.stage == stage && news.reason.contains(words));
        kingdom.wait(words, |heard| heard.of(instance.instance).iter().any(is_so)).await;
    }
    assert!(!kingdom.folder().join("releases/hello/evil").exists());
}

fn hostile_archive() -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..7].copy_from_slice(b"../evil");
    header.set_size(0);
    header.set_mode(0o644);
    header.set_cksum();
    let mut builder = tar::Builder::new(Vec::new());
    builder.append(&header, &b""[..]).unwrap();
    zstd::encode_all(&builder.into_inner().unwrap()[..], 3).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_built_once_for_all_its_instances() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    let mut release = kingdom.release(1, &[("x", "x")], script("cat built; sleep 1000")).await;
    release.build = Some(events::manifest::CommandLine::Shell("echo once >> built; sleep 0.2".into()));
    let instances = [(); 3].map(|()| instance(&release));
    kingdom.assign(&[&release], &[&instances[0], &instances[1], &instances[2]]).await;
    for instance in &instances {
        kingdom.wait("it is ready", |heard| heard.is_ready(instance.instance)).await;
        assert_eq!(kingdom.lines(instance.instance, "stdout", 1).await[&1], "once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_nobody_needs_is_broken_off_and_made_anew_when_it_is_needed() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    let mut release = kingdom.release(1, &[("x", "x")], script("cat built; sleep 1000")).await;
    // The first build does not end.
    let slow = kingdom.data.path().join("slow");
    let mark = slow.display();
    let building = format!("[ -e {mark} ] || {{ touch {mark}; sleep 1000; }}; echo whole > built");
    release.build = Some(events::manifest::CommandLine::Shell(building));
    let (one, two) = (instance(&release), instance(&release));
    let other = kingdom.release(2, &[("x", "y")], script("sleep 1000")).await;
    let stays = instance(&other);
    kingdom.assign(&[&release, &other], &[&one, &stays]).await;
    until("the build has begun", || slow.exists()).await;
    kingdom.assign(&[&other], &[&stays]).await;
    kingdom.wait("the first is gone", |heard| heard.is_stopped(one.instance)).await;
    kingdom.assign(&[&release, &other], &[&two, &stays]).await;
    kingdom.wait("the second is ready", |heard| heard.is_ready(two.instance)).await;
    assert_eq!(kingdom.lines(two.instance, "stdout", 1).await[&1], "whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_somebody_deleted_is_fetched_again() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    let release = kingdom.release(1, &[("run.sh", "exec sleep 1000")], script("exec sh run.sh")).await;
    let one = instance(&release);
    kingdom.assign(&[&release], &[&one]).await;
    let heard = kingdom.wait("it is ready", |heard| heard.is_ready(one.instance)).await;
    let releases = kingdom.folder().join("releases/hello");
    std::fs::remove_dir_all(&releases).unwrap();
    signal(heard.pids(one.instance)[0], "KILL");
    kingdom.wait("it runs again", |heard| heard.pids(one.instance).len() == 2).await;
    assert!(releases.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn whenever_the_servant_is_killed_nothing_runs_twice_and_all_converges() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    let release = kingdom.release(1, &[("x", "x")], script("exec sleep 1000")).await;
    let stable = instance(&release);
    let mut changing = [(); 3].map(|()| instance(&release));
    kingdom.assign(&[&release], &[&stable]).await;
    let heard = kingdom.wait("it is ready", |heard| heard.is_ready(stable.instance)).await;
    let mut retired = Vec::new();
    for round in 0..12_u64 {
        retired.push(changing[0].instance);
        changing.rotate_left(1);
        changing[2] = instance(&release);
        kingdom.assign(&[&release], &[&stable, &changing[0], &changing[1], &changing[2]]).await;
        // Another moment in each round: from before the assignment is seen until after the starts.
        tokio::time::sleep(Duration::from_millis(round * 15)).await;
        kingdom.kill_servant();
        kingdom.start_servant();
    }
    for one in &changing {
        kingdom.wait("it is ready", |heard| heard.is_ready(one.instance)).await;
        assert_eq!(processes_of(one.instance).len(), 1);
    }
    assert_eq!(processes_of(stable.instance), heard.pids(stable.instance));
    for instance in retired {
        until("the retired are gone", || processes_of(instance).is_empty()).await;
        let folder = kingdom.instance_folder(instance);
        until("and so are their folders", || !folder.exists()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_whose_folder_was_deleted_does_not_stay_for_ever() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    let (one, _) = sleeper(&mut kingdom).await;
    let holder = holder_of(&kingdom, one.instance);
    kingdom.kill_servant();
    std::fs::remove_dir_all(kingdom.folder()).unwrap();
    until("the instance is gone", || processes_of(one.instance).is_empty()).await;
    until("its holder is gone", || !lives(holder)).await;
}

fn is_exit(news: &InstanceNews) -> bool {
    matches!(news, InstanceNews::Exited(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_end_is_lost_when_the_servant_is_killed_beside_its_instance() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    let release = kingdom.release(1, &[("x", "x")], script("exec sleep 1000")).await;
    let one = instance(&release);
    kingdom.assign(&[&release], &[&one]).await;
    kingdom.wait("it is started", |heard| !heard.pids(one.instance).is_empty()).await;
    let folder = kingdom.instance_folder(one.instance);
    let mut killed = Vec::new();
    for round in 0..8_u64 {
        let pid = last_pid(&folder);
        killed.push(pid);
        signal(pid, "KILL");
        // Another moment in each round: from before the end is heard until after the successor is told of.
        tokio::time::sleep(Duration::from_millis(round * 2)).await;
        kingdom.kill_servant();
        kingdom.start_servant();
        until("a successor", || last_pid(&folder) != pid).await;
        let next = last_pid(&folder);
        kingdom.wait("it is told of", |heard| heard.pids(one.instance).contains(&next)).await;
    }
    let heard = kingdom.heard();
    let mut told: Vec<u32> = heard
        .of(one.instance)
        .into_iter()
        .filter_map(|news| match news {
            InstanceNews::Exited(news) => Some(news.pid),
            _ => None,
        })
        .collect();
    // One that was stored and not yet remembered is told again; the King knows it by then.
    told.dedup();
    assert_eq!(told, killed);
    assert_eq!(processes_of(one.instance), [last_pid(&folder)]);
}

/// An instance whose Servant, holder and process were all killed; gives the folder.
async fn killed(kingdom: &mut Kingdom, instance: events::InstanceId) -> std::path::PathBuf {
    let holder = holder_of(kingdom, instance);
    kingdom.kill_servant();
    signal(holder, "KILL");
    for pid in processes_of(instance) {
        signal(pid, "KILL");
    }
    until("all of it is gone", || processes_of(instance).is_empty() && !lives(holder)).await;
    kingdom.instance_folder(instance)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_with_a_number_of_before_is_neither_adopted_nor_killed() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    let (one, heard) = sleeper(&mut kingdom).await;
    let pid = heard.pids(one.instance)[0];
    let folder = killed(&mut kingdom, one.instance).await;
    // As if the number had been given to somebody else meanwhile.
    let mut stranger = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let runs = read(&folder.join("runs"));
    let reused = runs.replace(&format!("\"pid\":{pid}"), &format!("\"pid\":{}", stranger.id()));
    assert_ne!(runs, reused);
    std::fs::write(folder.join("runs"), reused).unwrap();
    kingdom.start_servant();
    let heard = kingdom.wait("it runs again", |heard| heard.pids(one.instance).len() == 2).await;
    assert_ne!(heard.pids(one.instance)[1], stranger.id());
    assert!(lives(stranger.id()));
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_of_the_host_nothing_is_adopted_and_all_starts_once() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    let (one, _) = sleeper(&mut kingdom).await;
    let folder = killed(&mut kingdom, one.instance).await;
    let runs = read(&folder.join("runs"));
    let boot = servant::host::boot_id().unwrap();
    let other = runs.replace(&boot, "00000000-0000-0000-0000-000000000000");
    assert_ne!(runs, other);
    std::fs::write(folder.join("runs"), other).unwrap();
    kingdom.start_servant();
    let heard = kingdom.wait("it runs again", |heard| heard.pids(one.instance).len() == 2).await;
    assert!(!heard.of(one.instance).iter().any(is_exit));
    assert_eq!(processes_of(one.instance), [heard.pids(one.instance)[1]]);
}
