//! Both platforms, simulated: what an operator rehearses with, and what `demo` and the tests run on.
//!
//! Each platform is a model behind a router ([`livedesk`], [`firstline`]); [`faults`] wrap a router in everything that
//! can go wrong; `control` shows and changes both while they run. It knows nothing of the client side: no path of
//! this crate outside the sandbox is named here.

mod clock;
mod control;
pub mod drift;
pub mod faults;
pub mod firstline;
pub mod help;
pub mod livedesk;
pub mod people;
mod rng;
#[cfg(test)]
mod testing;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::serve::ListenerExt;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::control::Handles;
use self::faults::{FaultPlan, FaultSettings, Platform, with_faults};
use self::firstline::{FirstLine, FirstLineSwitches};
use self::livedesk::{LiveDesk, LiveDeskSwitches};
use self::people::People;

/// What to simulate. Every field has a default.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SandboxConfig {
    /// Everything random comes from here.
    pub seed: u64,
    /// How many contacts LiveDesk holds at the start.
    pub contacts: u32,
    /// Contacts without e-mail and phone, for benchmarks; switches the edge cases off.
    pub without_children: bool,
    /// Whether the first contacts are the edge cases of the platform notes.
    pub edge_cases: bool,
    /// Switches of the LiveDesk side.
    pub livedesk: LiveDeskSwitches,
    /// Switches of the FIRST LINE side.
    pub firstline: FirstLineSwitches,
    /// Faults of the LiveDesk side.
    pub livedesk_faults: FaultSettings,
    /// Faults of the FIRST LINE side.
    pub firstline_faults: FaultSettings,
    /// Address that all three listeners are bound to. The control API asks for no credentials: leave it on loopback
    /// unless the network is closed, as that of containers on one machine is.
    pub listen: IpAddr,
    /// Port of the LiveDesk side; 0 takes a free one.
    pub livedesk_port: u16,
    /// Port of the FIRST LINE side; 0 takes a free one.
    pub firstline_port: u16,
    /// Port of the control API; 0 takes a free one.
    pub control_port: u16,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            contacts: 2_000,
            without_children: false,
            edge_cases: true,
            livedesk: LiveDeskSwitches::default(),
            firstline: FirstLineSwitches::default(),
            livedesk_faults: FaultSettings::default(),
            firstline_faults: FaultSettings::default(),
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            livedesk_port: 0,
            firstline_port: 0,
            control_port: 0,
        }
    }
}

/// Both platforms and the control API, serving until this is dropped or shut down.
pub struct Sandbox {
    handles: Handles,
    livedesk_address: SocketAddr,
    firstline_address: SocketAddr,
    control_address: SocketAddr,
    stop: CancellationToken,
    servers: JoinSet<io::Result<()>>,
}

impl Sandbox {
    /// Starts everything, on loopback unless told otherwise. The answer is ready to be called.
    pub async fn start(config: SandboxConfig) -> io::Result<Self> {
        let seed = config.seed;
        let people = People {
            seed,
            count: config.contacts,
            without_children: config.without_children,
            edge_cases: config.edge_cases,
        };
        let handles = Handles {
            livedesk: LiveDesk::new(people, config.livedesk, seed),
            firstline: FirstLine::new(config.firstline, seed),
            // Different seeds, so that both sides do not fail in step.
            livedesk_faults: Arc::new(FaultPlan::new(Platform::LiveDesk, config.livedesk_faults, rng::mix(&[seed, 1]))),
            firstline_faults: Arc::new(FaultPlan::new(
                Platform::FirstLine,
                config.firstline_faults,
                rng::mix(&[seed, 2]),
            )),
        };
        let livedesk = with_faults(handles.livedesk.router(), Arc::clone(&handles.livedesk_faults));
        let firstline = with_faults(handles.firstline.router(), Arc::clone(&handles.firstline_faults));
        let control = control::router(handles.clone());
        let stop = CancellationToken::new();
        let mut servers = JoinSet::new();
        Ok(Self {
            livedesk_address: serve(&mut servers, &stop, livedesk, (config.listen, config.livedesk_port)).await?,
            firstline_address: serve(&mut servers, &stop, firstline, (config.listen, config.firstline_port)).await?,
            control_address: serve(&mut servers, &stop, control, (config.listen, config.control_port)).await?,
            handles,
            stop,
            servers,
        })
    }

    /// What to configure as LiveDesk's base URL.
    pub fn livedesk_url(&self) -> String {
        format!("http://{}{}", callable(self.livedesk_address), Platform::LiveDesk.base_path())
    }

    /// What to configure as FIRST LINE's base URL.
    pub fn firstline_url(&self) -> String {
        format!("http://{}{}", callable(self.firstline_address), Platform::FirstLine.base_path())
    }

    /// Where the control API is.
    pub fn control_url(&self) -> String {
        format!("http://{}", callable(self.control_address))
    }

    /// The LiveDesk account.
    pub fn livedesk(&self) -> &LiveDesk {
        &self.handles.livedesk
    }

    /// The FIRST LINE tenant.
    pub fn firstline(&self) -> &FirstLine {
        &self.handles.firstline
    }

    /// What goes wrong in front of LiveDesk.
    pub fn livedesk_faults(&self) -> &Arc<FaultPlan> {
        &self.handles.livedesk_faults
    }

    /// What goes wrong in front of FIRST LINE.
    pub fn firstline_faults(&self) -> &Arc<FaultPlan> {
        &self.handles.firstline_faults
    }

    /// Stops listening, lets requests under way finish, and drops writes that were to be applied late.
    pub async fn shut_down(mut self) {
        self.handles.livedesk_faults.shut_down().await;
        self.handles.firstline_faults.shut_down().await;
        self.stop.cancel();
        while self.servers.join_next().await.is_some() {}
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.handles.livedesk_faults.stop_waiting();
        self.handles.firstline_faults.stop_waiting();
        self.stop.cancel();
    }
}

/// Where a client on this machine reaches a listener: what listens everywhere does so on loopback too.
fn callable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

async fn serve(
    servers: &mut JoinSet<io::Result<()>>,
    stop: &CancellationToken,
    router: Router,
    address: (IpAddr, u16),
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    // Small answers must not wait for the client's delayed acknowledgement.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let stopped = stop.clone().cancelled_owned();
    servers.spawn(axum::serve(listener, router).with_graceful_shutdown(stopped).into_future());
    Ok(address)
}

#[cfg(test)]
mod tests;
