//! All instances that may tell of something: their sockets, and what came of their lines.

use super::bucket::Bucket;
use super::intake::{Counts, Intake, Which};
use super::place::{Paths, Place, Teller};
use super::socket;
use events::InstanceId;
use events::limits::{APP_EVENTS_OF_SERVANT, SERIES_PER_FRAME};
use events::metric::Series;
use events::report::Emitted;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// Most events that wait to be kept.
const QUEUE: usize = 1024;
/// Every so many frames the series of an instance are told whole, changed or not.
const WHOLE_EVERY: usize = 10;

/// The instances and what they told. Clones share it.
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

struct Inner {
    /// None where no sockets can be made: apps are told of none then.
    place: Option<Place>,
    epoch: Instant,
    state: Mutex<State>,
}

struct State {
    members: BTreeMap<InstanceId, Member>,
    of_servant: Bucket,
    /// Until the end.
    events: Option<mpsc::Sender<Emitted>>,
    frames: usize,
}

struct Member {
    intake: Intake,
    /// What reads its sockets.
    readers: [AbortHandle; 2],
}

impl Hub {
    /// A hub, and the events that are to be kept.
    pub fn new(place: Option<Place>) -> (Self, mpsc::Receiver<Emitted>) {
        let (sender, events) = mpsc::channel(QUEUE);
        let state = State {
            members: BTreeMap::new(),
            of_servant: Bucket::new(APP_EVENTS_OF_SERVANT),
            events: Some(sender),
            frames: 0,
        };
        let inner = Inner { place, epoch: Instant::now(), state: Mutex::new(state) };
        (Self { inner: Arc::new(inner) }, events)
    }

    /// Where all sockets lie.
    pub fn place(&self) -> Option<Place> {
        self.inner.place.clone()
    }

    /// Opens the sockets of an instance, if they are not open. None where there can be none, which is logged.
    pub fn open(&self, instance: InstanceId, teller: Teller) -> Option<Paths> {
        let paths = self.inner.place.as_ref()?.of(instance, teller);
        let mut state = self.lock();
        if state.members.contains_key(&instance) {
            return Some(paths);
        }
        match socket::bind(&paths) {
            Ok((datagram, listener)) => {
                let datagrams = socket::read_datagrams(datagram, instance, self.clone());
                let connections = socket::accept(listener, instance, self.clone());
                let readers =
                    [tokio::spawn(datagrams).abort_handle(), tokio::spawn(connections).abort_handle()];
                state.members.insert(instance, Member { intake: Intake::new(instance), readers });
                Some(paths)
            }
            Err(error) => {
                tracing::warn!(%instance, %error, "an instance has no sockets for app events");
                None
            }
        }
    }

    /// An instance is no more.
    pub fn close(&self, instance: InstanceId) {
        if let Some(member) = self.lock().members.remove(&instance) {
            member.end();
        }
        if let Some(place) = &self.inner.place
            && let Err(error) = place.remove(instance)
        {
            tracing::warn!(%instance, %error, "the sockets of an instance could not be removed");
        }
    }

    /// Removes what instances left that are no more.
    pub fn sweep(&self) {
        let Some(place) = &self.inner.place else { return };
        match place.all() {
            Ok(all) => {
                let gone = all.into_iter().filter(|instance| !self.lock().members.contains_key(instance));
                gone.collect::<Vec<_>>().into_iter().for_each(|instance| self.close(instance));
            }
            Err(error) => tracing::warn!(%error, "the sockets of former instances are not removed"),
        }
    }

    /// Nothing more is taken. What was taken goes on to be kept.
    pub fn end(&self) {
        let mut state = self.lock();
        state.events = None;
        std::mem::take(&mut state.members).into_values().for_each(|member| member.end());
    }

    /// Whether an instance is no more.
    pub fn is_closed(&self, instance: InstanceId) -> bool {
        !self.lock().members.contains_key(&instance)
    }

