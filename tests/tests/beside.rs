//! Commands beside an instance, or inside its container: as its user, within its limits, on a terminal.

use kingdom_tests::apps::{COUNTER_APP, File};
use kingdom_tests::engine::{Engine, capable};
use kingdom_tests::person::{Person, is_a_terminal};
use kingdom_tests::{Kingdom, Plan, wait};
use serde_json::json;

#[tokio::test]
async fn beside_an_instance_there_are_its_environment_and_its_folder() {
    let kingdom = Kingdom::with(Plan { servants: 2, ..Plan::default() }).await;
    kingdom.deploy("counter", COUNTER_APP, 1).await;
    let instance = kingdom.instances("counter").await.remove(0);
    let id = instance["instance"].as_str().expect("an id");
    let script = "echo $KING_APP $KING_PROCESS $KING_RELEASE $KING_SERVANT; ls";
    let told = kingdom.kingctl(&["exec", id, "--", "sh", "-c", script]).await.success();
    let servant = instance["servant"].as_str().expect("a servant");
    let process = instance["process"].as_str().expect("a process type");
    assert!(told.starts_with(&format!("counter {process} 1 {servant}\n")), "{told}");
    assert!(COUNTER_APP.iter().all(|(file, _)| told.contains(file)), "{told}");
    kingdom.kingctl(&["exec", "019a1c2e-6f0b-7c11-8f4e-3a5d1c9b7e10", "--", "true"]).await.failure(3);
}

const BOXED: &[File] = &[(
    "king.yaml",
    "processes:\n  box:\n    image: tiny:1\n    command: exec sleep 100000\n    stop_grace: 1s\n    user: '1234'\n    env: { GREETING: hello }\n    limits: { memory: 64MB, pids: 20, open_files: 77 }\n",
)];

#[tokio::test]
async fn in_a_container_a_command_has_its_terminal_its_user_its_environment_and_its_limits() {
    let engine = Engine::start().await;
    let kingdom = Kingdom::with(Plan { engines: vec![engine.socket()], ..Plan::default() }).await;
    capable(&kingdom, 1).await;
    kingdom.deploy("boxed", BOXED, 1).await;
    let instance = kingdom.instances("boxed").await.remove(0)["instance"].as_str().expect("an id").to_owned();
    let run = async |script: &str| kingdom.kingctl(&["exec", &instance, "--", "sh", "-c", script]).await;
    let told = run("id -u; ulimit -n; echo $KING_APP $GREETING; echo wrong >&2; exit 5").await;
    assert_eq!(
        (told.code, told.stdout.as_str(), told.stderr.as_str()),
        (5, "1234\n77\nboxed hello\n", "wrong\n")
    );
    is_a_terminal(&kingdom, &instance).await;
    // Whoever leaves ends what runs in there.
    let mut person = Person::runs(&kingdom, &instance, "echo begun; exec sleep 4711");
    person.sees("begun").await;
    person.types(b"\x1d");
    assert_eq!(person.child.wait().await.expect("it ends").code(), Some(130));
    wait::until("nothing of it is left in the container", async || {
        let left = engine.docker(&["top", &engine.running().await[0], "-eo", "pid,args"]).await;
        wait::holds(!left.contains("4711"), || left)
    })
    .await;
    // Last, for the first process of this container reaps nobody, and what was ended counts on.
    let many =
        run("for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22; do sleep 5 & done; wait")
            .await;
    assert!(many.stderr.contains("can't fork"), "{many:?}");
}

const GUARDED: &[File] = &[(
    "king.yaml",
    "processes:\n  web:\n    command: exec sleep 100000\n    stop_grace: 1s\n    user: nobody\n    ports: [http]\n    health: { command: 'true' }\n    env: { GREETING: hello }\n    limits: { memory: 64MB, pids: 20, open_files: 77, nice: 3 }\n",
)];

#[tokio::test]
async fn beside_an_instance_a_command_has_its_user_and_its_limits_and_is_no_danger_to_it() {
    let kingdom = Kingdom::start().await;
    kingdom.deploy("guarded", GUARDED, 1).await;
    let instance = kingdom.instances("guarded").await.remove(0);
    let (id, port) = (instance["instance"].as_str().expect("an id"), instance["ports"]["http"].to_string());
    let run = async |script: &str| kingdom.kingctl(&["exec", id, "--", "sh", "-c", script]).await;
    let told = run("id -u; id -G; ulimit -n; nice; echo $PORT $GREETING; echo open > /dev/stdout; test -S $KING_EVENTS_SOCKET").await;
    assert_eq!(told.success(), format!("65534\n65534\n77\n3\n{port} hello\nopen\n"));
    let limited = kingdom.client.query("servant.ls", json!({})).await.remove(0);
    assert!(
        limited["capabilities"]["limit-pids"].is_string(),
        "the tests' host has control groups: {limited}"
    );
    let many =
        run("for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22; do sleep 5 & done; wait")
            .await;
    assert!(many.stderr.contains("fork"), "{many:?}");
    let large = run("exec /usr/bin/python3 -c 'x = bytearray(200 << 20); print(len(x))'").await;
    assert_eq!((large.code, large.stdout.as_str()), (137, ""), "{large:?}");
    is_a_terminal(&kingdom, id).await;
    let after = kingdom.instances("guarded").await.remove(0);
    assert_eq!((&after["pid"], &after["phase"]), (&instance["pid"], &json!("healthy")), "{after}");
    let groups = || {
        let places =
            ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/memory"];
        let below =
            places.map(|place| format!("find {place}/king -maxdepth 2 -name '{id}.exec-*' 2>/dev/null"));
        let found =
            std::process::Command::new("sh").args(["-c", &below.join("; ")]).output().expect("find runs");
        String::from_utf8_lossy(&found.stdout).into_owned()
    };
    wait::until("no control group of a run is left", async || wait::holds(groups().is_empty(), groups)).await;
    kingdom.kingctl(&["app", "scale", "guarded", "0", "--wait"]).await.success();
}
