//! Manifests as people write them: what is understood, and where each problem is found.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use events::manifest::{CommandLine, Errors, Listen, Restart, StopSignal, Workers};
use king::manifest::{KING_YAML, PROCFILE, parse, parse_king_yaml, parse_procfile};

const FULL: &str = r#"# everything that can be said
build: npm ci
needs: { node: ">= 18" }
processes:
  web:
    command: [node, server.js, 8]
    count: 2
    env: { GREETING: hello, RATIO: 1.10, DEBUG: true, EMPTY: "" }
    ports: [http, admin]
    health: { path: /healthz, port: http, interval: 500ms, timeout: 2s, grace: 1m, failures: 4 }
    restart: on-failure
    stop_grace: 2s
    needs: { git: "*" }
    errors: { patterns: [slow query], before: 2, off: false }
    limits: { memory: 256MB, cpu: 0.5, pids: 100, open_files: 1024, nice: -5 }
    user: www-data
    stop_signal: SIGINT
    after: [worker]
  worker: { command: node worker.js, health: { command: ./up } }
errors: { ignore: ["ERROR but harmless"], off: true }
"#;

#[test]
fn a_full_manifest_is_understood() {
    let manifest = parse_king_yaml(FULL).expect("it is right");
    assert_eq!(manifest.build, Some(CommandLine::Shell("npm ci".into())));
    assert_eq!(manifest.needs["node"].to_string(), ">=18");
    let web = &manifest.processes[&"web".parse().unwrap()];
    assert_eq!(web.command, Some(CommandLine::Exec(vec!["node".into(), "server.js".into(), "8".into()])));
    assert_eq!((web.count, web.restart, web.stop_grace_ms), (2, Restart::OnFailure, 2000));
    assert_eq!(web.env["RATIO"], "1.10", "a number stays as it was written");
    assert_eq!(web.env["DEBUG"], "true");
    assert_eq!(web.env["EMPTY"], "");
    assert_eq!(web.ports.len(), 2);
    let health = web.health.as_ref().expect("it has one");
    assert_eq!((health.interval_ms, health.timeout_ms, health.grace_ms), (500, 2000, 60_000));
    assert_eq!(health.failures, 4);
    let errors = Errors::of(manifest.errors.as_ref(), web.errors.as_ref()).expect("it has some");
    assert_eq!(
        (&errors.patterns[..], &errors.ignore[..]),
        (&["slow query".into()][..], &["ERROR but harmless".into()][..])
    );
    assert_eq!((errors.is_on(), errors.lines_before(), errors.lines_after()), (true, 2, 5));
    let (limits, rest) = (&web.supervision.limits, &web.supervision);
    assert_eq!((limits.memory_bytes, limits.cpu_milli, limits.pids), (Some(256 << 20), Some(500), Some(100)));
    assert_eq!((limits.open_files, limits.nice), (Some(1024), Some(-5)));
    assert_eq!((rest.user.as_deref(), rest.stop_signal), (Some("www-data"), Some(StopSignal::SigInt)));
    assert!(rest.after.contains(&"worker".parse().unwrap()));
    let worker = &manifest.processes[&"worker".parse().unwrap()];
    assert!(!Errors::of(manifest.errors.as_ref(), worker.errors.as_ref()).expect("the app's").is_on());
    assert_eq!((worker.count, worker.ports.len()), (1, 0));
    let health = worker.health.as_ref().expect("it has one");
    assert_eq!(health.command, Some(CommandLine::Shell("./up".into())));
}

#[test]
fn web_has_a_port_unless_it_says_otherwise() {
    let ports = |text: &str| {
        parse_king_yaml(text).expect("it is right").processes[&"web".parse().unwrap()].ports.len()
    };
    assert_eq!(ports("processes: { web: node server.js }"), 1);
    assert_eq!(ports("processes: { web: { command: node server.js } }"), 1);
    assert_eq!(ports("processes: { web: { command: node server.js, ports: [] } }"), 0);
}

#[test]
fn workers_are_counted_in_three_ways() {
    let workers = |text: &str| {
        let text = format!("processes: {{ web: {{ command: x, workers: {text} }} }}");
        parse_king_yaml(&text)
            .map(|manifest| manifest.processes[&"web".parse().unwrap()].workers.clone().unwrap())
    };
    assert_eq!(workers("auto"), Ok(Workers::AUTO));
    assert_eq!(workers("4"), Ok(Workers::fixed(4)));
    let some = workers("{ min: 2, max: auto, cpu: 50, address: 0.0.0.0 }").expect("it is right");
    assert_eq!((some.min, some.max, some.cpu, some.listen), (Some(2), None, 50, Listen::Shared));
    assert_eq!(some.bound_to().to_string(), "0.0.0.0");
    assert_eq!(workers("{ max: 1, listen: own }").map(|workers| workers.listen), Ok(Listen::Own));
    for (text, reason) in [
        ("0", "from 1 to 64"),
        ("many", "auto, a number, or a map"),
        ("{ min: 3, max: 2 }", "more than `max`"),
        ("{ cpu: 100 }", "from 20 to 95"),
        ("{ max: 2, listen: own }", "a port for each of 2 workers"),
        ("{ listen: alone }", "shared, own"),
        ("{ most: 2 }", "min, max, cpu, listen, address"),
        ("2, restart: never", "restart: always"),
    ] {
        let problem = workers(text).expect_err(text);
        assert!(problem.reason.contains(reason), "{text}: {problem}");
        assert!(problem.place.column > 30, "{text}: {problem}");
    }
}

