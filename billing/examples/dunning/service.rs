//! A payment service on a loopback port: the calls of `billing-client/openapi/payment.v1.json` that the story makes, with
//! books of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use billing::TestClock;
use billing::core::money::Money;
use billing::core::ports::Clock as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::Result;

/// The key that the service knows its callers by.
pub(crate) const KEY: &str = "sk_example";

/// What goes wrong, until it is set anew.
#[derive(Clone, Copy)]
pub(crate) enum Trouble {
    /// Nothing.
    None,
    /// The card with this token is declined, for insufficient funds.
    NoFunds(&'static str),
    /// A charge is carried out, and the connection closed instead of an answer.
    AnswersLost,
    /// Every call is answered with 503, and nothing is carried out.
    Down,
}

/// What the books say of one reference.
pub(crate) struct Booked {
    pub(crate) id: String,
    pub(crate) amount: Money,
    /// When it settled, as the answers say it; none if it was declined.
    pub(crate) settled_at: Option<String>,
    /// What was paid back, by the refund's reference.
    pub(crate) refunds: BTreeMap<String, Money>,
    key: String,
    body: String,
}

pub(crate) struct Books {
    clock: Arc<TestClock>,
    trouble: Trouble,
    pub(crate) payments: BTreeMap<String, Booked>,
}

/// The service; it runs for as long as the runtime.
pub(crate) struct Service {
    address: SocketAddr,
    books: Arc<Mutex<Books>>,
}

struct Request {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: String,
}

#[derive(Deserialize)]
struct Charge {
    reference: String,
    amount: Money,
    method: Method,
}

#[derive(Deserialize)]
struct Method {
    token: String,
}

#[derive(Deserialize)]
struct Refund {
    reference: String,
    payment_reference: String,
    amount: Money,
}

/// A status and a body.
type Answer = (u16, Value);

impl Service {
    pub(crate) async fn start(clock: Arc<TestClock>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let books = Arc::new(Mutex::new(Books {
            clock,
            trouble: Trouble::None,
            payments: BTreeMap::new(),
        }));
        let shared = Arc::clone(&books);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Ok(Self { address, books })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn set(&self, trouble: Trouble) {
        self.books().trouble = trouble;
    }

    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        lock(&self.books)
    }
}

fn lock(books: &Mutex<Books>) -> MutexGuard<'_, Books> {
    books.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers the requests of one connection until either side closes it.
async fn serve(stream: TcpStream, books: Arc<Mutex<Books>>) {
    let mut stream = BufReader::new(stream);
    while let Ok(Some(request)) = read(&mut stream).await {
        let answer = lock(&books).answer(&request);
        let Some((status, body)) = answer else { return };
        let kind = if status < 400 { "json" } else { "problem+json" };
        let body = body.to_string();
        let text = format!(
            "HTTP/1.1 {status} \r\ncontent-type: application/{kind}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The next request; none when the connection was closed.
async fn read(stream: &mut BufReader<TcpStream>) -> Result<Option<Request>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(String::from);
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Err("not a request line".into());
    };
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers
        .get("content-length")
        .map_or(Ok(0), |length| length.parse())?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some(Request {
        method,
        path,
        headers,
        body: String::from_utf8(body)?,
    }))
}

impl Books {
    /// How many payments have settled.
    pub(crate) fn settled(&self) -> usize {
        let payments = self.payments.values();
        payments.filter(|booked| booked.settled_at.is_some()).count()
    }

    /// What is answered; none closes the connection.
    fn answer(&mut self, request: &Request) -> Option<Answer> {
        if request.headers.get("authorization") != Some(&format!("Bearer {KEY}")) {
            return Some(problem(401, "unauthorized"));
        }
        if matches!(self.trouble, Trouble::Down) {
            return Some(problem(503, "unavailable"));
        }
        let path: Vec<_> = request.path.split('/').skip(1).collect();
        Some(match (request.method.as_str(), path.as_slice()) {
            ("GET", ["v1", "health"]) => (200, json!({"status": "ok"})),
            ("POST", ["v1", "charges"]) => {
                let answer = self.charge(request);
                if matches!(self.trouble, Trouble::AnswersLost) {
                    return None;
                }
                answer
            }
            ("GET", ["v1", "payments", reference]) => match self.payments.get(*reference) {
                Some(booked) => (200, booked.json(reference)),
                None => problem(404, "unknown_payment"),
            },
            ("POST", ["v1", "refunds"]) => self.refund(request),
            _ => problem(400, "bad_request"),
        })
    }

    /// The same key again is answered, and not carried out again.
    fn charge(&mut self, request: &Request) -> Answer {
        let charge = serde_json::from_str::<Charge>(&request.body);
        let (Ok(charge), Some(key)) = (charge, request.headers.get("idempotency-key")) else {
            return problem(400, "bad_request");
        };
        if let Some(known) = self.payments.values().find(|booked| booked.key == *key)
            && known.body != request.body
        {
            return problem(409, "idempotency_conflict");
        }
        let id = format!("pay_{}", self.payments.len() + 1);
        let is_declined = matches!(self.trouble, Trouble::NoFunds(token) if token == charge.method.token);
        let settled_at = (!is_declined).then(|| self.clock.now().to_rfc3339());
        let booked = self
            .payments
            .entry(charge.reference.clone())
            .or_insert_with(|| Booked {
                id,
                amount: charge.amount,
                settled_at,
                refunds: BTreeMap::new(),
                key: key.clone(),
                body: request.body.clone(),
            });
        (200, booked.json(&charge.reference))
    }

    fn refund(&mut self, request: &Request) -> Answer {
        let Ok(refund) = serde_json::from_str::<Refund>(&request.body) else {
            return problem(400, "bad_request");
        };
        let Some(booked) = self.payments.get_mut(&refund.payment_reference) else {
            return problem(422, "unknown_payment");
        };
        booked.refunds.insert(refund.reference.clone(), refund.amount);
        let id = format!("ref_{}", booked.refunds.len());
        let answer =
            json!({"id": id, "reference": refund.reference, "amount": refund.amount, "status": "refunded"});
        (200, answer)
    }
}

impl Booked {
    fn json(&self, reference: &str) -> Value {
        let Self { id, amount, .. } = self;
        match &self.settled_at {
            Some(at) => {
                json!({"id": id, "reference": reference, "amount": amount, "status": "settled", "settled_at": at})
            }
            None => json!({"id": id, "reference": reference, "amount": amount, "status": "declined",
                           "class": "retry", "code": "insufficient_funds"}),
        }
    }
}

fn problem(status: u16, code: &str) -> Answer {
    (status, json!({"code": code}))
}
