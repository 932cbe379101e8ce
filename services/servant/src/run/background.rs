//! What runs beside the shell: beats, and what the servant says of itself.

use super::Exec;
use crate::container::Engine;
use crate::keeper::Host;
use crate::reports::{Reports, Sender};
use crate::{capability, host};
use bus::Bus;
use bus::outbox::OutboxError;
use events::report::{EXEC_CAPABILITY, PortRange, RegisterServant, ServantNews};
use events::view::Beat;
use events::{Labels, News, subject, wire};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::time::{MissedTickBehavior, interval};

const BEAT: Duration = Duration::from_secs(1);
/// How often the servant says again that it is there.
const REGISTER_AGAIN: Duration = Duration::from_secs(60);

/// A heartbeat every second, for ever. A missed one is made up by the next.
pub async fn beat(bus: Bus, sender: Sender) {
    let subject = subject::beat(&sender.domain, &sender.name);
    let payload = wire::encode(&Beat { servant: sender.servant });
    let mut ticks = interval(BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = bus.publish(&subject, &[], payload.clone()).await {
            tracing::debug!(%error, "beat not sent");
        }
    }
}

/// What a servant says of itself, but for its tools.
pub struct Registration {
    facts: RegisterServant,
    exec: Exec,
    /// What the host can limit.
    limits: BTreeMap<String, String>,
}

impl Registration {
    pub fn new(sender: &Sender, ports: PortRange, labels: Labels, exec: Exec, host: &Host) -> Self {
        let facts = RegisterServant {
            servant: sender.servant,
            name: sender.name.clone(),
            capabilities: BTreeMap::new(),
            ports,
            cpus: host::cpus(),
            memory_bytes: host::memory_bytes(),
            boot: host.boot.clone(),
            labels,
        };
        Self { facts, exec, limits: host.cgroups.capabilities() }
    }
}

/// Registers once the tools are known, and from then on again and again: what the King knows already is no news to it, and
/// a servant that was removed while it was out of reach joins anew.
pub async fn register(registration: Registration, engine: Engine, reports: Reports) {
    let mut facts = registration.facts;
    let mut looked: Option<Instant> = None;
    let mut last = None;
    loop {
        if looked.is_none_or(|looked| looked.elapsed() >= capability::LOOK_AGAIN) {
            let mut found = capability::detect(&engine).await;
            match registration.exec {
                Exec::On => drop(found.insert(EXEC_CAPABILITY.to_owned(), String::new())),
                Exec::Off => {}
            }
            found.extend(registration.limits.clone());
            if looked.is_none() || found != facts.capabilities {
                tracing::info!(capabilities = ?found, "registering");
            }
            facts.capabilities = found;
            looked = Some(Instant::now());
        }
        if let Err(error) = report(&reports, &facts, &mut last).await {
            tracing::error!(%error, "the registration could not be stored; trying again later");
        }
        tokio::time::sleep(REGISTER_AGAIN).await;
    }
}

/// One registration waits at most: while nobody takes reports, more of them would only fill the outbox.
async fn report(
    reports: &Reports,
    facts: &RegisterServant,
    last: &mut Option<u64>,
) -> Result<(), OutboxError> {
    if let Some(last) = *last
        && reports.is_waiting(last)?
    {
        return Ok(());
    }
    let number = reports.push(News::Servant(ServantNews::Register(facts.clone())))?;
    *last = Some(number);
    let stored = reports.barrier().await;
    // Even if it is not: what is held holds back all that comes after it.
    reports.release(&[number]);
    stored
}
