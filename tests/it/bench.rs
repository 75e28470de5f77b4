//! The benchmark of the main job: the real binary against a sandbox in another process (this one). Prints; asserts
//! outcomes only. `just bench-backfill` runs it; without `DESKFERRY_BENCH` it does nothing.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use deskferry::sandbox::SandboxConfig;
use deskferry::sandbox::faults::FaultSettings;
use deskferry::sandbox::livedesk::{LiveDeskSwitches, Ties};

use crate::world::World;

/// What was measured of one run.
struct Measured {
    wall: Duration,
    cpu_ms: u64,
    peak_kib: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bench_backfill() {
    let Ok(sizes) = std::env::var("DESKFERRY_BENCH") else {
        eprintln!("skipped: DESKFERRY_BENCH=15000,150000 runs it");
        return;
    };
    let sizes = sizes.split(',').map(|size| size.trim().parse::<u32>().unwrap());
    // Quiet ties take two passes; ties that change take more, and are what a real account has.
    for (contacts, ties) in sizes.flat_map(|size| [(size, Ties::Stable), (size, Ties::Kept)]) {
        let latency = FaultSettings { latency_ms: 20, ..FaultSettings::default() };
        let mut world = World::start(SandboxConfig {
            contacts,
            without_children: true,
            livedesk: LiveDeskSwitches { ties, ..LiveDeskSwitches::default() },
            edge_cases: false,
            livedesk_faults: latency.clone(),
            firstline_faults: latency,
            ..SandboxConfig::default()
        })
        .await;
        world.choices.instead =
            vec![("concurrency = 4", "concurrency = 32".into()), ("concurrency = 8", "concurrency = 32".into())];
        let config = world.write_files();
        let child = Command::new(env!("CARGO_BIN_EXE_deskferry"))
            .arg("--config")
            .arg(&config)
            .args(["--json", "backfill"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (measured, output) = tokio::task::spawn_blocking(move || watch(child)).await.unwrap();
        let summary: serde_json::Value = serde_json::from_str(&output).unwrap();
        let rate = f64::from(contacts) / measured.wall.as_secs_f64();
        println!(
            "{contacts} contacts, {ties:?} ties: {:.1} s, {rate:.0} contacts/s ({:.0} % of the 1,600 that 20 ms allow), CPU {:.3} s per \
             1,000, peak {:.1} MiB; {} requests to LiveDesk, sweep {} in {} passes",
            measured.wall.as_secs_f64(),
            rate / 16.0,
            f64::from(u32::try_from(measured.cpu_ms).unwrap()) / f64::from(contacts),
            f64::from(u32::try_from(measured.peak_kib).unwrap()) / 1024.0,
            summary["requests"]["livedesk"],
            summary["sweep"]["verdict"],
            summary["sweep"]["passes"].as_array().map_or(0, Vec::len),
        );
        let accounted = summary["created"].as_u64().unwrap() + summary["not_selected"].as_u64().unwrap();
        assert_eq!(accounted, u64::from(contacts), "{summary}");
        assert_eq!(summary["exit_code"], 0, "{summary}");
    }
}

/// Waits for the child, reading its peak memory and CPU time from /proc while it lives.
fn watch(mut child: Child) -> (Measured, String) {
    let started = Instant::now();
    let id = child.id();
    let mut output = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut output, &mut text).unwrap();
        text
    });
    let (mut cpu_ms, mut peak_kib) = (0, 0);
    while child.try_wait().unwrap().is_none() {
        if let Ok(status) = std::fs::read_to_string(format!("/proc/{id}/status")) {
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            peak_kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(peak_kib);
        }
        if let Ok(stat) = std::fs::read_to_string(format!("/proc/{id}/stat")) {
            let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
            let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or_default();
            cpu_ms = cpu_ms.max((ticks(11) + ticks(12)) * 10);
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    (Measured { wall: started.elapsed(), cpu_ms, peak_kib }, reader.join().unwrap())
}
