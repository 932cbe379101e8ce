//! Holes in the copy that one server keeps of the log.
//!
//! Where three servers keep it, one whose files were damaged may go on with commits missing, and still be taken for current
//! by the others: it has the last ones. Only the server itself tells how many it has, and only to the system user.

use crate::connect::{Bus, ConnectError, Options, RequestError, connect};
use crate::durable::{self, DurabilityError};
use crate::stream::StreamState;
use bytes::Bytes;
use events::subject::LOG_STREAM;
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

/// Tells a client its account.
const WHO: &str = "$SYS.REQ.USER.INFO";
/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why the copies could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum HolesError {
    #[error("no connection as the system user")]
    Connect(#[from] ConnectError),
    #[error("the servers could not be asked about their copies")]
    Ask(#[from] DurabilityError),
    #[error("the server does not tell the account of the kingdom")]
    Account(#[source] RequestError),
    #[error("a server tells of its copies what cannot be read")]
    Unreadable(#[from] serde_json::Error),
}

#[derive(Deserialize)]
struct User {
    data: UserData,
}

#[derive(Deserialize)]
struct UserData {
    account: String,
}

#[derive(Deserialize)]
struct Answer {
    server: Server,
    data: Data,
}

#[derive(Deserialize)]
struct Server {
    name: String,
}

#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    account_details: Vec<Account>,
}

#[derive(Deserialize)]
struct Account {
    #[serde(default)]
    stream_detail: Vec<Stream>,
}

#[derive(Deserialize)]
struct Stream {
    name: String,
    state: StreamState,
}

/// The servers whose own copies of the log have holes, or do not begin with its first commit.
///
/// # Errors
/// When they cannot be asked: then nothing is known.
pub async fn servers_with_holes(bus: &Bus, system: &Options) -> Result<Vec<String>, HolesError> {
    let account = account(bus).await?;
    let system = connect(system).await?;
    let question = json!({ "account": account, "streams": true }).to_string();
    let answers = durable::ask_all(&system, &question).await?;
    let judged: Result<Vec<_>, HolesError> = answers.iter().map(with_hole).collect();
    Ok(judged?.into_iter().flatten().collect())
}

async fn account(bus: &Bus) -> Result<String, HolesError> {
    let answer = bus.request(WHO, &[], Bytes::new(), PATIENCE).await.map_err(HolesError::Account)?;
    let user: User = serde_json::from_slice(&answer.payload)?;
    Ok(user.data.account)
}

/// The name of the server that answers, when its copy has holes.
fn with_hole(payload: &Bytes) -> Result<Option<String>, HolesError> {
    let Answer { server, data } = serde_json::from_slice(payload)?;
    let mut streams = data.account_details.into_iter().flat_map(|account| account.stream_detail);
    let log = streams.find(|stream| stream.name == LOG_STREAM);
    let has_hole =
        |StreamState { count, first_seq, last_seq }| count < last_seq || (count > 0 && first_seq > 1);
    Ok(log.filter(|log| has_hole(log.state)).map(|_| server.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(messages: u64, first: u64, last: u64) -> Bytes {
        let state = json!({ "messages": messages, "first_seq": first, "last_seq": last });
        let streams = json!([{ "name": "KING_VIEWS", "state": { "messages": 1, "first_seq": 4, "last_seq": 9 } },
            { "name": LOG_STREAM, "state": state }]);
        let data = json!({ "account_details": [{ "stream_detail": streams }] });
        json!({ "server": { "name": "n2" }, "data": data }).to_string().into()
    }

    #[test]
    fn a_copy_that_misses_commits_is_told_from_one_that_is_young() {
        assert_eq!(with_hole(&answer(280, 1, 280)).unwrap(), None);
        assert_eq!(with_hole(&answer(0, 0, 0)).unwrap(), None);
        assert_eq!(with_hole(&answer(267, 1, 280)).unwrap().as_deref(), Some("n2"));
        assert_eq!(with_hole(&answer(270, 11, 280)).unwrap().as_deref(), Some("n2"));
        let none: Bytes = r#"{"server":{"name":"n1"},"data":{}}"#.into();
        assert_eq!(with_hole(&none).unwrap(), None, "it keeps none");
    }
}
