//! HTTP by hand, so that what is tested is what is on the wire. HTTP/1.0: an answer ends with its connection.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// `GET <path>`.
///
/// # Errors
/// When there is no whole answer in time.
pub async fn get(address: impl Into<SocketAddr>, path: &str) -> Result<Answer> {
    let address = address.into();
    let exchange = async {
        let mut stream = ask(address, path, "").await?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text).await?;
        parse(&String::from_utf8_lossy(&text))
    };
    timeout(PATIENCE, exchange).await.map_err(|_| Error::from(ErrorKind::TimedOut))?
}

/// A number on a page of metrics.
pub fn metric(page: &str, name: &str) -> Option<f64> {
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.trim().parse().ok())
}

/// `GET /` of an instance on this machine, when it answers 200.
///
/// # Errors
/// When it answers anything else, or nothing.
pub async fn page(port: u16) -> Result<String> {
    let answer = get(([127, 0, 0, 1], port), "/").await?;
    if answer.status == 200 {
        Ok(answer.body)
    } else {
        Err(Error::other(format!("status {}", answer.status)))
    }
}

async fn ask(address: SocketAddr, path: &str, headers: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await?;
    Ok(stream)
}

fn parse(text: &str) -> Result<Answer> {
    let (head, body) =
        text.split_once("\r\n\r\n").ok_or_else(|| Error::other(format!("no answer: {text:?}")))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| Error::other(format!("no status: {head:?}")))?;
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

/// One message of an event stream that carries data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub id: u64,
    pub event: String,
    pub data: String,
}

/// An event stream (server-sent events) as it is read.
#[derive(Debug)]
pub struct Events {
    lines: BufReader<TcpStream>,
}

impl Events {
    /// Opens the stream, after the event that was seen last.
    ///
    /// # Errors
    /// When it is not served.
    pub async fn open(address: SocketAddr, path: &str, last_event_id: Option<u64>) -> Result<Self> {
        let header = last_event_id.map_or_else(String::new, |id| format!("Last-Event-ID: {id}\r\n"));
        let mut lines = BufReader::new(ask(address, path, &header).await?);
        let mut status = String::new();
        lines.read_line(&mut status).await?;
        if !status.contains(" 200 ") {
            return Err(Error::other(format!("the event stream is not served: {status:?}")));
        }
        let mut events = Self { lines };
        while !events.line().await?.is_empty() {}
        Ok(events)
    }

    /// The next message with data; comments and bare numbers are passed over.
    ///
    /// # Errors
    /// When the stream ends, or nothing comes in time.
    pub async fn next(&mut self) -> Result<Message> {
        let (mut id, mut event, mut data) = (0, String::new(), String::new());
        loop {
            let line = self.line().await?;
            match line.split_once(": ") {
                Some(("id", value)) => id = value.parse().map_err(Error::other)?,
                Some(("event", value)) => value.clone_into(&mut event),
                Some(("data", value)) => value.clone_into(&mut data),
                Some(_) => {}
                None if line.is_empty() && !data.is_empty() => return Ok(Message { id, event, data }),
                None => {}
            }
        }
    }

    async fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read = timeout(PATIENCE, self.lines.read_line(&mut line)).await;
        match read.map_err(|_| Error::from(ErrorKind::TimedOut))?? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }
}
