//! A remote for a test: a real nats-server, the real routes on a free port, the real hook, and a writer of the
//! kingdom that is played: it takes every push whose references compare, and records it.

use axum::serve::ListenerExt;
use bus::Bus;
use bus::objects::Objects;
use events::command::{AppCommand, Order, PushApp};
use events::subject::HEADER_ID;
use events::wire::{self, Format};
use events::{Answer, AppName, Digest, Outcome, Refusal, RefusalCode};
use king::git::{GitOptions, Remote, RepositoryState};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

const NATS: &str = r#"
listen: 127.0.0.1:PORT
jetstream { store_dir: "FOLDER/js", sync_interval: always, max_file: 64GB }
max_payload: 1MB
accounts {
  KING { jetstream: enabled, users: [ { user: king, password: king } ] }
  SYS { users: [ { user: system, password: system } ] }
}
system_account: SYS
no_auth_user: king
"#;

/// What the played writer has taken.
#[derive(Default)]
pub struct Taken {
    pub repositories: BTreeMap<AppName, RepositoryState>,
    pub pushes: Vec<PushApp>,
    /// How many of the next pushes are taken without an answer.
    pub silent: usize,
    /// A bundle that comes to the repository just before the next one that replaces others.
    pub overtaking: Option<Digest>,
}

pub struct Kingdom {
    pub folder: TempDir,
    remote: Arc<Remote>,
    pub objects: Objects,
    pub taken: Arc<Mutex<Taken>>,
    pub port: u16,
    bus: Bus,
    limits: GitOptions,
    nats: Option<Child>,
}

impl Drop for Kingdom {
    fn drop(&mut self) {
        if let Some(mut nats) = self.nats.take() {
            nats.kill().unwrap();
            nats.wait().unwrap();
        }
    }
}

impl Kingdom {
    pub async fn start() -> Self {
        Self::start_with(|options| options).await
    }

    pub async fn start_with(limits: impl FnOnce(GitOptions) -> GitOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (nats, url) = start_nats(folder.path());
        let options = bus::Options { url, name: "test".into(), credentials: None };
        let bus = bus::connect(&options).await.unwrap();
        bus::provision::provision(&bus, &bus::provision::Limits::default()).await.unwrap();
        let objects = Objects::open(&bus).await.unwrap();
        let taken = Arc::new(Mutex::new(Taken::default()));
        play_the_writer(&bus, Arc::clone(&taken)).await;
        let limits = limits(GitOptions::new(folder.path().join("git"), env!("CARGO_BIN_EXE_king")));
        let nats = Some(nats);
        let (remote, port) = serve(&limits, &bus, &objects, &taken).await;
        Self { folder, remote, objects, taken, port, bus, limits, nats }
    }

    /// A remote that is started anew over the same folder and state; gives its port.
    pub async fn start_again(&mut self) {
        let (remote, port) = serve(&self.limits, &self.bus, &self.objects, &self.taken).await;
        (self.remote, self.port) = (remote, port);
    }

    pub fn url(&self, app: &str) -> String {
        format!("http://127.0.0.1:{}/git/{app}.git", self.port)
    }

    pub fn cache(&self, app: &str) -> PathBuf {
        self.folder.path().join(format!("git/{app}.git"))
    }

    /// As if the disk were a new one. A push that has ended may still move the references of its cache, until somebody
    /// else has read them.
    pub fn lose_cache(&self, app: &str) {
        git(self.folder.path(), &["ls-remote", &self.url(app)]).ok();
        std::fs::remove_dir_all(self.cache(app)).unwrap();
    }

    pub fn repository(&self, app: &str) -> Option<RepositoryState> {
        self.taken.lock().unwrap().repositories.get(&app.parse().unwrap()).cloned()
    }

    /// A repository of a pusher with these files in its one commit.
    pub fn work(&self, files: &[(&str, &str)]) -> Work {
        let path = self.folder.path().join(format!("work-{}", service::clock::fresh_id()));
        std::fs::create_dir(&path).unwrap();
        let work = Work { path };
        work.git(&["init", "-q", "-b", "main", "."]).ok();
        work.commit(files);
        work
    }
}

