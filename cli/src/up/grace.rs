//! How long Servants may take to end: as long as the slowest app that runs may take to stop.

use bus::views::Views;
use events::limits::STOP_GRACE_MS;
use events::view::{Assignment, Stamped};
use events::wire;
use std::time::Duration;
use tokio::time::timeout;

/// How the keys of assignments begin: see [`events::subject::assignment_key`].
const ASSIGNMENTS: &str = "assignment.";
/// How long to look.
const PATIENCE: Duration = Duration::from_secs(3);
/// What a Servant needs beside the graces of its instances.
const MORE: Duration = Duration::from_secs(20);

/// The time for all Servants. When nobody says what runs, the longest that any app can have.
pub async fn of_servants(nats: &str) -> Duration {
    let longest = match timeout(PATIENCE, look(nats)).await {
        Ok(Ok(longest)) => longest,
        // Too long only delays the end of a Servant that hangs, and another Ctrl-C ends that.
        Ok(Err(_)) | Err(_) => STOP_GRACE_MS,
    };
    Duration::from_millis(longest) + MORE
}

/// The longest grace among what the Servants are to run, in milliseconds.
async fn look(nats: &str) -> anyhow::Result<u64> {
    let (url, name) = (nats.to_owned(), "kingctl".to_owned());
    let bus = bus::connect(&bus::Options { url, name, credentials: None }).await?;
    let views = Views::open(&bus).await?;
    let mut longest = 0;
    for key in views.keys().await? {
        if key.starts_with(ASSIGNMENTS)
            && let Some(bytes) = views.get(&key).await?
        {
            longest = longest.max(longest_of(&wire::decode::<Stamped<Assignment>>(&bytes)?.view));
        }
    }
    Ok(longest)
}

/// What is being stopped already is not said with its grace, so it may have the longest.
fn longest_of(assignment: &Assignment) -> u64 {
    if !assignment.stopping.is_empty() {
        return STOP_GRACE_MS;
    }
    let processes = assignment.releases.iter().flat_map(|release| release.processes.values());
    processes.map(|process| process.stop_grace_ms).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::{InstanceId, ServantId, subject};

    #[test]
    fn keys_of_assignments_are_known() {
        let key = subject::assignment_key(ServantId(service::clock::fresh_id()));
        assert!(key.starts_with(ASSIGNMENTS), "{key}");
    }

    #[test]
    fn what_is_being_stopped_may_take_the_longest() {
        let nothing = Assignment::default();
        assert_eq!(longest_of(&nothing), 0);
        let stopping = vec![InstanceId(service::clock::fresh_id())];
        assert_eq!(longest_of(&Assignment { stopping, ..nothing }), STOP_GRACE_MS);
    }
}
