//! Containers on a real engine, each test with one of its own: deployed, served, read, and held in any weather.

use kingdom_tests::apps::File;
use kingdom_tests::engine::{Engine, IMAGE, PAGE, capable, page};
use kingdom_tests::{Kingdom, Plan, strays, wait};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Serves its page on a port of its own choice.
const WEB: &[File] = &[(
    "king.yaml",
    "processes:\n  web:\n    image: tiny:1\n    command: exec httpd -f -p 8080 -h /www\n    ports: [http: 8080]\n    health: { path: / }\n    stop_grace: 1s\n",
)];

/// Counts in the log for ever.
const COUNTER: &[File] = &[(
    "king.yaml",
    "processes:\n  count:\n    image: tiny:1\n    command: 'trap \"exit 0\" TERM; i=0; while :; do i=$((i+1)); echo \"run $$ line $i\"; usleep 2000; done'\n    stop_grace: 2s\n",
)];

async fn kingdom(engine: &Engine) -> Kingdom {
    let kingdom = Kingdom::with(Plan { engines: vec![engine.socket()], ..Plan::default() }).await;
    capable(&kingdom, 1).await;
    kingdom
}

async fn serves(kingdom: &Kingdom, app: &str, count: usize) {
    wait::until(&format!("{count} of {app} serve"), async || {
        let instances = kingdom.client.ask("instance.ls", json!({ "app": app })).await?;
        wait::holds(instances.len() == count, || format!("{instances:?}"))?;
        for instance in &instances {
            let body = page(instance).await?;
            wait::holds(body == PAGE, || body)?;
        }
        Ok::<_, String>(())
    })
    .await;
}

/// The kinds of the events about instances, oldest first.
async fn instance_events(kingdom: &Kingdom) -> Vec<String> {
    let events = kingdom.client.events().await;
    events
        .iter()
        .map(|event| event.fact.kind().to_owned())
        .filter(|kind| kind.starts_with("instance."))
        .collect()
}

fn count(events: &[String], kind: &str) -> usize {
    events.iter().filter(|event| *event == kind).count()
}

#[tokio::test]
async fn a_container_is_deployed_serves_scales_speaks_and_stops() {
    let engine = Engine::start().await;
    let kingdom = kingdom(&engine).await;
    kingdom.deploy("shop", WEB, 1).await;
    serves(&kingdom, "shop", 1).await;
    let made = engine.running().await;
    assert_eq!(made.len(), 1);
    is_shut_in(&engine, &made[0]).await;

    kingdom.kingctl(&["app", "scale", "shop", "3", "--wait"]).await.success();
    serves(&kingdom, "shop", 3).await;
    kingdom.kingctl(&["app", "scale", "shop", "0", "--wait"]).await.success();
    wait::until("nothing of it is left", async || {
        let left = engine.containers("label=king.instance").await;
        wait::holds(left.is_empty(), || format!("{left:?}"))
    })
    .await;
}

async fn is_shut_in(engine: &Engine, container: &str) {
    let shown = engine.docker(&["inspect", container]).await;
    let shown: Value = serde_json::from_str(&shown).expect("docker prints JSON");
    let host = &shown[0]["HostConfig"];
    assert_eq!(host["Privileged"], false);
    assert_eq!(host["NetworkMode"], "bridge");
    assert_eq!(host["SecurityOpt"], json!(["no-new-privileges"]));
    assert_eq!(host["CapDrop"], json!(["ALL"]));
    assert_eq!(host["PortBindings"]["8080/tcp"][0]["HostIp"], "127.0.0.1");
    assert_eq!(host["PidMode"], "");
    assert!(host["Binds"].is_null(), "{host}");
}

/// Counts its starts in a volume, and tries to write to one that it may only read.
const KEEPER: &[File] = &[(
    "king.yaml",
    "processes:\n  keep:\n    image: tiny:1\n    command: 'n=$(cat /data/n 2>/dev/null || echo 0); n=$((n+1)); echo $n > /data/n; touch /fixed/x 2>/dev/null || echo kept; echo start $n on $KING_SERVANT; exec sleep 100000'\n    volumes: [data:/data, fixed:/fixed:ro]\n    stop_grace: 1s\n",
)];