async fn serve(
    limits: &GitOptions,
    bus: &Bus,
    objects: &Objects,
    taken: &Arc<Mutex<Taken>>,
) -> (Arc<Remote>, u16) {
    let states = Arc::clone(taken);
    let state = Arc::new(move |app: &AppName| states.lock().unwrap().repositories.get(app).cloned());
    let remote = Arc::new(
        Remote::new(
            limits.clone(),
            bus.clone(),
            objects.clone(),
            state,
            Arc::new(|_| Box::pin(async { true })),
        )
        .await
        .unwrap(),
    );
    tokio::spawn(Arc::clone(&remote).run_hooks(std::future::pending()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = Arc::clone(&remote).router();
    let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (remote, port)
}

/// A repository of a pusher.
pub struct Work {
    pub path: PathBuf,
}

impl Work {
    pub fn commit(&self, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = self.path.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        self.git(&["add", "-A"]).ok();
        self.git(&["commit", "-q", "--allow-empty", "-m", "work"]).ok();
    }

    pub fn git(&self, arguments: &[&str]) -> Ran {
        git(&self.path, arguments)
    }

    pub fn start(&self, arguments: &[&str]) -> Running {
        let mut command = git_command(&self.path, arguments);
        command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running { child: command.spawn().unwrap() }
    }
}

/// What a command of the pusher's Git printed.
pub struct Ran {
    pub output: Output,
}

impl Ran {
    pub fn text(&self) -> String {
        let (out, error) = (&self.output.stdout, &self.output.stderr);
        format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(error))
    }

    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.output.status.success(), "{}", self.text());
        self.text()
    }

    #[track_caller]
    pub fn fails(self) -> String {
        assert!(!self.output.status.success(), "{}", self.text());
        self.text()
    }
}

/// Runs the pusher's Git; the test's own threads go on serving meanwhile.
pub fn git(folder: &Path, arguments: &[&str]) -> Ran {
    Ran { output: tokio::task::block_in_place(|| git_command(folder, arguments).output().unwrap()) }
}

fn git_command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_NAME"), "a")))
        .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_EMAIL"), "a@example.com")));
    command
}

/// A Git of the pusher's that runs beside the test.
pub struct Running {
    child: Child,
}

impl Running {
    /// Ends it with its children, at once.
    pub fn kill(mut self) {
        let group = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
        self.child.wait().unwrap();
    }
}

fn start_nats(folder: &Path) -> (Child, String) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = NATS.replace("PORT", &port.to_string()).replace("FOLDER", folder.to_str().unwrap());
    std::fs::write(folder.join("nats.conf"), config).unwrap();
    let local = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/bin/nats-server");
    let binary = if local.is_file() { local } else { PathBuf::from("nats-server") };
    let log = std::fs::File::create(folder.join("nats.log")).unwrap();
    let child = Command::new(binary)
        .arg("-c")
        .arg(folder.join("nats.conf"))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("nats-server is installed by scripts/bootstrap, or on the PATH");
    (child, format!("nats://127.0.0.1:{port}"))
}

async fn play_the_writer(bus: &Bus, taken: Arc<Mutex<Taken>>) {
    let mut commands = bus.subscribe("king.cmd.app.push").await.unwrap();
    let bus = bus.clone();
    tokio::spawn(async move {
        while let Some(message) = commands.next().await {
            let order = Format::MessagePack.decode_order("app.push", 1, &message.payload).unwrap();
            let Order::App(AppCommand::Push(push)) = order else { unreachable!("it is a push") };
            let id = message.header(HEADER_ID).map(|id| id.parse().unwrap());
            let outcome = take(&mut taken.lock().unwrap(), push);
            let Some(outcome) = outcome else { continue };
            bus.answer(&message, wire::encode(&Answer { id, outcome })).await.unwrap();
        }
    });
}

/// None is no answer.
fn take(taken: &mut Taken, push: PushApp) -> Option<Outcome> {
    let mut state = taken.repositories.get(&push.app).cloned().unwrap_or_default();
    for change in &push.refs {
        if state.refs.get(&change.name).copied() != change.old {
            return Some(refused("refs", format!("{} is elsewhere", change.name)));
        }
        match change.new {
            Some(new) => state.refs.insert(change.name.clone(), new),
            None => state.refs.remove(&change.name),
        };
    }
    if let Some(bundle) = &push.bundle {
        if !bundle.replaces.is_empty()
            && let Some(other) = taken.overtaking.take()
        {
            taken.repositories.entry(push.app.clone()).or_default().bundles.push(other);
            state.bundles.push(other);
        }
        if !bundle.replaces.is_empty() && bundle.replaces != state.bundles {
            return Some(refused("bundle.replaces", "it replaces others".into()));
        }
        state.bundles.retain(|known| !bundle.replaces.contains(known));
        state.bundles.push(bundle.digest);
    }
    for version in &push.versions {
        state.versions.insert(version.version.clone(), Some(version.commit));
    }
    taken.repositories.insert(push.app.clone(), state);
    taken.pushes.push(push);
    if taken.silent > 0 {
        taken.silent -= 1;
        return None;
    }
    Some(Outcome::Accepted { event: taken.pushes.len() as u64, release: None })
}

fn refused(field: &str, rule: String) -> Outcome {
    let fix = "fetch and push again".into();
    let refusal = Refusal { code: RefusalCode::Conflict, field: field.into(), rule, fix };
    Outcome::Refused { event: None, refusal }
}