#[test]
fn anchors_are_unfolded() {
    let text = "processes:\n  web: &one { command: ./run, env: { A: b } }\n  two: *one\n";
    let manifest = parse_king_yaml(text).expect("it is right");
    assert_eq!(manifest.processes[&"two".parse().unwrap()].env["A"], "b");
}

/// Every problem of a `king.yaml` with the line and column where it is found.
#[test]
fn problems_of_a_king_yaml_have_a_place() {
    let cases = [
        ("processes:\n  web:\n    comand: x\n", "3:5"),
        ("processes:\n  web:\n    command: x\n    cuont: 1\n", "4:5"),
        ("biuld: x\nprocesses: { web: x }\n", "1:1"),
        ("processes:\n  web:\n    command: x\n    count: -1\n", "4:12"),
        ("processes:\n  web:\n    command: x\n    count: 10000000\n", "4:12"),
        ("processes:\n  web:\n    command: x\n    count: many\n", "4:12"),
        ("processes:\n  web:\n    command: x\n    env:\n      PORT: 3000\n", "5:7"),
        ("processes:\n  web:\n    command: x\n    env:\n      A: [1]\n", "5:10"),
        ("processes:\n  web:\n    image: Nginx\n", "3:12"),
        ("processes:\n  web:\n    image: { build: ../Dockerfile }\n", "3:12"),
        ("processes:\n  web:\n    image: { biuld: Dockerfile }\n", "3:14"),
        ("processes:\n  web:\n    image: x\n    privileged: true\n", "4:5"),
        ("processes:\n  web:\n    image: x\n    volumes: [\"/etc:/etc\"]\n", "4:15"),
        ("processes:\n  web:\n    image: x\n    volumes: [data]\n", "4:15"),
        ("processes:\n  web:\n    image: x\n    ports: [http: 0]\n", "4:19"),
        ("processes:\n  web:\n    command: x\n    ports: [http: 80]\n", "4:12"),
        ("processes:\n  web:\n    command: x\n    volumes: [\"data:/data\"]\n", "4:14"),
        ("processes:\n  web:\n    count: 1\n", "3:5"),
        ("processes:\n  web:\n    command: x\n    ports: [http, http]\n", "4:12"),
        ("processes:\n  web:\n    command: x\n    ports: [http, \"a.b\"]\n", "4:19"),
        ("processes:\n  web:\n    command: x\n    health: { path: healthz }\n", "4:21"),
        ("processes:\n  web:\n    command: x\n    health: { interval: 5 }\n", "4:25"),
        ("processes:\n  web:\n    command: x\n    health: { interval: 2h }\n", "4:25"),
        ("processes:\n  web:\n    command: x\n    restart: sometimes\n", "4:14"),
        ("processes:\n  web:\n    command: x\n    stop_grace: 1h\n", "4:17"),
        ("processes: { web: x }\nerrors: { patterns: [\"a(b\"] }\n", "2:22"),
        ("processes: { web: x }\nerrors: { patterns: [ok, \"(x{999}){999}\"] }\n", "2:26"),
        ("processes: { web: x }\nerrors: { before: 21 }\n", "2:19"),
        ("processes: { web: x }\nerrors: { off: maybe }\n", "2:16"),
        ("processes:\n  web:\n    command: x\n    errors: { ignore: [a, \"[\"] }\n", "4:27"),
        ("processes:\n  web:\n    command: x\n    errors: { pattern: [a] }\n", "4:15"),
        ("processes:\n  web:\n    command: x\n    stop_signal: SIGKILL\n", "4:18"),
        ("processes:\n  web:\n    command: x\n    limits: { memory: 256 }\n", "4:23"),
        ("processes:\n  web:\n    command: x\n    limits: { memory: 1KB }\n", "4:23"),
        ("processes:\n  web:\n    command: x\n    limits: { cpu: half }\n", "4:20"),
        ("processes:\n  web:\n    command: x\n    limits: { ram: 1GB }\n", "4:15"),
        ("processes:\n  web:\n    command: x\n    limits: { nice: 20 }\n", "4:21"),
        ("processes:\n  web:\n    command: x\n    user: \"a b\"\n", "4:11"),
        ("processes:\n  web:\n    command: x\n    after: [db]\n", "4:12"),
        ("processes:\n  web: { command: x, after: [two] }\n  two: { command: x, after: [web] }\n", "3:29"),
        ("processes:\n  a:\n    command: x\n    health: { command: y, path: / }\n", "4:24"),
        ("needs: { node: new }\nprocesses: { web: x }\n", "1:16"),
        ("processes:\n  Web: x\n", "2:3"),
        ("processes:\n  web: x\n  web: y\n", "3:3"),
        ("processes: {}\n", "1:12"),
        ("processes: [web]\n", "1:12"),
        ("build: x\n", "1:1"),
        ("", "1:1"),
        ("processes:\n  web: \"\"\n", "2:8"),
        ("processes:\n  web: \"x\n", "3:1"),
        ("processes:\n\tweb: x\n", "2:2"),
        ("processes: { web: x }\n---\nprocesses: { web: x }\n", "2:1"),
        ("&a x\n", "1:4"),
    ];
    let (mut answers, mut elsewhere) = (String::new(), String::new());
    for (text, place) in cases {
        let problem = parse_king_yaml(text).expect_err(text);
        answers.push_str(&format!("{text}=> {problem}\n\n"));
        if problem.place.to_string() != place {
            elsewhere.push_str(&format!("{text}=> {problem}, not {place}\n\n"));
        }
        assert!(!problem.reason.contains('\n'), "{problem}");
    }
    assert_eq!(elsewhere, "");
    insta::assert_snapshot!(answers);
}