#[tokio::test]
async fn a_volume_outlives_its_containers_and_is_written_only_where_it_may_be() {
    let engine = Engine::start().await;
    let kingdom = kingdom(&engine).await;
    kingdom.deploy("keeper", KEEPER, 1).await;
    kingdom.kingctl(&["app", "scale", "keeper", "0", "--wait"]).await.success();
    kingdom.kingctl(&["app", "scale", "keeper", "1", "--wait"]).await.success();
    let id = kingdom.instances("keeper").await.remove(0)["instance"].as_str().expect("an id").to_owned();
    kingdom.kingctl(&["instance", "restart", &id]).await.success();
    wait::until("it has started three times", async || {
        let told = kingdom.kingctl(&["logs", "keeper", "-o", "name"]).await.success();
        let wanted: String = (1..=3).map(|number| format!("kept\nstart {number} on s1\n")).collect();
        wait::holds(told == wanted, || told)
    })
    .await;
}

#[tokio::test]
async fn a_kill_of_the_servant_ends_no_container_and_loses_no_line() {
    let engine = Engine::start().await;
    let mut kingdom = kingdom(&engine).await;
    kingdom.deploy("counter", COUNTER, 1).await;
    let before = engine.running().await;
    for _ in 0..5 {
        reached(&kingdom, 200).await;
        kingdom.kill9("s1");
        kingdom.restart("s1").await;
    }
    let last = lines(&kingdom).await.len();
    reached(&kingdom, last + 300).await;
    assert_eq!(engine.running().await, before, "the same container goes on");
    assert_eq!(engine.containers("label=king.instance").await.len(), 1, "and no second one was made");
    is_gapless(&lines(&kingdom).await);
    let events = instance_events(&kingdom).await;
    assert_eq!(count(&events, "instance.started"), 1, "{events:?}");
    assert_eq!(count(&events, "instance.crashed"), 0, "{events:?}");
}

/// The lines of the app in the order of the log.
async fn lines(kingdom: &Kingdom) -> Vec<String> {
    texts(&kingdom.kingctl(&["logs", "counter", "-n", "1000000", "-o", "json"]).await.success())
}

fn texts(printed: &str) -> Vec<String> {
    let text = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        line["text"].as_str().unwrap_or_else(|| panic!("{line}")).to_owned()
    };
    printed.lines().map(text).collect()
}

async fn reached(kingdom: &Kingdom, count: usize) {
    wait::until(&format!("{count} lines are stored"), async || {
        let lines = lines(kingdom).await.len();
        wait::holds(lines >= count, || format!("{lines} are"))
    })
    .await;
}

/// Each run counts from 1 without a hole, and no line stands twice.
fn is_gapless(lines: &[String]) {
    let mut expected = 1;
    for line in lines {
        let number = number(line);
        if number == 1 {
            expected = 1;
        }
        assert_eq!(number, expected, "in {line:?}");
        expected += 1;
    }
}

fn number(line: &str) -> u64 {
    line.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{line}"))
}

#[tokio::test]
async fn a_container_that_is_removed_by_hand_or_crashes_is_replaced_and_strangers_are_left_alone() {
    let engine = Engine::start().await;
    let kingdom = kingdom(&engine).await;
    kingdom.deploy("shop", WEB, 1).await;
    let instance = kingdom.instances("shop").await.remove(0);
    let id = instance["instance"].as_str().expect("an id").to_owned();
    let stranger = format!("king-{id}-2");
    engine.docker(&["run", "-d", "--name", "mine", IMAGE, "/bin/sleep", "1000"]).await;
    engine
        .docker(&[
            "run",
            "-d",
            "--name",
            &stranger,
            "--label",
            "king.instance=x",
            IMAGE,
            "/bin/sleep",
            "1000",
        ])
        .await;

    let first = engine.containers("label=king.servant").await;
    engine.docker(&["rm", "-f", &first[0]]).await;
    wait::until("the crash is seen", async || {
        let events = instance_events(&kingdom).await;
        wait::holds(count(&events, "instance.crashed") == 1, || format!("{events:?}"))
    })
    .await;
    assert_eq!(engine.docker(&["inspect", "-f", "{{.State.Running}}", &stranger]).await.trim(), "true");
    // Its name is wanted for the next run.
    engine.docker(&["rm", "-f", &stranger]).await;
    serves(&kingdom, "shop", 1).await;

    let second = engine.containers("label=king.servant").await;
    engine.docker(&["kill", &second[0]]).await;
    wait::until("it runs again", async || {
        let events = instance_events(&kingdom).await;
        wait::holds(count(&events, "instance.crashed") == 2, || format!("{events:?}"))?;
        let now = engine.running().await;
        wait::holds(now.iter().any(|id| !second.contains(id)), || format!("{now:?}"))
    })
    .await;
    serves(&kingdom, "shop", 1).await;
    assert_eq!(engine.docker(&["inspect", "-f", "{{.State.Running}}", "mine"]).await.trim(), "true");
    assert_eq!(engine.containers("label=king.servant").await.len(), 1, "what has ended is removed");
}

