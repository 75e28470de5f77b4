//! `deskferry sandbox`: both platforms, simulated, on loopback unless told otherwise, until a signal. To rehearse with.

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::Context;
use super::output::{DONE, Failure, note, say};
use crate::config::template;
use crate::sandbox::firstline::SWITCHES;
use crate::sandbox::{Sandbox, SandboxConfig, help};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_long_help = switches())]
pub struct Args {
    /// Everything random comes from here
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How many contacts LiveDesk holds, up to a million
    #[arg(long, value_name = "N")]
    contacts: Option<u32>,
    /// Address to listen on; the control API asks for no credentials, so only loopback or a closed network
    #[arg(long, value_name = "IP")]
    listen: Option<IpAddr>,
    /// Port of the LiveDesk side (0: a free one)
    #[arg(long, value_name = "PORT")]
    livedesk_port: Option<u16>,
    /// Port of the FIRST LINE side (0: a free one)
    #[arg(long, value_name = "PORT")]
    firstline_port: Option<u16>,
    /// Port of the control API (0: a free one)
    #[arg(long, value_name = "PORT")]
    control_port: Option<u16>,
    /// Contacts without e-mail and phone, for benchmarks
    #[arg(long)]
    without_children: bool,
    /// Leave the edge cases out
    #[arg(long)]
    no_edge_cases: bool,
    /// A JSON file with the switches below
    #[arg(long = "switches", value_name = "FILE")]
    file: Option<PathBuf>,
    /// Set one switch, as in livedesk.ties=anew or firstline_faults.error_rate=0.02; may be given several times
    #[arg(long, value_name = "SWITCH=VALUE", value_parser = assignment)]
    set: Vec<(String, Value)>,
    /// Write deskferry.toml and mapping.toml for this sandbox into a folder, never over existing ones
    #[arg(long, value_name = "FOLDER")]
    write_config: Option<PathBuf>,
}

/// `key.key=value`; a value that is no JSON is a text.
fn assignment(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').ok_or("write it as switch=value")?;
    Ok((key.trim().to_owned(), serde_json::from_str(value).unwrap_or_else(|_| json!(value))))
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let config = config(&args)?;
    if let Some(folder) = &args.write_config
        && let Some(existing) = FILES.iter().map(|name| folder.join(name)).find(|path| path.exists())
    {
        let message = format!("{} exists already and is left as it is; name another folder", existing.display());
        return Err(Failure::new(message));
    }
    let contacts = config.contacts;
    let beyond_loopback = !(config.listen.is_loopback() || config.listen.is_unspecified());
    let sandbox = Sandbox::start(config)
        .await
        .map_err(|error| Failure::new(format!("the sandbox could not listen: {error}; is one of its ports in use?")))?;
    let place = Place::of(&sandbox, beyond_loopback);
    if let Some(folder) = &args.write_config {
        write_config(folder, &place)?;
    }
    if context.json {
        say(place.json());
    } else {
        say(place.text(contacts));
        if let Some(folder) = &args.write_config {
            say(format_args!("try it: deskferry --config {} check", folder.join(FILES[0]).display()));
        }
    }
    note("press Ctrl-C to end it; everything in it is gone then");
    context.stop.cancelled().await;
    sandbox.shut_down().await;
    Ok(DONE)
}

/// Defaults, then the file, then `--set`, then the flags.
fn config(args: &Args) -> Result<SandboxConfig, Failure> {
    let mut tree = json!(SandboxConfig::default());
    if let Some(path) = &args.file {
        let text = fs::read_to_string(path)
            .map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display())))?;
        let file: Value = serde_json::from_str(&text)
            .map_err(|error| Failure::new(format!("{} is not JSON: {error}", path.display())))?;
        merge(&mut tree, file);
    }
    for (key, value) in &args.set {
        let nested = key.rsplit('.').fold(value.clone(), |inner, key| json!({ key: inner }));
        merge(&mut tree, nested);
    }
    let flags = [
        ("seed", args.seed.map(Value::from)),
        ("contacts", args.contacts.map(Value::from)),
        ("listen", args.listen.map(|ip| json!(ip))),
        ("livedesk_port", args.livedesk_port.map(Value::from)),
        ("firstline_port", args.firstline_port.map(Value::from)),
        ("control_port", args.control_port.map(Value::from)),
        ("without_children", args.without_children.then_some(Value::Bool(true))),
        ("edge_cases", args.no_edge_cases.then_some(Value::Bool(false))),
    ];
    for (key, value) in flags.into_iter().filter_map(|(key, value)| Some((key, value?))) {
        tree[key] = value;
    }
    serde_json::from_value(tree)
        .map_err(|error| Failure::new(format!("a switch is wrong: {error}; `deskferry sandbox --help` lists them")))
}

fn merge(tree: &mut Value, over: Value) {
    match (tree, over) {
        (Value::Object(tree), Value::Object(over)) => {
            for (key, value) in over {
                merge(tree.entry(key).or_insert(Value::Null), value);
            }
        }
        (tree, over) => *tree = over,
    }
}

/// Where everything is, and the keys to it.
struct Place {
    livedesk: String,
    firstline: String,
    control: String,
    api_key: String,
    api_secret: String,
    token: String,
    /// Whether its addresses are none of this machine alone: plain http has to be allowed then.
    beyond_loopback: bool,
}