#[test]
fn problems_of_a_procfile_have_a_place() {
    let cases = [
        ("web node server.js\n", "1:1"),
        ("# a comment\n\nweb: node server.js\nWorker: x\n", "4:1"),
        ("web: x\nweb: y\n", "2:1"),
        ("web:   \n", "1:8"),
        ("# nothing\n", "1:1"),
    ];
    for (text, place) in cases {
        let problem = parse_procfile(text).expect_err(text);
        assert_eq!(problem.place.to_string(), place, "{text}=> {problem}");
    }
    let long = format!("web: x\nworker:   {}\n", "y".repeat(5000));
    let problem = parse_procfile(&long).expect_err("the command is too long");
    assert_eq!(problem.place.to_string(), "2:11", "{problem}");
}

#[test]
fn a_procfile_is_understood() {
    let manifest =
        parse_procfile("# two\nweb: node server.js --port $PORT\r\n\nworker: ruby a.rb: b\n").unwrap();
    let web = &manifest.processes[&"web".parse().unwrap()];
    assert_eq!(web.command, Some(CommandLine::Shell("node server.js --port $PORT".into())));
    let worker = &manifest.processes[&"worker".parse().unwrap()];
    assert_eq!(worker.command, Some(CommandLine::Shell("ruby a.rb: b".into())));
}

#[test]
fn bytes_that_are_no_text_are_refused_with_their_place() {
    let problem = parse(KING_YAML, b"processes:\n  web: \xff\n").expect_err("it is no UTF-8");
    assert_eq!(problem.to_string(), "king.yaml:2:8: is not UTF-8; save it as UTF-8");
    let problem = parse(PROCFILE, &vec![b'a'; 70_000]).expect_err("it is too large");
    assert_eq!(problem.to_string(), "Procfile:1:1: has 70000 bytes; at most 65536");
}

#[test]
fn bombs_are_refused_quickly() {
    let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x, x, x]\n");
    for letter in 'b'..='j' {
        let before = char::from(letter as u8 - 1);
        let ten = vec![format!("*{before}"); 10].join(", ");
        bomb.push_str(&format!("{letter}: &{letter} [{ten}]\n"));
    }
    parse_king_yaml(&bomb).expect_err("it would unfold into ten thousand million values");
    parse_king_yaml(&"[".repeat(60_000)).expect_err("it is too deep");
    parse_king_yaml(&"a: ".repeat(20_000)).expect_err("it is no YAML");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}", lines in "([ a-z:\\[\\]{}&*\"'#|>-]{0,12}\n){0,20}") {
        let _ = (parse_king_yaml(&text), parse_procfile(&text));
        let _ = (parse_king_yaml(&lines), parse_procfile(&lines));
    }
}

/// The examples of the documentation are right.
#[test]
fn the_documented_examples_are_understood() {
    let document = include_str!("../../../docs/manifest.md");
    let examples: Vec<&str> = document.split("```yaml\n").skip(1).map(fence).collect();
    assert_eq!(examples.len(), 5);
    for example in examples {
        parse_king_yaml(example).expect(example);
    }
}

fn fence(rest: &str) -> &str {
    rest.split("```").next().unwrap_or_default()
}