#[tokio::test]
async fn a_restart_of_the_engine_is_told_truly_and_its_containers_run_again_once() {
    let mut engine = Engine::start().await;
    let kingdom = kingdom(&engine).await;
    kingdom.deploy("counter", COUNTER, 2).await;
    reached(&kingdom, 200).await;
    engine.restart().await;
    wait::until("both run again", async || {
        let events = instance_events(&kingdom).await;
        wait::holds(
            count(&events, "instance.crashed") == 2 && count(&events, "instance.started") == 4,
            || format!("{events:?}"),
        )?;
        let running = engine.running().await.len();
        wait::holds(running == 2, || format!("{running} run"))
    })
    .await;
    let before = lines(&kingdom).await.len();
    reached(&kingdom, before + 200).await;
    each_is_gapless(&kingdom).await;
    assert_eq!(engine.containers("label=king.instance").await.len(), 2, "nothing of before is left");
}

/// Checks the lines of each counter by itself.
async fn each_is_gapless(kingdom: &Kingdom) {
    for instance in kingdom.instances("counter").await {
        is_gapless(&lines_of(kingdom, &instance).await);
    }
}

/// The lines of one instance, through all of its runs.
async fn lines_of(kingdom: &Kingdom, instance: &Value) -> Vec<String> {
    let id = instance["instance"].as_str().expect("an id");
    texts(&kingdom.kingctl(&["logs", id, "-n", "1000000", "-o", "json"]).await.success())
}

/// What a killed engine had read from a container and not yet written is lost to everybody: a hole for each kill at most.
/// Whatever it has written is there, in order and once.
async fn only_the_engine_loses_lines(engine: &Engine, kingdom: &Kingdom, kills: usize) {
    let mut written: Vec<Vec<String>> = Vec::new();
    for container in engine.running().await {
        let printed = engine.docker(&["logs", &container]).await;
        written.push(printed.lines().map(str::to_owned).collect());
    }
    for instance in kingdom.instances("counter").await {
        let lines = lines_of(kingdom, &instance).await;
        let numbers: Vec<u64> = lines.iter().map(|line| number(line)).collect();
        let runs = numbers.chunk_by(|one, next| *next != 1 && one < next);
        for run in runs {
            let holes = run.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
            assert!(run[0] == 1 && holes <= kills, "{holes} holes in a run from {}", run[0]);
        }
        let last = lines.iter().rposition(|line| number(line) == 1).expect("it has run");
        let last = &lines[last..];
        let same = |written: &Vec<String>| last.iter().zip(written).all(|(own, engine)| own == engine);
        assert!(written.iter().any(same), "what the engine has of the last run is not what is stored");
    }
}

/// Kills the engine below two counters: each is adopted or restarted once, never doubled, and all lines are there.
async fn is_killed(mut engine: Engine) {
    let kingdom = kingdom(&engine).await;
    kingdom.deploy("counter", COUNTER, 2).await;
    for _ in 0..2 {
        let before = lines(&kingdom).await.len();
        reached(&kingdom, before + 200).await;
        let known = ends_and_starts(&kingdom).await;
        engine.kill9().await;
        let before = lines(&kingdom).await.len();
        reached(&kingdom, before + 400).await;
        wait::until("two run, and all that ended was started again", async || {
            let now = ends_and_starts(&kingdom).await;
            let (ended, started) = (now.0 - known.0, now.1 - known.1);
            wait::holds(ended == started, || format!("{ended} ended, {started} were started"))?;
            assert!(ended <= 2, "each at most once: {ended}");
            let (running, processes) = (engine.running().await.len(), counters(&engine));
            wait::holds(running == 2 && processes == 2, || format!("{running} run, as {processes} processes"))
        })
        .await;
    }
    wait::until("nothing of before is left", async || {
        let containers = engine.containers("label=king.instance").await;
        wait::holds(containers.len() == 2, || format!("{containers:?}"))
    })
    .await;
    only_the_engine_loses_lines(&engine, &kingdom, 2).await;
}

