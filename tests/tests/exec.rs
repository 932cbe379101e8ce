//! Arbitrary commands on servants: streams, exit codes, limits, terminals, and what stands in the log, also when one of the
//! parties is killed in the middle.

use kingdom_tests::person::{Person, is_a_terminal, terminal};
use kingdom_tests::{Kingdom, Plan, wait};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// So many servants, each with its name as a label, all but the last with `role=web`.
async fn kingdom(servants: u16) -> Kingdom {
    let labels = ["--label", "name={name}", "--label", "role=web"].map(String::from);
    Kingdom::with(Plan { servants, servant: labels.into(), ..Plan::default() }).await
}

/// The newest run, as the King knows it.
async fn newest(kingdom: &Kingdom) -> Value {
    kingdom.client.query("exec.ls", json!({})).await.remove(0)
}

/// Waits until the newest run has ended everywhere.
async fn ended(kingdom: &Kingdom) -> Value {
    wait::until("the run has ended", async || {
        let run = kingdom.client.ask("exec.ls", json!({})).await?.remove(0);
        let all = run["runs"].as_array().is_some_and(|runs| runs.iter().all(|run| !run["outcome"].is_null()));
        wait::holds(all, || run.to_string()).map(|()| run)
    })
    .await
}

/// The processes that a run has started.
fn processes(exec: &str) -> Vec<u32> {
    let mark = format!("KING_EXEC={exec}");
    let pids = std::fs::read_dir("/proc")
        .expect("it is there")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let marked = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    pids.filter(marked).collect()
}

async fn all_gone(exec: &str) {
    wait::until("nothing of the run is left", async || {
        let left = processes(exec);
        wait::holds(left.is_empty(), || format!("{left:?}"))
    })
    .await;
}

/// Waits until a run of this many processes goes on, and gives its id.
async fn begun(kingdom: &Kingdom, count: usize) -> String {
    wait::until("the run has begun", async || {
        let runs = kingdom.client.ask("exec.ls", json!({})).await?;
        let id = runs.first().and_then(|run| run["exec"].as_str()).ok_or("no run yet")?.to_owned();
        let found = processes(&id).len();
        wait::holds(found >= count, || format!("{found} processes")).map(|()| id)
    })
    .await
}

#[tokio::test]
async fn a_command_runs_on_many_servants_at_once_and_the_log_says_who_ran_it() {
    let kingdom = kingdom(3).await;
    let ended = kingdom
        .kingctl(&["exec", "-l", "role=web", "--", "sh", "-c", "echo out $KING_SERVANT; echo err >&2"])
        .await;
    let (stdout, stderr) = (ended.stdout.clone(), ended.stderr.clone());
    ended.success();
    let lines = |text: &str| -> BTreeMap<String, String> {
        let pairs = text.lines().filter_map(|line| line.split_once(" | "));
        pairs.map(|(servant, line)| (servant.to_owned(), line.to_owned())).collect()
    };
    let wanted = |line: &dyn Fn(&str) -> String| -> BTreeMap<String, String> {
        ["s1", "s2", "s3"].map(|name| (name.to_owned(), line(name))).into()
    };
    assert_eq!(lines(&stdout), wanted(&|name| format!("out {name}")));
    assert_eq!(lines(&stderr), wanted(&|_| "err".to_owned()), "{stderr}");

    // It fails on one of them: a table, and an exit code that says so.
    let ended = kingdom.kingctl(&["exec", "s1", "s2", "--", "sh", "-c", "test $KING_SERVANT = s1"]).await;
    let told = ended.failure(7);
    assert!(told.contains("exit code 1") && told.contains("succeeded on 1 of 2"), "{told}");

    let objects = kingdom.kingctl(&["exec", "s1", "s2", "-o", "json", "--", "echo", "x"]).await.success();
    let objects: Vec<Value> =
        objects.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    assert_eq!(objects.iter().filter(|object| object["line"] == "x").count(), 2, "{objects:?}");
    assert_eq!(
        objects.iter().filter(|object| object["outcome"]["end"]["code"] == 0).count(),
        2,
        "{objects:?}"
    );

    let runs = kingdom.kingctl_json(&["exec", "ls"]).await;
    assert_eq!(runs.as_array().map(Vec::len), Some(3));
    assert!(runs.as_array().is_some_and(|runs| runs.iter().all(|run| run["actor"] == "kingctl:tester")));
    let id = runs[0]["exec"].as_str().expect("it has an id");
    let shown = kingdom.kingctl(&["exec", "show", id]).await.success();
    assert!(shown.contains("echo x") && shown.contains("kingctl:tester"), "{shown}");
    let events = kingdom.kingctl(&["event", "ls", "--noun", "exec"]).await.success();
    assert!(events.contains("exec.requested") && events.contains("exec.ended"), "{events}");
}

