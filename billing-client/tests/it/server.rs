//! An HTTP server that answers by a script and keeps what it was sent. Bytes are written by hand, so that each way to fail is
//! exactly the one that is named.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What the server does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Answers with a status, further headers and a body of `application/json`.
    Json(u16, String),
    /// The same with headers of its own, each ended by `\r\n`.
    Answer(u16, String, String),
    /// Waits before the answer.
    Slow(Duration, Box<Step>),
    /// Reads the request and cuts the connection with a reset.
    Reset,
    /// Sends half of the body that it announced, and closes.
    HalfBody,
    /// Announces a body of so many bytes.
    Announced(usize),
    /// Sends chunk after chunk until nobody reads any more.
    Endless,
    /// Reads the request and never answers.
    Hang,
    /// What is no HTTP.
    Garbage,
}

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(key, _)| key == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "`{name}` is there twice");
        value
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("the body is JSON")
    }
}

#[derive(Debug, Default)]
struct Seen {
    steps: VecDeque<Step>,
    last: Option<Step>,
    requests: Vec<Request>,
    connections: usize,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Takes the steps in turn, the last one again and again.
    pub(crate) async fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self::start(steps, None).await
    }

    pub(crate) async fn start(steps: impl IntoIterator<Item = Step>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let seen = Arc::new(Mutex::new(Seen {
            steps: steps.into_iter().collect(),
            ..Seen::default()
        }));
        let shared = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                shared.lock().unwrap().connections += 1;
                let (shared, tls) = (Arc::clone(&shared), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => {
                            connection(stream, &shared, |stream: TcpStream| {
                                let _ = stream.set_zero_linger();
                            })
                            .await
                        }
                        Some(tls) => {
                            // A handshake that fails is the test's business, seen at the other end.
                            if let Ok(stream) = tls.accept(stream).await {
                                connection(stream, &shared, drop).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, seen, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn then(&self, steps: impl IntoIterator<Item = Step>) {
        let mut seen = self.seen.lock().unwrap();
        seen.steps.extend(steps);
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.seen.lock().unwrap().requests.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }

    /// The only request that came.
    #[track_caller]
    pub(crate) fn only(&self) -> Request {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:#?}");
        requests.into_iter().next().unwrap()
    }
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, seen: &Mutex<Seen>, reset: fn(S)) {
    while let Some(request) = read(&mut stream).await {
        let mut step = {
            let mut seen = seen.lock().unwrap();
            seen.requests.push(request);
            if let Some(step) = seen.steps.pop_front() {
                seen.last = Some(step);
            }
            seen.last.clone().expect("the script has a step")
        };
        while let Step::Slow(wait, then) = step {
            tokio::time::sleep(wait).await;
            step = *then;
        }
        let text = match step {
            Step::Json(status, body) => answer(status, "content-type: application/json\r\n", &body),
            Step::Answer(status, headers, body) => answer(status, &headers, &body),
            Step::Slow(..) => unreachable!("waited above"),
            Step::Reset => {
                reset(stream);
                return;
            }
            Step::HalfBody => {
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n";
                let _ = stream.write_all(format!("{head}{{\"status\":").as_bytes()).await;
                let _ = stream.shutdown().await;
                return;
            }
            Step::Announced(bytes) => {
                format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {bytes}\r\n\r\n{{"
                )
            }
            Step::Endless => {
                let head =
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
                let _ = stream.write_all(head.as_bytes()).await;
                let chunk = format!("2000\r\n{}\r\n", " ".repeat(0x2000));
                // Bounded, should nobody stop reading.
                for _ in 0..100_000 {
                    if stream.write_all(chunk.as_bytes()).await.is_err() {
                        return;
                    }
                }
                panic!("an endless body was read to the end");
            }
            Step::Hang => {
                tokio::time::sleep(Duration::from_secs(60)).await;
                return;
            }
            Step::Garbage => "SSH-2.0-OpenSSH_9.9\r\n\r\n".into(),
        };
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
        let _ = stream.flush().await;
    }
}

fn answer(status: u16, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).expect("the head is text");
    let mut lines = head.lines();
    let line = lines.next()?.to_owned();
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.map_or(0, |(_, value)| value.parse().expect("a number"));
    let mut body = bytes[end..].to_vec();
    while body.len() < length {
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => body.extend_from_slice(&chunk[..count]),
        }
    }
    let body = String::from_utf8(body).expect("the body is text");
    Some(Request { line, headers, body })
}