async fn ends_and_starts(kingdom: &Kingdom) -> (usize, usize) {
    let events = instance_events(kingdom).await;
    (count(&events, "instance.crashed"), count(&events, "instance.started"))
}

/// The first processes of the counters, whoever still knows of them: children of the engine's helpers.
fn counters(engine: &Engine) -> usize {
    let helpers = strays::of_folder(engine.path());
    let helpers: BTreeSet<u32> = helpers
        .iter()
        .filter(|seen| seen.command_line.contains("containerd-shim"))
        .map(|seen| seen.pid)
        .collect();
    strays::children(&helpers).len()
}

#[tokio::test]
async fn a_killed_engine_that_leaves_its_containers_alone_doubles_none() {
    is_killed(Engine::with(&["--live-restore"]).await).await;
}

#[tokio::test]
async fn a_killed_engine_that_ends_its_containers_doubles_none() {
    is_killed(Engine::start().await).await;
}

#[tokio::test]
async fn a_command_beside_a_container_runs_inside_it_and_ends_whole() {
    let engine = Engine::start().await;
    let kingdom = kingdom(&engine).await;
    kingdom.deploy("counter", COUNTER, 1).await;
    let instance = kingdom.instances("counter").await.remove(0);
    let id = instance["instance"].as_str().expect("an id");
    let script = "echo $KING_APP $KING_SERVANT; cat /www/index.html; echo wrong >&2; exit 5";
    let ended = kingdom.kingctl(&["exec", id, "--", "sh", "-c", script]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (5, format!("counter s1\n{PAGE}").as_str()), "{ended:?}");
    assert!(ended.stderr.contains("wrong"), "{}", ended.stderr);

    let ended = kingdom.kingctl(&["exec", id, "--", "no-such-program"]).await;
    assert!(ended.code != 0 && format!("{ended:?}").contains("no-such-program"), "{ended:?}");

    // What is too long is ended, with all that it has started: also what only SIGKILL ends.
    let script = "trap '' TERM; (sleep 12345 &); while :; do sleep 12345; done";
    kingdom.kingctl(&["exec", "--time-limit", "1s", id, "--", "sh", "-c", script]).await;
    wait::until("nothing of it is left", async || {
        let processes = engine.docker(&["top", &engine.running().await[0]]).await;
        wait::holds(!processes.contains("12345"), || processes)
    })
    .await;
    assert_eq!(engine.running().await.len(), 1, "the instance itself is as it was");
    let events = instance_events(&kingdom).await;
    assert_eq!(count(&events, "instance.crashed"), 0, "{events:?}");
}

/// Is as well as it says in a file.
const PATIENT: &[File] = &[(
    "king.yaml",
    "processes:\n  patient:\n    image: tiny:1\n    command: 'sleep 1; echo well > /state; exec sleep 100000'\n    stop_grace: 1s\n    health: { command: 'read s < /state; test $s = hangs && sleep 12345; test $s = well || { echo it is $s >&2; exit 3; }', interval: 200ms, timeout: 1s, failures: 2 }\n",
)];

#[tokio::test]
async fn a_command_in_a_container_says_how_it_is() {
    let engine = Engine::start().await;
    let kingdom = kingdom(&engine).await;
    kingdom.deploy("patient", PATIENT, 1).await;
    let instance = kingdom.instances("patient").await.remove(0);
    let id = instance["instance"].as_str().expect("an id");
    for (ended, (state, reason)) in
        [("hangs", "not ended within 1000 ms"), ("ill", "exit status: 3: it is ill")].into_iter().enumerate()
    {
        let script = format!("echo {state} > /state");
        kingdom.kingctl(&["exec", id, "--", "sh", "-c", &script]).await.success();
        wait::until("it is found unwell and runs again", async || {
            let events = kingdom.client.events().await;
            let said: Vec<_> = events.iter().map(|event| format!("{:?}", event.fact)).collect();
            wait::holds(said.iter().any(|fact| fact.contains(reason)), || format!("{said:#?}"))?;
            let kinds = instance_events(&kingdom).await;
            wait::holds(count(&kinds, "instance.became-healthy") == ended + 2, || format!("{kinds:?}"))
        })
        .await;
        let processes = engine.docker(&["top", &engine.running().await[0]]).await;
        assert!(!processes.contains("12345"), "{processes}");
    }
}

