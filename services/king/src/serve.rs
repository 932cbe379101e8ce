//! Putting a King together: prove, provision, read the log, serve in whatever role it has.

mod disaster;
mod edge;
mod tasks;

use crate::alarm::{Alarm, AlarmError};
use crate::args::Args;
use crate::effects;
use crate::election::{ElectionError, Fold};
use crate::feed::{Feed, History, RING_EVENTS};
use crate::follower::Follower;
use crate::git::RemoteError;
use crate::helm::{self, HelmError, Turn};
use crate::http::{Metrics, Readiness, ServeError};
use crate::journal::{self, Keeper, KeeperError, RestoreError, Restored};
use crate::kingdom::Kingdom;
use crate::lane::Lane;
use crate::past::{self, Past};
use crate::queries::Queries;
use crate::signer::{Signer, SignerError};
use crate::status::{Identity, Status};
use crate::telemetry::{Exposed, Telemetry};
use crate::throne::{Parts as ThroneParts, Prepared};
use crate::watch::{self, Copies, WatchError};
use crate::writer::Ledger;
use bus::compare::CompareError;
use bus::connect::SubscribeError;
use bus::journal::{Journal, JournalError};
use bus::lease::Lease;
use bus::log::Log;
use bus::objects::ObjectError;
use bus::provision::{Growth, Limits};
use bus::{Bus, connect, durable, provision};
use events::KingId;
use realm::Candidate;
use service::data::{Folder, write_synced};
use service::{Shutdown, clock};
use std::sync::Arc;
use std::time::Duration;
use tasks::Tasks;
use tokio::net::TcpListener;

