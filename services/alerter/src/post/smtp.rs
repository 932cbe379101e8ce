//! Mails to an SMTP server, over one pool of connections. Each recipient is a transaction of its own, so a bad one
//! stands in nobody's way.

use super::{chain, mailbox};
use crate::courier::{Letter, Taken};
use crate::mail::Sender;
use lettre::transport::smtp::client::Tls;
use lettre::transport::smtp::{AsyncSmtpTransportBuilder, PoolConfig};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::timeout;

/// Most connections to the server.
const CONNECTIONS: u32 = 4;
/// How much longer than at first a slow server may take in the end.
const LONGER: u32 = 4;
/// Refusals for want of the right login (RFC 4954, 6): somebody may mend it, so they are not for good.
const LOGIN: [u16; 4] = [530, 534, 535, 538];

type Server = AsyncSmtpTransport<Tokio1Executor>;

/// Why the server cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SmtpError {
    #[error(
        "{0:?} is no mail server: write smtp://host:port, starttls://user:password@host:port or smtps://user:password@host:port"
    )]
    NotAUrl(String),
    #[error("the mail server's URL cannot be used")]
    Refused(#[source] lettre::transport::smtp::Error),
}

/// Where the server is and how to speak to it. `smtp` to another machine means STARTTLS too: only on loopback is
/// plain text taken.
#[derive(Clone, PartialEq, Eq)]
pub struct SmtpUrl {
    /// As lettre reads it; may hold a password.
    url: String,
    /// Host and port alone: fit for logs.
    place: String,
}

impl FromStr for SmtpUrl {
    type Err = SmtpError;

    fn from_str(text: &str) -> Result<Self, SmtpError> {
        let wrong = || SmtpError::NotAUrl(without_password(text));
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let rest = rest.trim_end_matches('/');
        let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
        if place.is_empty() || place.contains(['/', '?', '#']) {
            return Err(wrong());
        }
        let url = match scheme {
            "smtps" => format!("smtps://{rest}"),
            "starttls" => format!("smtp://{rest}?tls=required"),
            "smtp" if is_loopback(place) => format!("smtp://{rest}"),
            "smtp" => format!("smtp://{rest}?tls=required"),
            _ => return Err(wrong()),
        };
        AsyncSmtpTransport::<Tokio1Executor>::from_url(&url).map_err(SmtpError::Refused)?;
        Ok(Self { url, place: place.to_owned() })
    }
}

impl fmt::Display for SmtpUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.place)
    }
}

impl fmt::Debug for SmtpUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

fn without_password(text: &str) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, place))) => format!("{scheme}://…@{place}"),
        _ => text.to_owned(),
    }
}

