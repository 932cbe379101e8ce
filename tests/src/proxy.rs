//! A TCP proxy that is a bad network on command: it holds bytes back in one or both directions, delays them, refuses
//! connections, resets them, or leaves one side believing in a connection that is gone.
//!
//! Held bytes are not lost: they arrive when the weather is fair again, as TCP would send them again.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

/// Bytes that one direction of one connection holds at most.
const CHUNK: usize = 64 * 1024;

/// What the network is like. `There` is from the one who connects, `Back` towards it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    Fair,
    /// Every chunk of bytes takes so long, in each direction.
    Slow(Duration),
    /// Nothing arrives in either direction; nobody is told.
    Held,
    HeldThere,
    HeldBack,
    /// New connections are reset.
    Refused,
}

/// What happens to the connections that stand, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    /// Both sides get a reset.
    Reset,
    /// The far side gets a reset; the one who connected is not told.
    HalfOpen,
}

#[derive(Clone, Copy, Debug)]
struct Sky {
    weather: Weather,
    /// The last blow, and how many there were.
    blow: Blow,
    blows: u64,
}

#[derive(Clone, Copy)]
enum Way {
    There,
    Back,
}

/// A proxy to one address. Its connections end with it.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    sky: watch::Sender<Sky>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Starts one in fair weather, on a free port of loopback.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn to(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("there are free ports");
        let port = listener.local_addr().expect("it is bound").port();
        let (sky, seen) = watch::channel(Sky { weather: Weather::Fair, blow: Blow::Reset, blows: 0 });
        let task = tokio::spawn(accept(listener, (Ipv4Addr::LOCALHOST, target).into(), seen));
        Self { port, sky, task }
    }

    /// Where to connect instead of the target.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes the weather, for connections that stand and for new ones.
    pub fn set(&self, weather: Weather) {
        self.sky.send_modify(|sky| sky.weather = weather);
    }

    /// Resets every connection that stands.
    pub fn reset(&self) {
        self.blow(Blow::Reset);
    }

    /// Resets every connection that stands towards the target only; whoever connected goes on in good faith.
    pub fn half_open(&self) {
        self.blow(Blow::HalfOpen);
    }

    fn blow(&self, blow: Blow) {
        self.sky.send_modify(|sky| (sky.blow, sky.blows) = (blow, sky.blows + 1));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, sky: watch::Receiver<Sky>) {
    let mut connections = JoinSet::new();
    loop {
        // One that failed concerns whoever tried; the next may be better.
        let Ok((near, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        if sky.borrow().weather == Weather::Refused {
            reset(near);
        } else {
            connections.spawn(carry(near, target, sky.clone()));
        }
    }
}

/// A connection that is dropped with bytes of the other side unread is reset; this makes it certain.
fn reset(stream: TcpStream) {
    // A connection that is gone already needs no reset.
    let _ = stream.set_zero_linger();
}

async fn carry(mut near: TcpStream, target: SocketAddr, mut sky: watch::Receiver<Sky>) {
    let blows = sky.borrow_and_update().blows;
    let Ok(mut far) = TcpStream::connect(target).await else { return reset(near) };
    let blow = {
        let (near_read, near_write) = near.split();
        let (far_read, far_write) = far.split();
        let (there, back) = (sky.clone(), sky.clone());
        tokio::select! {
            () = pump(near_read, far_write, there, Way::There) => None,
            () = pump(far_read, near_write, back, Way::Back) => None,
            blown = sky.wait_for(|sky| sky.blows != blows) => blown.ok().map(|sky| sky.blow),
        }
    };
    match blow {
        Some(Blow::Reset) => {
            reset(near);
            reset(far);
        }
        Some(Blow::HalfOpen) => {
            reset(far);
            swallow(near).await;
        }
        None => {}
    }
}

/// Carries the bytes of one direction until it ends.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut sky: watch::Receiver<Sky>,
    way: Way,
) {
    let mut chunk = vec![0; CHUNK];
    loop {
        let Ok(length @ 1..) = from.read(&mut chunk).await else { return };
        let weather = sky.borrow().weather;
        if let Weather::Slow(delay) = weather {
            sleep(delay).await;
        }
        if sky.wait_for(|sky| passes(sky.weather, way)).await.is_err() {
            return;
        }
        if to.write_all(&chunk[..length]).await.is_err() {
            return;
        }
    }
}

fn passes(weather: Weather, way: Way) -> bool {
    match (weather, way) {
        (Weather::Fair | Weather::Slow(_) | Weather::Refused, _) => true,
        (Weather::Held, _) => false,
        (Weather::HeldThere, Way::There) | (Weather::HeldBack, Way::Back) => false,
        (Weather::HeldThere, Way::Back) | (Weather::HeldBack, Way::There) => true,
    }
}

/// Takes what comes, answers nothing, until the other side gives up.
async fn swallow(mut near: TcpStream) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(1..) = near.read(&mut chunk).await {}
}
