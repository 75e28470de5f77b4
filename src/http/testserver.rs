//! A scripted server on loopback for wire tests: each connection's requests are answered from a list, in order.
//!
//! It speaks just enough HTTP/1.1 to be hostile: answers may be cut off, hold the connection open in silence, or
//! break it. What was asked is kept for assertions.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use url::Url;

/// A request as it arrived.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) raw_query: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    /// `POST /contact`
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// A header, or an empty text.
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    /// The value of a query pair.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; `null` when there is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// What the server does with one request.
#[derive(Clone)]
pub(crate) enum Act {
    /// Sends these bytes and keeps the connection.
    Send(Vec<u8>),
    /// Sends these bytes and closes.
    SendAndClose(Vec<u8>),
    /// Closes without a word.
    Reset,
    /// Never answers.
    Silence,
}

/// An answer with JSON.
pub(crate) fn json(status: u16, body: &Value) -> Act {
    answer(status, &[("content-type", "application/json")], &body.to_string())
}

/// An answer with these headers and this body.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Act {
    let mut text = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        text.push_str(&[name, ": ", value, "\r\n"].concat());
    }
    text.push_str("\r\n");
    text.push_str(body);
    Act::Send(text.into_bytes())
}

/// The server. It stops when it is dropped.
pub(crate) struct TestServer {
    /// Its base URL, with a path in it.
    pub(crate) base_url: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<Mutex<u32>>,
    _tasks: JoinSet<()>,
}

impl TestServer {
    /// Answers requests from the list, one after the other; the last one is repeated.
    pub(crate) async fn scripted(acts: Vec<Act>) -> Self {
        let next = Mutex::new(0);
        Self::with(move |_| {
            let mut next = next.lock().unwrap();
            let act = acts[(*next).min(acts.len() - 1)].clone();
            *next += 1;
            act
        })
        .await
    }

    /// Answers by what was asked.
    pub(crate) async fn with(act: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = Url::parse(&format!("http://{}/api/v1", listener.local_addr().unwrap())).unwrap();
        let (seen, connections) = (Arc::<Mutex<Vec<Seen>>>::default(), Arc::<Mutex<u32>>::default());
        let mut tasks = JoinSet::new();
        let (log, count, act) = (Arc::clone(&seen), Arc::clone(&connections), Arc::new(act));
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                *count.lock().unwrap() += 1;
                let (log, act) = (Arc::clone(&log), Arc::clone(&act));
                open.spawn(async move { serve(socket, &log, &*act).await });
            }
        });
        Self { base_url, seen, connections, _tasks: tasks }
    }

    /// Everything that was asked so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The requests' first lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().iter().map(Seen::line).collect()
    }

    /// Connections accepted.
    pub(crate) fn connections(&self) -> u32 {
        *self.connections.lock().unwrap()
    }
}

async fn serve(mut socket: TcpStream, log: &Mutex<Vec<Seen>>, act: &(dyn Fn(&Seen) -> Act + Send + Sync)) {
    let mut buffer = Vec::new();
    while let Some(seen) = read_request(&mut socket, &mut buffer).await {
        log.lock().unwrap().push(seen.clone());
        match act(&seen) {
            Act::Send(bytes) => {
                if socket.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Act::SendAndClose(bytes) => {
                let _ = socket.write_all(&bytes).await;
                return;
            }
            Act::Reset => return,
            Act::Silence => std::future::pending::<()>().await,
        }
    }
}

async fn read_request(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Seen> {
    loop {
        if let Some(end) = buffer.windows(4).position(|part| part == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let mut lines = head.split("\r\n");
            let mut first = lines.next()?.split(' ');
            let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
            let headers: Vec<(String, String)> = lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect();
            let length = headers.iter().find(|(name, _)| name == "content-length");
            let length: usize = length.map_or(0, |(_, value)| value.parse().unwrap());
            if buffer.len() < end + 4 + length {
                more(socket, buffer).await?;
                continue;
            }
            let body = buffer[end + 4..end + 4 + length].to_vec();
            buffer.drain(..end + 4 + length);
            let url = Url::parse(&format!("http://x{target}")).unwrap();
            return Some(Seen {
                method,
                path: url.path().trim_start_matches("/api/v1").to_owned(),
                query: url.query_pairs().into_owned().collect(),
                raw_query: url.query().unwrap_or_default().to_owned(),
                headers,
                body,
            });
        }
        more(socket, buffer).await?;
    }
}

async fn more(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let mut chunk = [0; 4096];
    match socket.read(&mut chunk).await {
        Ok(0) | Err(_) => None,
        Ok(read) => {
            buffer.extend_from_slice(&chunk[..read]);
            Some(())
        }
    }
}