#[tokio::test]
async fn the_exit_code_of_one_servant_is_that_of_the_command() {
    let mut kingdom = kingdom(1).await;
    for (script, code) in [("exit 0", 0), ("exit 42", 42), ("kill -9 $$", 137), ("kill -TERM $$", 143)] {
        let ended = kingdom.kingctl(&["exec", "s1", "--", "sh", "-c", script]).await;
        assert_eq!(ended.code, code, "{script}: {ended:?}");
    }
    let told = kingdom.kingctl(&["exec", "s1", "--", "no-such-program"]).await.failure(126);
    assert!(told.contains("no-such-program"), "{told}");

    // Refusals leave nothing but an outcome.
    let told = kingdom.kingctl(&["exec", "s9", "--", "true"]).await.failure(3);
    assert!(told.contains("no servant"), "{told}");
    kingdom.kingctl(&["exec", "-l", "role=mail", "--", "true"]).await.failure(3);
    kingdom.kingctl(&["exec", "s1", "--time-limit", "25h", "--", "true"]).await.failure(2);
    kingdom.kingctl(&["exec", "s1", "-t", "--", "true"]).await.failure(2);
    assert_eq!(kingdom.client.query("exec.ls", json!({})).await.len(), 5);

    kingdom.kill9("s1");
    wait::until("the servant is lost", async || {
        let servants = kingdom.client.ask("servant.ls", json!({})).await?;
        wait::holds(servants[0]["lost"] == true, || format!("{servants:?}"))
    })
    .await;
    let told = kingdom.kingctl(&["exec", "s1", "--", "true"]).await.failure(4);
    assert!(told.contains("is lost"), "{told}");
}

#[tokio::test]
async fn a_servant_that_runs_no_commands_says_so() {
    let kingdom = Kingdom::with(Plan { servant: vec!["--no-exec".into()], ..Plan::default() }).await;
    let told = kingdom.kingctl(&["exec", "s1", "--", "true"]).await.failure(4);
    assert!(told.contains("runs no commands") && told.contains("--no-exec"), "{told}");
}