/// Why a King ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum KingError {
    #[error("could not use the data folder of the King")]
    Folder(#[from] service::data::FolderError),
    #[error("the King cannot sign")]
    Signer(#[from] SignerError),
    #[error(
        "could not read the password of the NATS system user from {path}; name the file with --nats-system-password-file"
    )]
    Password {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("could not start a thread for the connection to NATS; is the host out of threads or memory?")]
    Lane(#[source] std::io::Error),
    #[error("could not connect to NATS")]
    Connect(#[from] connect::ConnectError),
    #[error("the NATS server is not durable, so this King does not serve")]
    Durability(#[from] durable::DurabilityError),
    #[error("the streams and buckets of the kingdom could not be made ready")]
    Provision(#[from] provision::ProvisionError),
    #[error("could not listen for HTTP on {address}; choose another address with --http")]
    Listen {
        address: std::net::SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("could not open the log")]
    OpenLog(#[from] bus::log::LogError),
    #[error("could not read the log")]
    Follow(#[from] ElectionError),
    #[error("could not note which King this is")]
    Note(#[source] service::data::FolderError),
    #[error("this King cannot go on")]
    Helm(#[from] HelmError),
    #[error("the log cannot be compared with the journal")]
    Compare(#[from] CompareError),
    #[error("the log cannot be trusted")]
    Watch(#[from] WatchError),
    #[error("the journal cannot be opened")]
    Journal(#[from] JournalError),
    #[error("this King cannot start from its journal")]
    Restore(#[from] RestoreError),
    #[error("the journal cannot be kept")]
    Keeper(#[from] KeeperError),
    #[error("the alarm could not be raised")]
    Alarm(#[from] AlarmError),
    #[error("queries cannot be heard")]
    Queries(#[from] SubscribeError),
    #[error("the Git remote cannot be served")]
    Git(#[from] RemoteError),
    #[error("the artifact store cannot be opened")]
    Objects(#[from] ObjectError),
    #[error("the path of this program cannot be found, so Git could not call it as its hook")]
    OwnPath(#[source] std::io::Error),
    #[error("HTTP cannot be served")]
    Http(#[from] ServeError),
}

/// The folder of the journal in that of the King.
const JOURNAL: &str = "journal";

/// What every part of a King rests on.
struct King {
    id: KingId,
    signer: Signer,
    past: Past,
    lane: Arc<Lane>,
    telemetry: Telemetry,
    bus: Bus,
    log: Log,
    kingdom: Kingdom,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    status: Status,
    queries: Queries,
    limits: provision::Limits,
    shutdown: Shutdown,
}

/// Serves until it is told to stop. When the log is not what it was, it serves no more, raises the alarm, and begins anew
/// when the log is repaired.
///
/// # Errors
/// What kept it from serving, or ended it.
pub async fn serve(args: &Args, shutdown: &Shutdown) -> Result<(), KingError> {
    let folder = Folder::open(args.common.data.join("king"))?;
    while !shutdown.is_requested() {
        let Err(error) = serve_well(args, &folder, &shutdown.part()).await else { return Ok(()) };
        let disaster = disaster::behind(args, &folder, error).await?;
        let (disaster, epoch) = disaster::as_seen_at_the_end(&folder, disaster).await;
        tracing::error!(reason = %disaster, "the log is not what it was");
        let identity = Identity { king: KingId(clock::fresh_id()), name: args.name(), http: args.http };
        let alarm = Alarm { identity, disaster, epoch, journal: folder.join(JOURNAL) };
        alarm.raise(&args.bus(), listen(args).await?, shutdown).await?;
    }
    Ok(())
}

async fn serve_well(args: &Args, folder: &Folder, shutdown: &Shutdown) -> Result<(), KingError> {
    let listener = listen(args).await?;
    // Until the last task has ended: what it said last goes out by the lane.
    let lane = Arc::new(Lane::open().map_err(KingError::Lane)?);
    let mut tasks = Tasks::new(shutdown.clone());
    let started = tokio::select! {
        started = start(args, &lane, folder, listener, &mut tasks) => started,
        () = shutdown.requested() => return Ok(()),
    };
    match started {
        Ok(()) => {
            tracing::info!(http = %args.http, data = %folder.path().display(), "ready");
            tasks.wait().await
        }
        Err(error) => {
            // What was begun lets go of the journal and of the listener.
            shutdown.request();
            tasks.wait().await.and(Err(error))
        }
    }
}

async fn listen(args: &Args) -> Result<TcpListener, KingError> {
    let bound = TcpListener::bind(args.http).await;
    bound.map_err(|source| KingError::Listen { address: args.http, source })
}

/// HTTP is there first and says what is waited for; then the journal and the log are read, and everything else follows.
async fn start(
    args: &Args,
    lane: &Arc<Lane>,
    folder: &Folder,
    listener: TcpListener,
    tasks: &mut Tasks,
) -> Result<(), KingError> {
    let (king, journal) = King::connect(args, lane, folder, tasks.shutdown()).await?;
    edge::open(&king, args, folder, listener, tasks).await?;
    let fold = king.keep(args, journal, tasks).await?;
    let follower = Follower::start(king.log.clone(), king.kingdom.clone(), fold).await?;
    tracing::info!(event = follower.fold().state.last, king = %king.id, name = %args.name(), "the log is read");
    king.work(args, folder, follower, tasks)
}

impl King {
    async fn connect(
        args: &Args,
        lane: &Arc<Lane>,
        folder: &Folder,
        shutdown: &Shutdown,
    ) -> Result<(Self, Journal), KingError> {
        let options = args.bus();
        let bus = lane.run(async move { connect::connect(&options).await }).await?;
        let replicas = prove(args).await?.replicas();
        // Before anything is made: a log that is gone must not be replaced by an empty one.
        let journal = disaster::open(folder).await?;
        if let Some(disaster) = watch::look_first(&bus, &journal).await? {
            return Err(WatchError::from(disaster).into());
        }
        let growth = if args.more_copies { Growth::Allowed } else { Growth::Refused };
        let limits = Limits { replicas, growth, ..Limits::default() };
        provision::provision(&bus, &limits).await?;
        let log = Log::open(&bus).await?;
        journal.set_origin(log.created_at())?;
        let id = KingId(clock::fresh_id());
        let metrics = Arc::new(Metrics::new());
        let kingdom = Kingdom::new(Feed::new(History::of_log(log.clone()), RING_EVENTS), metrics.clone());
        let readiness = Readiness::new(
            "starting",
            "the King is starting: it reads the log, then looks for the one that writes",
        );
        let identity = Identity { king: id, name: args.name(), http: args.http };
        let status = Status::new(identity, kingdom.clone(), readiness.clone(), metrics.clone());
        let signer = Signer::open(&folder.join("audit.key"))?;
        let past = Past::new(kingdom.clone(), log.clone(), signer.clone());
        let telemetry = Telemetry::new(kingdom.clone());
        metrics.ask_too(Exposed(telemetry.clone()));
        let king = Self {
            id,
            queries: Queries::new(
                bus.clone(),
                kingdom.clone(),
                metrics.clone(),
                status.clone(),
                past.clone(),
                telemetry.clone(),
            ),
            signer,
            past,
            lane: lane.clone(),
            telemetry,
            bus,
            log,
            kingdom,
            metrics,
            readiness,
            status,
            limits,
            shutdown: shutdown.clone(),
        };
        Ok((king, journal))
    }

    /// Folds what the journal holds, and from here on keeps it and watches the log.
    async fn keep(&self, args: &Args, journal: Journal, tasks: &mut Tasks) -> Result<Fold, KingError> {
        let restored = tokio::task::spawn_blocking(|| journal::restore(journal));
        let Restored { journal, fold, set_aside } = restored.await.expect("a start does not panic")?;
        tracing::info!(event = fold.state.last, sequence = fold.sequence, "has read the journal");
        self.metrics.journal_set_aside.inc_by(set_aside);
        let stop = self.shutdown.clone();
        let copies = Copies::new(self.status.clone(), self.metrics.clone(), system(args)?);
        tasks.spawn(watch::run(self.bus.clone(), journal.clone(), copies, stop.clone()));
        self.past.begin(journal.clone(), |bytes| journal::snapshot::decode(bytes).ok());
        let (kingdom, metrics) = (self.kingdom.clone(), self.metrics.clone());
        let keeper = Keeper::new(&self.log, kingdom, metrics, journal, fold.clone());
        tasks.spawn_last(|others_ended| keeper.run(stop, others_ended));
        Ok(fold)
    }

    fn candidate(&self) -> Candidate {
        Candidate { king: self.id, key: Some(self.signer.key()) }
    }

    /// What every King does, whether it writes or not, and the helm, which decides that.
    fn work(
        &self,
        args: &Args,
        folder: &Folder,
        follower: Follower,
        tasks: &mut Tasks,
    ) -> Result<(), KingError> {
        let turn = Turn {
            forerunner: take_note(folder, self.id)?,
            lease: Duration::from_millis(args.lease_ms),
            seed: clock::fresh_id().as_u64_pair().1,
        };
        let lease = Lease::new(&self.bus, &self.limits);
        let (parts, status, stop) = (self.throne(), self.status.clone(), self.shutdown.clone());
        tasks.spawn(self.queries.clone().run(stop.clone()));
        tasks.spawn_plain(self.past.clone().keep_index(stop.clone()));
        let telemetry = self.telemetry.clone();
        tasks.spawn_plain(telemetry.follow(self.bus.clone(), self.limits.clone(), stop.clone()));
        let (past, bus) = (self.past.clone(), self.bus.clone());
        tasks.spawn_plain(past::sign_now_and_then(past, bus, self.id, stop.clone()));
        tasks.spawn(helm::run(parts, status, lease, turn, follower, stop.clone()));
        tasks.spawn_plain(effects::watch_link(self.bus.clone(), self.readiness.clone(), stop));
        Ok(())
    }

    fn throne(&self) -> ThroneParts {
        ThroneParts {
            candidate: self.candidate(),
            lane: self.lane.clone(),
            bus: self.bus.clone(),
            log: self.log.clone(),
            kingdom: self.kingdom.clone(),
            metrics: self.metrics.clone(),
            readiness: self.readiness.clone(),
            ledger: Ledger::default(),
            prepared: Prepared::default(),
        }
    }
}

/// The King that used this folder before; this one takes its place. The folder is held, so the one before is no more.
fn take_note(folder: &Folder, king: KingId) -> Result<Option<KingId>, KingError> {
    let path = folder.join("last-king");
    let forerunner = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
    write_synced(&path, format!("{king}\n").as_bytes(), 0o600).map_err(KingError::Note)?;
    Ok(forerunner)
}

fn system(args: &Args) -> Result<bus::Options, KingError> {
    args.system().map_err(|source| KingError::Password {
        path: args.nats_system_password_file.display().to_string(),
        source,
    })
}

async fn prove(args: &Args) -> Result<durable::Proof, KingError> {
    let proof = durable::prove(&system(args)?).await?;
    tracing::info!(servers = ?proof.servers, cluster = proof.cluster, "every NATS server that runs is durable");
    if !proof.silent.is_empty() {
        tracing::warn!(servers = ?proof.silent, "these NATS servers are down; whether they are durable is not proved");
    }
    Ok(proof)
}