#[tokio::test]
async fn an_engine_that_hangs_holds_up_nobody_else_and_is_understood_when_it_goes_on() {
    let engine = Engine::start().await;
    let kingdom = kingdom(&engine).await;
    kingdom.deploy("shop", WEB, 1).await;
    let container = engine.running().await.remove(0);
    let pid: i32 =
        engine.docker(&["inspect", "-f", "{{.State.Pid}}", &container]).await.trim().parse().expect("a pid");
    engine.signal(Signal::STOP);
    let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
    rustix::process::kill_process(pid, Signal::KILL).expect("its first process lives");

    // Processes are deployed and looked after meanwhile.
    kingdom.deploy("metal", kingdom_tests::apps::IDLE_APP, 2).await;
    engine.signal(Signal::CONT);
    let since = Instant::now();
    serves(&kingdom, "shop", 1).await;
    assert!(since.elapsed() < Duration::from_secs(10), "the truth took {:?}", since.elapsed());
    let events = instance_events(&kingdom).await;
    assert_eq!(count(&events, "instance.crashed"), 1, "{events:?}");
    let ids: BTreeSet<String> = engine.containers("label=king.instance").await.into_iter().collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
}

#[tokio::test]
async fn what_would_let_a_container_out_is_refused_at_the_push_with_its_place() {
    let engine = Engine::start().await;
    let kingdom = kingdom(&engine).await;
    for (lines, said) in [
        ("    privileged: true\n", "king.yaml:4:5: privileged is refused"),
        ("    network: host\n", "king.yaml:4:5: network is refused"),
        ("    volumes: [/etc:/etc]\n", "king.yaml:4:15: mounts \"/etc\", a path of the host"),
        ("    volumes: [/var/run/docker.sock:/sock]\n", "a path of the host"),
    ] {
        let yaml: &str = format!("processes:\n  web:\n    image: tiny:1\n{lines}").leak();
        let app = "hostile";
        let repository = kingdom.repository(app, &[("king.yaml", yaml)]).await;
        repository.git(&["tag", "v1.0.0"]).await.success();
        let refused = repository.git(&["push", "king", "main", "v1.0.0"]).await;
        assert!(refused.code != 0 && refused.stderr.contains(said), "{said}: {}", refused.stderr);
        std::fs::remove_dir_all(&repository.path).expect("it can be removed");
    }
}

#[tokio::test]
async fn an_image_that_nobody_has_fails_the_deploy_with_its_name() {
    let engine = Engine::start().await;
    let kingdom = kingdom(&engine).await;
    let files: &[File] = &[("king.yaml", "processes:\n  web:\n    image: 127.0.0.1:1/nothing:9\n")];
    let repository = kingdom.repository("gone", files).await;
    repository.publish("v1.0.0").await;
    let ended = kingdom.kingctl(&["app", "deploy", "gone@1.0.0", "--wait=60s"]).await;
    assert!(
        ended.code != 0 && ended.stderr.contains("127.0.0.1:1/nothing:9"),
        "{}\n{}",
        ended.stdout,
        ended.stderr
    );
    assert!(engine.containers("label=king.instance").await.is_empty());
}

#[tokio::test]
async fn a_container_that_uses_up_its_memory_is_named_so() {
    let engine = Engine::start().await;
    let kingdom = kingdom(&engine).await;
    let files: &[File] = &[(
        "king.yaml",
        "processes:\n  web:\n    image: tiny:1\n    command: 'sleep 2; a=x; while :; do a=$a$a; done'\n    ports: []\n    limits: { memory: 16MB }\n",
    )];
    let repository = kingdom.repository("hungry", files).await;
    repository.publish("v1.0.0").await;
    kingdom.kingctl(&["app", "deploy", "hungry@1.0.0", "--detach"]).await.success();
    wait::until("want of memory is told", async || {
        let events = kingdom.client.events().await;
        let crashed = events.iter().find_map(|event| match &event.fact {
            events::Fact::Instance(events::event::InstanceEvent::Crashed(crashed)) => Some(crashed.clone()),
            _ => None,
        });
        let crashed = crashed.ok_or("no crash yet")?;
        wait::holds(crashed.out_of_memory.is_some(), || format!("{crashed:?}"))
    })
    .await;
}