fn is_loopback(place: &str) -> bool {
    let host = match place.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => place.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The server.
pub struct Smtp {
    builder: AsyncSmtpTransportBuilder,
    /// One pool for all mails, and its patience; a new one after a time-out, since the old one may hold a connection
    /// that hangs.
    pool: Mutex<(Server, Duration)>,
    place: String,
    longest: Duration,
}

impl fmt::Debug for Smtp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Smtp").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Smtp {
    /// Connects when the first mail is sent, not before. `patience` bounds the connection and one mail to one recipient;
    /// it grows with a server that is too slow for it.
    ///
    /// # Errors
    /// When the URL cannot be used.
    pub fn new(url: &SmtpUrl, patience: Duration) -> Result<Self, SmtpError> {
        let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(&url.url).map_err(SmtpError::Refused)?;
        let plain = url.url.starts_with("smtp://") && !url.url.contains("?tls=");
        let builder = if plain { builder.tls(Tls::None) } else { builder };
        let pool = PoolConfig::new().max_size(CONNECTIONS);
        let builder = builder.pool_config(pool);
        let server = builder.clone().timeout(Some(patience)).build();
        let pool = Mutex::new((server, patience));
        Ok(Self { builder, pool, place: url.place.clone(), longest: patience * LONGER })
    }

    pub(super) async fn send(
        &self,
        sender: &Sender,
        letter: &Letter,
        to: Vec<String>,
    ) -> Vec<(String, Taken)> {
        let mut taken = Vec::with_capacity(to.len());
        for recipient in to {
            let what = self.send_one(sender, letter, &recipient).await;
            taken.push((recipient, what));
        }
        taken
    }

    async fn send_one(&self, sender: &Sender, letter: &Letter, recipient: &str) -> Taken {
        let to = match mailbox(recipient) {
            Ok(to) => to,
            Err(taken) => return taken,
        };
        let mail = match sender.compose(letter, &[to]) {
            Ok(mail) => mail,
            Err(error) => return Taken::No { reason: chain(&error) },
        };
        let (server, patience) = self.pool().clone();
        // Greeting, TLS and login: until here nothing was sent, and whatever is wrong may be mended.
        match timeout(patience, server.test_connection()).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return Taken::Later { reason: format!("{} hung up", self.place) },
            Ok(Err(error)) => return Taken::Later { reason: self.said(&error) },
            Err(_) => {
                self.renew(patience);
                return Taken::Later { reason: self.silent(patience) };
            }
        }
        match timeout(patience, server.send(mail)).await {
            Ok(Ok(response)) => {
                Taken::Yes { via: format!("{}: {}", self.place, response.first_line().unwrap_or("taken")) }
            }
            Ok(Err(error)) => self.not_taken(&error, patience),
            Err(_) => {
                self.renew(patience);
                Taken::Unknown { reason: self.silent(patience) }
            }
        }
    }

    fn not_taken(&self, error: &lettre::transport::smtp::Error, patience: Duration) -> Taken {
        let reason = self.said(error);
        match error.status().map(u16::from) {
            Some(code) if LOGIN.contains(&code) => Taken::Later { reason },
            Some(_) if error.is_permanent() => Taken::No { reason },
            Some(_) => Taken::Later { reason },
            // The mail could not be put into words for this server.
            None if error.is_client() => Taken::No { reason },
            None => {
                if error.is_timeout() {
                    self.renew(patience);
                }
                Taken::Unknown { reason }
            }
        }
    }

    /// A new pool, which gives the server twice as long as before: a slow one may have been at work on the mail.
    fn renew(&self, patience: Duration) {
        let patience = (patience * 2).min(self.longest);
        *self.pool() = (self.builder.clone().timeout(Some(patience)).build(), patience);
    }

    fn silent(&self, patience: Duration) -> String {
        format!("{} gave no answer within {patience:?}", self.place)
    }

    fn pool(&self) -> MutexGuard<'_, (Server, Duration)> {
        self.pool.lock().expect("nobody panics while holding it")
    }

    fn said(&self, error: &lettre::transport::smtp::Error) -> String {
        format!("{}: {}", self.place, chain(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_for_loopback_only() {
        let url = |text: &str| text.parse::<SmtpUrl>().expect("a mail server").url;
        assert_eq!(url("smtp://127.0.0.1:2525"), "smtp://127.0.0.1:2525");
        assert_eq!(url("smtp://[::1]:2525/"), "smtp://[::1]:2525");
        assert_eq!(url("smtp://mail.example:587"), "smtp://mail.example:587?tls=required");
        assert_eq!(url("starttls://u:p@mail.example:587"), "smtp://u:p@mail.example:587?tls=required");
        assert_eq!(url("smtps://u:p@mail.example"), "smtps://u:p@mail.example");
    }

    #[test]
    fn what_is_no_mail_server_is_refused_without_its_password() {
        for text in ["mail.example", "http://u:geheim@mail.example", "smtp://", "smtp://u:geheim@host/x?y"] {
            let message = text.parse::<SmtpUrl>().expect_err(text).to_string();
            assert!(message.contains("smtps://") && !message.contains("geheim"), "{message}");
        }
    }
}