impl Place {
    fn of(sandbox: &Sandbox, beyond_loopback: bool) -> Self {
        let livedesk = json!(sandbox.livedesk().switches());
        let text = |key: &str| livedesk[key].as_str().unwrap_or_default().to_owned();
        Self {
            livedesk: sandbox.livedesk_url(),
            firstline: sandbox.firstline_url(),
            control: sandbox.control_url(),
            api_key: text("api_key"),
            api_secret: text("api_secret"),
            token: sandbox.firstline().switches().tokens.first().cloned().unwrap_or_default(),
            beyond_loopback,
        }
    }

    fn text(&self, contacts: u32) -> String {
        format!(
            "LiveDesk    {} ({contacts} contacts)\n  api_key     {}\n  api_secret  {}\nFIRST LINE  {}\n  token       {}\n\
             control     {}",
            self.livedesk, self.api_key, self.api_secret, self.firstline, self.token, self.control
        )
    }

    fn json(&self) -> Value {
        json!({
            "livedesk": { "base_url": self.livedesk, "api_key": self.api_key, "api_secret": self.api_secret },
            "firstline": { "base_url": self.firstline, "token": self.token },
            "control": self.control,
        })
    }

    /// A configuration for it. JSON's texts are TOML's too.
    fn settings(&self) -> String {
        let quoted = |text: &str| json!(text).to_string();
        let allowed = if self.beyond_loopback { "allow_http = true\n" } else { "" };
        format!(
            "# For `deskferry sandbox` while it runs: not for a real account.\n\nmapping = \"mapping.toml\"\n\n\
             [livedesk]\nbase_url = {}\napi_key = {}\napi_secret = {}\nrequests_per_second = 0 # no limit\n\
             concurrency = 8\nthrottle_wait = \"1s\"\n{allowed}\n\
             [firstline]\nbase_url = {}\ntoken = {}\nrequests_per_second = 0\nconcurrency = 8\nthrottle_wait = \"1s\"\n{allowed}\n\
             [identity]\nstamp = {{ membership_no = \"LD-\" }}\nsettle = \"200ms\"\ndoubt_horizon = \"10s\"\n",
            quoted(&self.livedesk),
            quoted(&self.api_key),
            quoted(&self.api_secret),
            quoted(&self.firstline),
            quoted(&self.token),
        )
    }
}

const FILES: [&str; 2] = ["deskferry.toml", "mapping.toml"];

fn write_config(folder: &Path, place: &Place) -> Result<(), Failure> {
    fs::create_dir_all(folder)?;
    for (name, text, mode) in [(FILES[0], place.settings().as_str(), 0o600), (FILES[1], template::MAPPING, 0o644)] {
        let path = folder.join(name);
        template::create(&path, text, mode)
            .map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))?;
    }
    Ok(())
}

/// A prefix, its switches with their descriptions, and their defaults.
type Section<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a Value);

/// Every switch there is, with its default.
fn switches() -> String {
    let defaults = json!(SandboxConfig::default());
    let none = Value::Object(Map::new());
    let mut text = String::from(
        "Switches, for --set and the --switches file. The control API changes those of the platforms and the faults \
         while it runs.\n",
    );
    let sections: [Section<'_>; 5] = [
        ("", help::SANDBOX, &defaults),
        ("livedesk.", help::LIVEDESK, &defaults["livedesk"]),
        ("livedesk.drift.", help::DRIFT, &defaults["livedesk"]["drift"]),
        ("firstline.", SWITCHES, &defaults["firstline"]),
        ("livedesk_faults. and firstline_faults.", help::FAULTS, &none),
    ];
    for (section, lines, defaults) in sections {
        let title = if section.is_empty() { "the whole" } else { section };
        writeln!(text, "\n{title}").expect("writing to a String cannot fail");
        for (name, line) in lines {
            let default = match defaults.get(*name) {
                Some(Value::Object(_)) | None => String::new(),
                Some(value) => format!(" [{value}]"),
            };
            writeln!(text, "  {name}: {line}{default}").expect("writing to a String cannot fail");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[&str]) -> Result<SandboxConfig, Failure> {
        let args = Args {
            seed: None,
            contacts: Some(7),
            listen: None,
            livedesk_port: None,
            firstline_port: None,
            control_port: None,
            without_children: false,
            no_edge_cases: true,
            file: None,
            set: pairs.iter().map(|pair| assignment(pair).unwrap()).collect(),
            write_config: None,
        };
        config(&args)
    }

    #[test]
    fn switches_are_set_by_path_and_unknown_ones_are_refused() {
        let config =
            set(&["livedesk.ties=anew", "firstline_faults.error_rate=0.25", "livedesk.drift.every=3"]).unwrap();
        assert_eq!(json!(config.livedesk.ties), json!("anew"));
        assert_eq!((config.livedesk.drift.every, config.contacts, config.edge_cases), (3, 7, false));
        assert!((config.firstline_faults.error_rate - 0.25).abs() < f64::EPSILON);
        assert!(set(&["livedesk.tise=anew"]).unwrap_err().to_string().contains("tise"));
        assert!(assignment("seed").is_err());
    }

    #[test]
    fn help_names_every_switch() {
        let text = switches();
        for (name, _) in help::LIVEDESK.iter().chain(help::DRIFT).chain(help::FAULTS).chain(SWITCHES) {
            assert!(text.contains(&format!("  {name}: ")), "{name}");
        }
    }
}
