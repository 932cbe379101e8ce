//! The rules of a servant: who may be it, what it is told, what becomes of instances when it, or the bus, goes away.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use events::answer::{Refusal, RefusalCode, Verdict};
use events::manifest::HealthCheck;
use events::report::{InstanceNews, ServantNews};
use events::view::{Assignment, Stamp, Stamped};
use events::{InstanceId, News};
use std::process::Stdio;
use std::time::Duration;
use support::*;

#[tokio::test(flavor = "multi_thread")]
async fn two_servants_on_one_folder_are_refused() {
    let kingdom = Kingdom::with_servant(&[]).await;
    let second = kingdom.spawn_servant(Stdio::piped()).wait_with_output().unwrap();
    let message = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1));
    assert!(message.contains("is in use by process"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_servant_that_the_king_refuses_ends_and_says_why() {
    let kingdom = Kingdom::with_verdict(|report| match report.news {
        News::Servant(ServantNews::Register(_)) => Verdict::Refused(Refusal {
            code: RefusalCode::Conflict,
            field: "name".into(),
            rule: "the name \"one\" is held by the servant 7".into(),
            fix: "start this servant with another --name, or remove the other with `kingctl servant remove`"
                .into(),
        }),
        News::Servant(_) | News::Instance(_) | News::Exec(_) => Verdict::Committed,
    })
    .await;
    let servant = kingdom.spawn_servant(Stdio::piped());
    let output = tokio::task::spawn_blocking(|| servant.wait_with_output()).await.unwrap().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(message.contains("is held by the servant 7") && message.contains("another --name"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_end_it_leaves_its_instances_running() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    let release = kingdom.release(1, &[("x", "x")], script("exec sleep 1000")).await;
    let one = instance(&release);
    kingdom.assign(&[&release], &[&one]).await;
    let heard = kingdom.wait("it is ready", |heard| heard.is_ready(one.instance)).await;
    kingdom.end_servant();
    assert_eq!(processes_of(one.instance), heard.pids(one.instance));
    // Retired while the servant is away, it is stopped when it is back.
    kingdom.assign(&[], &[]).await;
    kingdom.start_servant();
    kingdom.wait("it is stopped", |heard| heard.is_stopped(one.instance)).await;
    assert!(processes_of(one.instance).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_take_its_instances_with_it_and_starts_them_again_without_the_king() {
    let mut kingdom = Kingdom::with_servant(&["--stop-instances-on-exit"]).await;
    let release = kingdom
        .release(
            1,
            &[("x", "x")],
            script("trap 'echo bye; exit 0' TERM; echo hi; while true; do sleep 0.05; done"),
        )
        .await;
    let one = instance(&release);
    kingdom.assign(&[&release], &[&one]).await;
    kingdom.wait("it is ready", |heard| heard.is_ready(one.instance)).await;
    kingdom.lines(one.instance, "stdout", 1).await;
    kingdom.end_servant();
    assert!(processes_of(one.instance).is_empty());
    kingdom.wait("it is said to be stopped", |heard| heard.is_stopped(one.instance)).await;
    let folder = kingdom.instance_folder(one.instance).display().to_string();
    let holders =
        || processes().into_iter().any(|pid| read(format!("/proc/{pid}/cmdline").as_ref()).contains(&folder));
    until("its holder is gone", || !holders()).await;
    kingdom.start_servant();
    let heard = kingdom.wait("it runs again", |heard| heard.pids(one.instance).len() == 2).await;
    let is_crash = |news: &InstanceNews| matches!(news, InstanceNews::Exited(_));
    assert!(!heard.of(one.instance).iter().any(is_crash), "{:?}", heard.of(one.instance));
    let lines = kingdom.lines(one.instance, "stdout", 3).await;
    assert_eq!(lines.values().map(String::as_str).collect::<Vec<_>>(), ["hi", "bye", "hi"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_assignment_is_refused_and_unknown_instances_are_said_to_be_gone() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    let release = kingdom.release(1, &[("x", "x")], script("exec sleep 1000")).await;
    let one = instance(&release);
    kingdom.assign(&[&release], &[&one]).await;
    kingdom.wait("it is ready", |heard| heard.is_ready(one.instance)).await;
    kingdom.kill_servant();
    // The bucket was lost, and came back from an older time.
    let id = kingdom.heard().registration().unwrap().servant;
    kingdom.server.lose_everything();
    kingdom.bus = kingdom.server.provisioned().await;
    kingdom
        .put_view(id, &Stamped { stamp: Stamp { epoch: 0, event: 99 }, view: Assignment::default() })
        .await;
    kingdom.start_servant();
    let registered =
        |heard: &Heard| heard.news().filter(|news| matches!(news, News::Servant(_))).count() == 2;
    kingdom.wait("it registers again", registered).await;
    assert!(!processes_of(one.instance).is_empty());
    let unknown = InstanceId(service::clock::fresh_id());
    let stopping = Assignment { stopping: vec![unknown, one.instance], ..Assignment::default() };
    kingdom.put_view(id, &Stamped { stamp: Stamp { epoch: 1, event: 2 }, view: stopping }).await;
    kingdom.wait("the unknown one is gone", |heard| heard.is_stopped(unknown)).await;
    kingdom.wait("the known one too", |heard| heard.is_stopped(one.instance)).await;
    assert!(processes_of(one.instance).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unhealthy_instance_is_restarted() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    // It answers well once, and then never again.
    let server = "import os, http.server
count = 0
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global count
        count += 1
        self.send_response(200 if count == 1 else 503); self.end_headers()
http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), H).serve_forever()
";
    let mut process = web("exec python3 server.py");
    process.health =
        Some(HealthCheck { path: Some("/".into()), interval_ms: 50, failures: 2, ..HealthCheck::default() });
    let release = kingdom.release(1, &[("server.py", server)], process).await;
    let one = with_port(&release, free_port());
    kingdom.assign(&[&release], &[&one]).await;
    let heard = kingdom.wait("it is started again", |heard| heard.pids(one.instance).len() == 2).await;
    let kinds: Vec<_> = heard.of(one.instance).iter().map(InstanceNews::kind).collect();
    assert_eq!(kinds, ["instance.started", "instance.ready", "instance.unhealthy", "instance.started"]);
    let says_why =
        |news: &InstanceNews| matches!(news, InstanceNews::Unhealthy(news) if news.reason.contains("503"));
    assert!(heard.of(one.instance).iter().any(says_why));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_bus_instances_run_on_and_nothing_is_lost() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    let counting = "i=0; while [ $i -lt 100 ]; do i=$((i+1)); echo $$ $i; sleep 0.01; done; sleep 1000";
    let release = kingdom.release(1, &[("x", "x")], script(counting)).await;
    let one = instance(&release);
    kingdom.assign(&[&release], &[&one]).await;
    let heard = kingdom.wait("it is started", |heard| !heard.pids(one.instance).is_empty()).await;
    let first = heard.pids(one.instance)[0];
    kingdom.lines(one.instance, "stdout", 10).await;
    kingdom.server.kill();
    signal(first, "KILL");
    let folder = kingdom.instance_folder(one.instance);
    until("a successor", || last_pid(&folder) != first).await;
    let second = last_pid(&folder);
    tokio::time::sleep(Duration::from_millis(200)).await;
    kingdom.server.restart();
    let heard = kingdom.wait("all is reported", |heard| heard.pids(one.instance).len() == 2).await;
    assert_eq!(heard.pids(one.instance), [first, second]);
    let is_exit = |news: &InstanceNews| matches!(news, InstanceNews::Exited(news) if news.pid == first);
    assert_eq!(heard.of(one.instance).iter().filter(|news| is_exit(news)).count(), 1);
    let lines = kingdom.lines(one.instance, "stdout", 110).await;
    let of_second: Vec<_> =
        lines.values().filter_map(|line| line.strip_prefix(&format!("{second} "))).collect();
    assert_eq!(of_second[0], "1");
    assert!(
        of_second
            .windows(2)
            .all(|pair| pair[0].parse::<u32>().unwrap() + 1 == pair[1].parse::<u32>().unwrap())
    );
    assert_eq!(lines.keys().copied().collect::<Vec<_>>(), (1..=lines.len() as u64).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_output_does_not_block_the_app_or_the_servant() {
    let mut kingdom = Kingdom::with_servant(&[]).await;
    // 64 MB in lines of 1 KB, then word of how long it took.
    let flood = "import os, sys, time
begun = time.monotonic()
line = b'x' * 1023 + b'\\n'
for _ in range(1024):
    os.write(1, line * 64)
os.write(2, b'%d\\n' % ((time.monotonic() - begun) * 1000))
time.sleep(1000)
";
    let release = kingdom.release(1, &[("flood.py", flood)], script("exec python3 flood.py")).await;
    let one = instance(&release);
    kingdom.assign(&[&release], &[&one]).await;
    let took = kingdom.lines(one.instance, "stderr", 1).await;
    println!("64 MB of output in {} ms", took[&1]);
    let lines = kingdom.lines(one.instance, "stdout", 64 * 1024).await;
    assert!(lines.values().all(|line| line.len() == 1023));
}
