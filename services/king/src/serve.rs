//! Putting a King together: prove, provision, take over, serve.

mod edge;
mod tasks;

use crate::args::Args;
use crate::effects::{self, EffectError};
use crate::election::{self, Elected, ElectionError};
use crate::feed::{Feed, History, RING_EVENTS};
use crate::git::RemoteError;
use crate::http::{Metrics, Readiness, ServeError};
use crate::kingdom::Kingdom;
use crate::queries::Queries;
use crate::signer::{Signer, SignerError};
use crate::writer::run::Parts as WriterParts;
use crate::writer::{Writer, WriterError};
use bus::connect::SubscribeError;
use bus::log::Log;
use bus::objects::ObjectError;
use bus::provision::{Growth, Limits};
use bus::{Bus, connect, durable, provision};
use events::KingId;
use realm::Candidate;
use service::data::Folder;
use service::{Shutdown, clock};
use std::sync::Arc;
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
    #[error("could not take over")]
    Election(#[from] ElectionError),
    #[error("the writer ended")]
    Writer(#[from] WriterError),
    #[error("views cannot be written")]
    Effects(#[from] EffectError),
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

/// What every part of a King rests on.
struct King {
    id: KingId,
    signer: Signer,
    bus: Bus,
    log: Log,
    kingdom: Kingdom,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    queries: Queries,
    shutdown: Shutdown,
}

/// Serves until it is told to stop.
///
/// # Errors
/// What kept it from serving, or ended it.
pub async fn serve(args: &Args, shutdown: &Shutdown) -> Result<(), KingError> {
    let folder = Folder::open(args.common.data.join("king"))?;
    let listener = TcpListener::bind(args.http)
        .await
        .map_err(|source| KingError::Listen { address: args.http, source })?;
    let mut tasks = Tasks::new(shutdown.clone());
    tokio::select! {
        started = start(args, &folder, listener, &mut tasks) => started?,
        () = shutdown.requested() => return Ok(()),
    }
    tracing::info!(http = %args.http, data = %folder.path().display(), "ready");
    tasks.wait().await
}

/// HTTP is there first and says what is waited for; then the log is read, and everything else follows it.
async fn start(
    args: &Args,
    folder: &Folder,
    listener: TcpListener,
    tasks: &mut Tasks,
) -> Result<(), KingError> {
    let king = King::connect(args, folder, tasks.shutdown()).await?;
    edge::open(&king, args, folder, listener, tasks).await?;
    let elected = election::take_over(&king.log, king.candidate()).await?;
    tracing::info!(epoch = elected.state.epoch, event = elected.state.last, king = %king.id, "this King writes");
    king.kingdom.begin(elected.state.clone(), elected.sequence);
    king.work(elected, tasks).await?;
    king.readiness.clear("starting");
    Ok(())
}

impl King {
    async fn connect(args: &Args, folder: &Folder, shutdown: &Shutdown) -> Result<Self, KingError> {
        let bus = connect::connect(&args.bus()).await?;
        let replicas = prove(args).await?.replicas();
        let growth = if args.more_copies { Growth::Allowed } else { Growth::Refused };
        provision::provision(&bus, &Limits { replicas, growth, ..Limits::default() }).await?;
        let log = Log::open(&bus).await?;
        let id = KingId(clock::fresh_id());
        let metrics = Arc::new(Metrics::new());
        let kingdom = Kingdom::new(Feed::new(History::of_log(log.clone()), RING_EVENTS), metrics.clone());
        Ok(Self {
            id,
            signer: Signer::open(&folder.join("audit.key"))?,
            queries: Queries::new(bus.clone(), kingdom.clone(), metrics.clone(), id),
            bus,
            log,
            kingdom,
            metrics,
            readiness: Readiness::new("starting", "the King is starting: it reads the log"),
            shutdown: shutdown.clone(),
        })
    }

    fn candidate(&self) -> Candidate {
        Candidate { king: self.id, key: Some(self.signer.key()) }
    }

    async fn work(&self, elected: Elected, tasks: &mut Tasks) -> Result<(), KingError> {
        let parts = WriterParts {
            bus: self.bus.clone(),
            log: self.log.clone(),
            kingdom: self.kingdom.clone(),
            metrics: self.metrics.clone(),
            readiness: self.readiness.clone(),
        };
        let writer = Writer::new(parts, elected).await?;
        let (bus, kingdom, metrics, stop) = (&self.bus, &self.kingdom, &self.metrics, &self.shutdown);
        tasks.spawn(writer.run(stop.clone()));
        tasks.spawn(self.queries.clone().run(stop.clone()));
        tasks.spawn(effects::write_views(bus.clone(), kingdom.clone(), metrics.clone(), stop.clone()));
        tasks.spawn_plain(effects::publish_events(
            bus.clone(),
            kingdom.clone(),
            metrics.clone(),
            stop.clone(),
        ));
        tasks.spawn_plain(effects::purge_inbox(bus.clone(), kingdom.clone(), stop.clone()));
        tasks.spawn_plain(effects::watch_link(bus.clone(), self.readiness.clone(), stop.clone()));
        Ok(())
    }
}

async fn prove(args: &Args) -> Result<durable::Proof, KingError> {
    let system = args.system().map_err(|source| KingError::Password {
        path: args.nats_system_password_file.display().to_string(),
        source,
    })?;
    let proof = durable::prove(&system).await?;
    tracing::info!(servers = ?proof.servers, cluster = proof.cluster, "every NATS server that runs is durable");
    if !proof.silent.is_empty() {
        tracing::warn!(servers = ?proof.silent, "these NATS servers are down; whether they are durable is not proved");
    }
    Ok(proof)
}