#[tokio::test]
async fn much_output_and_input_arrive_whole_and_what_is_too_much_is_said() {
    let kingdom = kingdom(1).await;
    let hundred = (100 << 20).to_string();
    let ended = kingdom
        .kingctl(&["exec", "s1", "--max-output", "200m", "--", "head", "-c", &hundred, "/dev/zero"])
        .await;
    assert_eq!(ended.success().len(), 100 << 20);

    let ended = kingdom.kingctl(&["exec", "s1", "--", "head", "-c", &hundred, "/dev/zero"]).await;
    assert_eq!(ended.stdout.len(), 64 << 20, "no more than the limit");
    assert!(ended.failure(125).contains("too much output"));
    let outcome = self::ended(&kingdom).await["runs"][0]["outcome"].clone();
    assert_eq!(outcome["end"], "output-exceeded");

    // Ten megabytes there and back, each byte with a place of its own.
    let sent: Vec<u8> = (0..10_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut command = kingdom.kingctl_command(&["exec", "s1", "--stdin", "--", "cat"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("it starts");
    let (mut input, mut output) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
    let writing = async {
        input.write_all(&sent).await.expect("it is taken");
        drop(input);
    };
    let mut back = Vec::new();
    let (_, read) = tokio::join!(writing, output.read_to_end(&mut back));
    read.expect("it is read");
    assert!(child.wait().await.expect("it ends").success());
    assert!(back == sent, "{} of {} bytes came back, or others", back.len(), sent.len());
}

#[tokio::test]
async fn a_slow_reader_holds_up_the_command_and_nothing_is_lost() {
    let kingdom = kingdom(1).await;
    let mut command = kingdom.kingctl_command(&["exec", "s1", "--", "seq", "1", "3000000"]);
    let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("it starts");
    let mut output = child.stdout.take().expect("piped");
    let id = begun(&kingdom, 1).await;
    // Nothing is read: windows and pipes fill, and then the command waits.
    let written = |id: &str| -> u64 {
        let pid = processes(id).first().copied().unwrap_or_default();
        let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
        io.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse().ok()).unwrap_or_default()
    };
    let mut before = (0, Instant::now());
    let held = wait::until("the command writes no more", async || {
        let now = written(&id);
        if now != before.0 {
            before = (now, Instant::now());
        }
        let still = before.1.elapsed();
        wait::holds(now > 0 && still > Duration::from_secs(2), || format!("{now} bytes")).map(|()| now)
    })
    .await;
    assert!(held < 8 << 20, "{held} bytes are on the way");
    let mut text = String::new();
    output.read_to_string(&mut text).await.expect("it is read");
    assert!(child.wait().await.expect("it ends").success());
    let whole = text.lines().zip(1..).all(|(line, number): (&str, u32)| line == number.to_string());
    assert!(whole && text.lines().count() == 3_000_000);
}

#[tokio::test]
async fn time_is_over_for_all_that_a_command_has_started() {
    let kingdom = kingdom(1).await;
    // One that leaves its session and its parent, one that ignores what it is told.
    let script = "setsid sh -c '(trap \"\" TERM; sleep 601; sleep 602) & sleep 603 &' & trap '' TERM; sleep 604; sleep 605";
    let ended = kingdom.kingctl(&["exec", "s1", "--time-limit", "1s", "--", "sh", "-c", script]).await;
    let id = newest(&kingdom).await["exec"].as_str().expect("an id").to_owned();
    assert!(ended.failure(124).contains("time is over"));
    all_gone(&id).await;

    // Those that a command leaves behind end with it, and it keeps its exit code.
    let script = "setsid sleep 606 & sleep 607 & exit 3";
    kingdom.kingctl(&["exec", "s1", "--", "sh", "-c", script]).await.failure(3);
    let id = newest(&kingdom).await["exec"].as_str().expect("an id").to_owned();
    all_gone(&id).await;
}

#[tokio::test]
async fn ctrl_c_cancels_and_the_log_knows_whose_it_was() {
    let kingdom = kingdom(2).await;
    let mut watching = kingdom.kingctl_process(&["exec", "s1", "s2", "--", "sleep", "600"]);
    watching.start();
    let id = begun(&kingdom, 2).await;
    watching.signal(Signal::INT);
    let status = watching.ended(Duration::from_secs(30)).await;
    assert_eq!(status.code(), Some(7), "{}", watching.output());
    all_gone(&id).await;
    let run = ended(&kingdom).await;
    assert_eq!(run["cancelled_by"], "kingctl:tester");
    assert!(
        run["runs"]
            .as_array()
            .is_some_and(|runs| runs.iter().all(|run| run["outcome"]["end"] == "cancelled"))
    );

    // Another may cancel it too.
    kingdom.kingctl(&["exec", "s1", "--detach", "--", "sleep", "600"]).await.success();
    let id = begun(&kingdom, 1).await;
    kingdom.kingctl(&["exec", "cancel", &id]).await.success();
    all_gone(&id).await;
    kingdom.kingctl(&["exec", "cancel", "00000000-0000-7000-8000-000000000000"]).await.failure(3);
}

#[tokio::test]
async fn a_killed_servant_leaves_nothing_of_a_run_and_says_that_it_is_lost() {
    let mut kingdom = kingdom(1).await;
    let mut watching =
        kingdom.kingctl_process(&["exec", "s1", "--", "sh", "-c", "setsid sleep 600 & echo here; sleep 601"]);
    watching.start();
    let id = begun(&kingdom, 3).await;
    kingdom.kill9("s1");
    // Before anybody starts it again.
    all_gone(&id).await;
    kingdom.restart("s1").await;
    let status = watching.ended(Duration::from_secs(30)).await;
    assert_eq!(status.code(), Some(125), "{}", watching.output());
    let run = ended(&kingdom).await;
    assert!(run["runs"][0]["outcome"]["end"]["lost"].is_string(), "{run}");
    kingdom.kingctl(&["exec", "s1", "--", "true"]).await.success();
    assert!(processes(&id).is_empty(), "it does not run twice");
}

#[tokio::test]
async fn a_servant_that_is_told_to_end_ends_its_runs_first() {
    let mut kingdom = kingdom(1).await;
    kingdom
        .kingctl(&["exec", "s1", "--detach", "--", "sh", "-c", "trap '' TERM; sleep 600; sleep 601"])
        .await
        .success();
    let id = begun(&kingdom, 2).await;
    kingdom.signal("s1", Signal::TERM);
    all_gone(&id).await;
    let run = ended(&kingdom).await;
    assert!(
        run["runs"][0]["outcome"]["end"]["lost"].as_str().is_some_and(|why| why.contains("told to end")),
        "{run}"
    );
}

#[tokio::test]
async fn neither_a_dead_king_nor_a_dead_watcher_ends_a_run() {
    let mut kingdom = kingdom(1).await;
    let script = "echo began; read line < go; echo $line";
    kingdom
        .kingctl(&["exec", "s1", "--", "mkfifo", &kingdom.path().join("go").display().to_string()])
        .await
        .success();
    let script = script.replace("go", &kingdom.path().join("go").display().to_string());
    let mut watching = kingdom.kingctl_process(&["exec", "s1", "--", "sh", "-c", &script]);
    watching.start();
    begun(&kingdom, 1).await;
    kingdom.kill9("king");
    let fifo = kingdom.path().join("go");
    let told = tokio::task::spawn_blocking(move || std::fs::write(fifo, "told\n"));
    let status = watching.ended(Duration::from_secs(30)).await;
    told.await.expect("it is written").expect("somebody read");
    assert!(status.success() && watching.output().contains("told"), "{}", watching.output());
    kingdom.restart("king").await;
    assert_eq!(ended(&kingdom).await["runs"][0]["outcome"]["end"]["code"], 0);

    // The watcher dies: the run goes on, and its output is counted.
    let fifo = kingdom.path().join("go");
    let script = format!("read line < {}; head -c 5000000 /dev/zero; exit 5", fifo.display());
    let mut watching = kingdom.kingctl_process(&["exec", "s1", "--", "sh", "-c", &script]);
    watching.start();
    let id = begun(&kingdom, 1).await;
    watching.kill9();
    tokio::task::spawn_blocking(move || std::fs::write(fifo, "go on\n")).await.expect("ends").expect("read");
    let run = ended(&kingdom).await;
    assert_eq!(run["exec"], id.as_str());
    let outcome = &run["runs"][0]["outcome"];
    assert_eq!(outcome["end"]["code"], 5, "{outcome}");
    assert_eq!(outcome["output_bytes"], 5_000_000, "{outcome}");
    assert!(outcome["discarded_bytes"].as_u64().is_some_and(|bytes| bytes > 3_000_000), "{outcome}");
}

#[tokio::test]
async fn a_terminal_is_one_on_both_sides_and_is_put_back() {
    let kingdom = kingdom(1).await;
    is_a_terminal(&kingdom, "s1").await;
    let mut person = Person::runs(&kingdom, "s1", "echo begun; read line; exit 3");
    // Not changed yet, or changed already: what it is in the end must be what it was before there was anything.
    let (_keys, untouched) = terminal(33, 101);
    person.sees("begun").await;
    person.types(b"go\r");
    assert_eq!(person.child.wait().await.expect("it ends").code(), Some(3));
    let [after, before] =
        [&person.other, &untouched].map(|side| rustix::termios::tcgetattr(side).expect("it has settings"));
    assert_eq!(
        (before.local_modes, before.input_modes, before.output_modes),
        (after.local_modes, after.input_modes, after.output_modes)
    );
}

#[tokio::test]
async fn whoever_leaves_a_terminal_ends_what_runs_there() {
    let kingdom = kingdom(1).await;
    let (mut person, other) = terminal(24, 80);
    let mut command = kingdom.kingctl_command(&["exec", "s1", "-t", "--", "sleep", "600"]);
    command.env("TERM", "xterm").kill_on_drop(true);
    command
        .stdin(Stdio::from(other.try_clone().expect("shared")))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().expect("it starts");
    let id = begun(&kingdom, 1).await;
    person.write_all(b"\x1d").expect("typed");
    assert_eq!(child.wait().await.expect("it ends").code(), Some(130));
    all_gone(&id).await;
    assert_eq!(ended(&kingdom).await["runs"][0]["outcome"]["end"], "hung-up");
}
