//! The whole sandbox over real sockets: keep-alive, the three listeners, and what a broken connection looks like.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::faults::{Fault, FaultFilter};
use super::*;

fn config() -> SandboxConfig {
    SandboxConfig { contacts: 50, ..SandboxConfig::default() }
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: sandbox\r\nAuthorization: Basic c2FuZGJveC1rZXk6c2FuZGJveC1zZWNyZXQ=\r\n\r\n")
}

/// Everything the server sends until it closes.
async fn until_closed(address: SocketAddr, path: &str) -> (usize, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request(path).as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let _reset_is_an_end_too = stream.read_to_end(&mut bytes).await;
    (bytes.len(), String::from_utf8_lossy(&bytes).into_owned())
}

/// One answer on a connection that stays open.
async fn exchange(stream: &mut TcpStream, path: &str) -> (String, Vec<u8>) {
    stream.write_all(request(path).as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    loop {
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "closed early");
        let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse::<usize>().unwrap();
        if bytes.len() >= end + 4 + length {
            return (head, bytes.split_off(end + 4));
        }
    }
}

#[tokio::test]
async fn all_three_listeners_answer_and_a_connection_serves_many_requests() {
    let sandbox = Sandbox::start(config()).await.unwrap();
    assert!(sandbox.livedesk_url().ends_with("/api/v2/accounts") && sandbox.firstline_url().ends_with("/api/v1"));
    let mut stream = TcpStream::connect(sandbox.livedesk_address).await.unwrap();
    for page in 1..=5 {
        let path = format!("/api/v2/accounts/contacts?sort=created_at&page={page}");
        let (head, body) = exchange(&mut stream, &path).await;
        assert!(head.starts_with("http/1.1 200"), "{head}");
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["meta"]["count"], 49);
    }
    assert_eq!(sandbox.livedesk_faults().requests_to("GET /contacts"), 5);
    let mut control = TcpStream::connect(sandbox.control_address).await.unwrap();
    assert!(exchange(&mut control, "/health").await.0.starts_with("http/1.1 200"));
    drop((stream, control));
    sandbox.shut_down().await;
}

#[tokio::test]
async fn a_reset_sends_nothing_and_a_cut_off_answer_ends_early() {
    let sandbox = Sandbox::start(config()).await.unwrap();
    let path = "/api/v2/accounts/contacts";
    for (fault, applied) in [(Fault::Reset, 0), (Fault::ResetAfter, 1)] {
        sandbox.livedesk_faults().next(fault, 1, FaultFilter::default());
        assert_eq!(until_closed(sandbox.livedesk_address, path).await.0, 0, "{fault:?}");
        let served = sandbox.livedesk().counts()["served"]["list"].as_u64().unwrap_or_default();
        assert_eq!(served, applied, "{fault:?}");
    }
    sandbox.livedesk_faults().next(Fault::Late, 1, FaultFilter::default());
    assert_eq!(until_closed(sandbox.livedesk_address, path).await.0, 0);
    sandbox.livedesk_faults().next(Fault::CutOff, 1, FaultFilter::default());
    let (bytes, text) = until_closed(sandbox.livedesk_address, path).await;
    let promised = text.to_lowercase();
    let promised = promised.lines().find_map(|line| line.strip_prefix("content-length: ")).map(str::parse::<usize>);
    assert!(bytes == 0 || promised.is_some_and(|it| bytes < it.unwrap()), "{bytes} bytes");
    sandbox.shut_down().await;
}

#[tokio::test]
async fn shutting_down_ends_a_wait_and_frees_the_port() {
    let mut config = config();
    config.livedesk_faults.latency_ms = 600_000;
    let sandbox = Sandbox::start(config).await.unwrap();
    let address = sandbox.livedesk_address;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request("/api/v2/accounts/contacts").as_bytes()).await.unwrap();
    while sandbox.livedesk_faults().requests() == 0 {
        tokio::task::yield_now().await;
    }
    sandbox.shut_down().await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[test]
fn an_empty_configuration_is_the_default_and_unknown_keys_are_refused() {
    let config: SandboxConfig = serde_json::from_str("{}").unwrap();
    assert_eq!(serde_json::to_value(&config).unwrap(), serde_json::to_value(SandboxConfig::default()).unwrap());
    for wrong in ["{\"contact\":1}", "{\"livedesk\":{\"tie\":\"kept\"}}", "{\"firstline_faults\":{\"only\":{\"x\":1}}}"]
    {
        assert!(serde_json::from_str::<SandboxConfig>(wrong).is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn it_listens_where_it_is_told_to_and_names_an_address_that_can_be_called() {
    let listen = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    let sandbox = Sandbox::start(SandboxConfig { listen, ..config() }).await.unwrap();
    for address in [sandbox.livedesk_address, sandbox.firstline_address, sandbox.control_address] {
        assert_eq!(address.ip(), listen);
    }
    assert!(sandbox.livedesk_url().starts_with("http://127.0.0.2:"));
    assert_eq!(callable("0.0.0.0:8081".parse().unwrap()).to_string(), "127.0.0.1:8081");
    assert_eq!(callable("[::]:8081".parse().unwrap()).to_string(), "[::1]:8081");
}