    /// Takes whole lines of an instance.
    pub fn take(&self, instance: InstanceId, bytes: &[u8]) {
        let now_ms = u64::try_from(self.inner.epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut state = self.lock();
        let State { members, of_servant, events, .. } = &mut *state;
        let Some(member) = members.get_mut(&instance) else { return };
        for emitted in member.intake.take(now_ms, bytes, of_servant) {
            let sent = events.as_ref().map(|events| events.try_send(emitted));
            if let Some(Err(error)) = sent {
                member.intake.give_back(&error.into_inner());
            }
        }
    }

    /// A line that says nothing, whatever it was.
    pub fn refuse(&self, instance: InstanceId, reason: String) {
        if let Some(member) = self.lock().members.get_mut(&instance) {
            member.intake.refuse(reason);
        }
    }

    /// An event that was taken could not be kept.
    pub fn give_back(&self, emitted: &Emitted) {
        if let Some(member) = self.lock().members.get_mut(&emitted.instance) {
            member.intake.give_back(emitted);
        }
    }

    /// How many lines came to nothing, by instance.
    pub fn lost(&self) -> BTreeMap<InstanceId, u64> {
        self.lock().members.iter().map(|(&id, member)| (id, member.intake.counts().lost())).collect()
    }

    /// The series that changed; and each in turn those that did not.
    pub fn series(&self) -> Vec<Series> {
        let mut state = self.lock();
        state.frames = state.frames.wrapping_add(1);
        let (turn, mut series) = (state.frames, Vec::new());
        for (place, member) in state.members.values_mut().enumerate() {
            let is_whole = (place + turn).is_multiple_of(WHOLE_EVERY);
            let which = if is_whole { Which::All } else { Which::Changed };
            series.extend(member.intake.series(which, SERIES_PER_FRAME - series.len()));
        }
        series
    }

    /// What was lost since this was asked before, with the last line that was bad.
    pub fn news(&self) -> Vec<(InstanceId, Counts, Option<String>)> {
        let mut state = self.lock();
        let members = state.members.iter_mut();
        members
            .filter_map(|(&id, member)| member.intake.news().map(|(counts, bad)| (id, counts, bad)))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    fn end(self) {
        self.readers.iter().for_each(AbortHandle::abort);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::ServantId;
    use std::io::Write;
    use std::os::unix::net::{UnixDatagram, UnixStream};
    use std::time::Duration;
    use tempfile::TempDir;

    fn hub() -> (Hub, mpsc::Receiver<Emitted>, TempDir) {
        let data = tempfile::tempdir().unwrap();
        let place = Place::open(data.path(), ServantId(service::clock::fresh_id())).unwrap();
        let (hub, events) = Hub::new(Some(place));
        (hub, events, data)
    }

    async fn next(events: &mut mpsc::Receiver<Emitted>) -> Emitted {
        tokio::time::timeout(Duration::from_secs(20), events.recv()).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn both_sockets_take_lines_and_a_servant_that_comes_back_is_found_at_the_same_place() {
        let (hub, mut events, data) = hub();
        let instance = InstanceId(service::clock::fresh_id());
        let paths = hub.open(instance, Teller::Own).unwrap();
        assert_eq!(hub.open(instance, Teller::Own).as_ref(), Some(&paths), "once is enough");
        let socket = UnixDatagram::unbound().unwrap();
        socket.send_to(b"{\"event\":\"one\"}\n{\"event\":\"two\"}", &paths.datagram).unwrap();
        assert_eq!(
            (next(&mut events).await.name.as_str(), next(&mut events).await.name.as_str()),
            ("one", "two")
        );
        let mut stream = UnixStream::connect(&paths.stream).unwrap();
        stream.write_all(b"{\"event\":\"thr").unwrap();
        stream.write_all(b"ee\"}\n{\"event\":\"four\"}").unwrap();
        assert_eq!(next(&mut events).await.name.as_str(), "three");
        drop(stream);
        assert_eq!(next(&mut events).await.name.as_str(), "four");

        hub.end();
        assert!(events.recv().await.is_none(), "it ends when all that was taken is out");
        let place = Place::open(data.path(), ServantId(service::clock::fresh_id())).unwrap();
        let (again, mut events) = Hub::new(Some(place));
        assert_eq!(again.open(instance, Teller::Own).as_ref(), Some(&paths));
        socket.send_to(b"{\"event\":\"five\"}", &paths.datagram).unwrap();
        assert_eq!(next(&mut events).await.name.as_str(), "five");
        again.close(instance);
        assert!(!paths.datagram.exists() && !paths.stream.exists() && again.is_closed(instance));
        assert!(socket.send_to(b"{}", &paths.datagram).is_err());
    }

    #[tokio::test]
    async fn what_former_instances_left_is_swept_away() {
        let (hub, _events, _data) = hub();
        let (one, two) = (InstanceId(service::clock::fresh_id()), InstanceId(service::clock::fresh_id()));
        let paths =
            [hub.open(one, Teller::Own).unwrap(), hub.inner.place.as_ref().unwrap().of(two, Teller::Own)];
        paths[1].create().unwrap();
        std::fs::write(&paths[1].stream, b"").unwrap();
        hub.sweep();
        assert!(paths[0].stream.exists() && !paths[1].stream.exists());
    }

    #[tokio::test]
    async fn a_queue_that_is_full_drops_and_counts() {
        let (hub, mut events, _data) = hub();
        let instances: Vec<InstanceId> = (0..20).map(|_| InstanceId(service::clock::fresh_id())).collect();
        let flood = "{\"event\":\"a\"}\n".repeat(1000);
        for instance in &instances {
            hub.open(*instance, Teller::Own);
            hub.take(*instance, flood.as_bytes());
        }
        let mut taken = 0;
        while events.try_recv().is_ok() {
            taken += 1;
        }
        let lost: u64 = hub.lost().values().sum();
        assert_eq!(taken + lost, 20_000);
        assert!(taken <= QUEUE as u64, "{taken}");
        assert_eq!(hub.news().len(), 20);
        assert!(hub.news().is_empty());
    }
}
