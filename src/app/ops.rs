//! From settings to what the service shows of itself, and where it sends its alarms.

use std::sync::Arc;

use serde_json::{Value, json};
use url::Url;

use crate::clock::Clock;
use crate::config::secret::SecretString;
use crate::config::settings::Settings;
use crate::http::client::BuildError;
use crate::ops::alerts;
use crate::ops::alerts::judge::Limits;
use crate::ops::alerts::webhook::{Webhook, WebhookSettings};
use crate::ops::{Budget, OpsSettings, Platform};
use crate::store::{Store, StoreError};

/// Limits of alarms, the address to listen on and its token, as `[ops]` has them.
pub fn settings(settings: &Settings) -> OpsSettings {
    let ops = &settings.ops;
    OpsSettings {
        listen: ops.listen,
        token: ops.token.as_ref().map(|token| token.expose().to_owned()),
        limits: Limits {
            reached_within: ops.reached_within,
            // Where no sweep is scheduled, none is overdue.
            sweep_within: settings.schedule.sweep.as_ref().map(|_| ops.sweep_within),
            dead_letters_above: ops.dead_letters_above,
            disk_low: ops.disk_low.as_u64(),
        },
        budgets: vec![
            Budget { platform: Platform::LiveDesk, per_second: settings.livedesk.limits.requests_per_second },
            Budget { platform: Platform::FirstLine, per_second: settings.firstline.limits.requests_per_second },
        ],
    }
}

/// The way to the webhook, when one is set. Config has checked its address.
pub fn webhook(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Option<Webhook>, BuildError> {
    let Some(url) = settings.webhook_url() else { return Ok(None) };
    let route = &settings.ops.route;
    let proxy = match route.proxy.as_ref().map(SecretString::expose) {
        Some(proxy) => Some(Url::parse(proxy).map_err(|_| BuildError::Proxy)?),
        None => None,
    };
    Webhook::new(&url, WebhookSettings { proxy, ca_file: route.ca_file.clone(), ..WebhookSettings::default() }, clock)
        .map(Some)
}

/// The alarms that stand, as the service remembered them last: what the state knows beside a service, and without one.
pub async fn standing_alarms(store: &Store) -> Result<Value, StoreError> {
    Ok(alerts::remembered(store).await?.as_ref().map_or_else(|| json!([]), alerts::standing))
}
