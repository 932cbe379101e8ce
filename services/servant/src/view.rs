//! A view of this servant, as it comes from the King.

use bus::Bus;
use bus::views::{Views, Watch};
use events::view::Stamped;
use events::wire;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::time::Duration;

/// How often the bucket of views is tried when it is not there yet.
const OPEN_AGAIN: Duration = Duration::from_millis(200);

/// Follows one key of the views.
pub struct Followed<T> {
    bus: Bus,
    key: String,
    watch: Option<Watch>,
    view: PhantomData<T>,
}

impl<T: DeserializeOwned> Followed<T> {
    /// Follows this key.
    pub fn new(bus: Bus, key: String) -> Self {
        Self { bus, key, watch: None, view: PhantomData }
    }

    /// The next view that can be read. Can be cancelled safely.
    pub async fn next(&mut self) -> Stamped<T> {
        loop {
            let Some(watch) = &mut self.watch else {
                match Views::open(&self.bus).await {
                    Ok(views) => self.watch = Some(views.watch(&self.key)),
                    Err(error) => {
                        tracing::debug!(%error, "no views yet");
                        tokio::time::sleep(OPEN_AGAIN).await;
                    }
                }
                continue;
            };
            // A deleted key says nothing new: what runs goes on.
            let Some(bytes) = watch.next().await else {
                continue;
            };
            match wire::decode(&bytes) {
                Ok(view) => return view,
                Err(error) => tracing::error!(
                    key = self.key,
                    error = error.reason(),
                    "a view that cannot be read is passed over"
                ),
            }
        }
    }
}
