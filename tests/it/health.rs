//! `deskferry health`, as a container's health check runs it: the real binary against a small server.

use std::net::SocketAddr;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::cli_support::{Desk, deskferry};

/// A service that is alive and not ready, and wants a token.
struct Service {
    address: SocketAddr,
    _server: JoinSet<()>,
}

impl Service {
    async fn start() -> Self {
        let allowed = |headers: &HeaderMap, status| {
            let token = headers.get("authorization").is_some_and(|value| value == "Bearer the-token");
            if token { status } else { StatusCode::UNAUTHORIZED }
        };
        let router = Router::new()
            .route("/healthz", get(async move |headers: HeaderMap| (allowed(&headers, StatusCode::OK), "ok")))
            .route("/readyz", get(async move |headers: HeaderMap| allowed(&headers, StatusCode::SERVICE_UNAVAILABLE)))
            .route("/open", get(async || "{\"status\":\"ok\"}"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, _server: server }
    }
}

/// A folder whose settings name this service.
async fn desk(service: &Service, token: &str) -> Desk {
    let desk = Desk::new().await;
    let ops = format!("\n[ops]\nlisten = \"0.0.0.0:{}\"\ntoken = \"{token}\"\n", service.address.port());
    desk.write("deskferry.toml", &(desk.settings() + &ops));
    desk
}

#[tokio::test]
async fn a_service_that_works_is_well_although_it_is_not_ready() {
    let service = Service::start().await;
    let desk = desk(&service, "the-token").await;
    desk.run(&["health"]).await.expect(0).says("well");
    let ended = desk.run(&["health", "--ready"]).await.expect(1);
    ended.says("not well: the service answers with status 503: `deskferry status` says where it stands");
    let ended = desk.run(&["--json", "health"]).await.expect(0);
    assert_eq!(ended.json()["well"], true);
}

#[tokio::test]
async fn another_token_is_said_to_be_the_trouble_and_not_printed() {
    let service = Service::start().await;
    let desk = desk(&service, "a-guess").await;
    let ended = desk.run(&["health"]).await.expect(1);
    ended.says("the service does not take the token of [ops] (status 401)");
    assert!(!ended.err.contains("a-guess"));
}

#[tokio::test]
async fn a_service_that_is_not_there_is_not_well_and_its_address_is_named() {
    let service = Service::start().await;
    let address = service.address;
    drop(service);
    let desk = Desk::new().await;
    desk.write("deskferry.toml", &(desk.settings() + &format!("\n[ops]\nlisten = \"{address}\"\n")));
    let ended = desk.run(&["health"]).await.expect(1);
    ended.says("not well: the service cannot be asked: cannot connect");
    ended.says(&format!("ops.listen is {address}"));
    let ended = desk.run(&["--json", "health"]).await.expect(1);
    assert_eq!(ended.json()["well"], false);
}

#[tokio::test]
async fn a_mapping_file_that_is_being_edited_makes_no_running_service_unwell() {
    let service = Service::start().await;
    let desk = desk(&service, "the-token").await;
    desk.write("mapping.toml", "[contact\nfirst_name = ");
    desk.replace("requests_per_second = 0", "requests_per_second = \"fast\"");
    desk.run(&["status"]).await.expect(2);
    desk.run(&["health"]).await.expect(0);
    desk.replace("token = \"the-token\"", "token_file = \"nowhere\"");
    desk.run(&["health"]).await.expect(1).says("cannot read the secret file");
}

#[tokio::test]
async fn any_address_can_be_asked_and_is_given_no_token() {
    let service = Service::start().await;
    let desk = desk(&service, "the-token").await;
    let open = format!("http://{}/open?from=health", service.address);
    desk.run(&["health", "--url", &open]).await.expect(0);
    let ended = desk.run(&["health", "--url", &format!("http://{}/healthz", service.address)]).await.expect(1);
    ended.says("not well: the service answers with status 401");
    deskferry(&["health", "--url", &open]).await.expect(0);
    deskferry(&["health", "--url", "mailto:x"]).await.expect(2).says("http://HOST:PORT/PATH");
}
