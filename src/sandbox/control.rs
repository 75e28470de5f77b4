//! The control API: counters, faults, switches, dumps, and the verbs of the LiveDesk model, over HTTP.
//!
//! It has a listener of its own and no credentials, because it listens on
//! loopback unless the operator says otherwise. A `PUT` changes the keys that
//! it names and leaves the others; an unknown key is refused with 400.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::faults::{FaultPlan, FaultSettings};
use super::firstline::{FirstLine, FirstLineSwitches};
use super::livedesk::{LiveDesk, LiveDeskSwitches, dump_body};
use super::people::ContactObject;

/// Both platforms and both fault plans.
#[derive(Clone)]
pub(crate) struct Handles {
    pub(crate) livedesk: LiveDesk,
    pub(crate) firstline: FirstLine,
    pub(crate) livedesk_faults: Arc<FaultPlan>,
    pub(crate) firstline_faults: Arc<FaultPlan>,
}

type Answer = Result<Response, (StatusCode, String)>;

/// One value per platform; what is left out stays as it is.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PerPlatform {
    livedesk: Map<String, Value>,
    firstline: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Merge {
    base: u64,
    mergee: u64,
}

pub(crate) fn router(handles: Handles) -> Router {
    Router::new()
        .route("/health", get(async || Json(json!({ "status": "ok" }))))
        .route("/counts", get(counts))
        .route("/counts/reset", post(reset_counts))
        .route("/faults", get(faults).put(put_faults))
        .route("/switches", get(switches).put(put_switches))
        .route("/dump/livedesk", get(dump_livedesk))
        .route("/dump/firstline", get(async |State(handles): State<Handles>| Json(handles.firstline.dump())))
        .route("/livedesk/contacts", post(add_contact))
        .route("/livedesk/contacts/{id}", patch(edit_contact).delete(delete_contact))
        .route("/livedesk/contacts/{id}/restore", post(restore_contact))
        .route("/livedesk/merge", post(merge))
        .route("/firstline/contacts/{id}", patch(edit_customer).delete(delete_customer))
        .route("/firstline/merge", post(merge_customers))
        .layer(DefaultBodyLimit::max(64 << 20))
        .with_state(handles)
}

async fn counts(State(handles): State<Handles>) -> Response {
    Json(json!({
        "livedesk": { "model": handles.livedesk.counts(), "http": handles.livedesk_faults.counts() },
        "firstline": { "model": handles.firstline.counts(), "http": handles.firstline_faults.counts() },
    }))
    .into_response()
}

async fn reset_counts(State(handles): State<Handles>) -> StatusCode {
    handles.livedesk.reset_counts();
    handles.firstline.reset_counts();
    handles.livedesk_faults.reset_counts();
    handles.firstline_faults.reset_counts();
    StatusCode::NO_CONTENT
}

async fn faults(State(handles): State<Handles>) -> Response {
    let both =
        json!({ "livedesk": handles.livedesk_faults.settings(), "firstline": handles.firstline_faults.settings() });
    Json(both).into_response()
}

async fn put_faults(State(handles): State<Handles>, Json(wanted): Json<PerPlatform>) -> Answer {
    // Both are checked before either is set: a mistake changes nothing.
    let settings = |plan: &FaultPlan, keys: Map<String, Value>| -> Result<Option<FaultSettings>, _> {
        if keys.is_empty() { Ok(None) } else { changed(&plan.settings(), keys).map(Some) }
    };
    let livedesk = settings(&handles.livedesk_faults, wanted.livedesk)?;
    let firstline = settings(&handles.firstline_faults, wanted.firstline)?;
    // A platform that was not named keeps counting towards what it was told before.
    if let Some(settings) = livedesk {
        handles.livedesk_faults.set(settings);
    }
    if let Some(settings) = firstline {
        handles.firstline_faults.set(settings);
    }
    Ok(faults(State(handles)).await)
}

async fn switches(State(handles): State<Handles>) -> Response {
    Json(json!({ "livedesk": handles.livedesk.switches(), "firstline": handles.firstline.switches() })).into_response()
}

async fn put_switches(State(handles): State<Handles>, Json(wanted): Json<PerPlatform>) -> Answer {
    let livedesk: LiveDeskSwitches = changed(&handles.livedesk.switches(), wanted.livedesk)?;
    let firstline: FirstLineSwitches = changed(&handles.firstline.switches(), wanted.firstline)?;
    handles.livedesk.set_switches(livedesk);
    handles.firstline.set_switches(firstline);
    Ok(switches(State(handles)).await)
}

async fn dump_livedesk(State(handles): State<Handles>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], dump_body(&handles.livedesk)).into_response()
}

async fn add_contact(State(handles): State<Handles>, Json(contact): Json<ContactObject>) -> Response {
    let id = handles.livedesk.add_contact(Value::Object(contact));
    (StatusCode::CREATED, Json(json!({ "id": id }))).into_response()
}

async fn edit_contact(
    State(handles): State<Handles>,
    Path(id): Path<u64>,
    Json(wanted): Json<ContactObject>,
) -> StatusCode {
    found(handles.livedesk.edit(id, |contact| {
        for (key, value) in wanted {
            match (contact.get_mut(&key), value) {
                // As LiveDesk does: custom attributes are merged, everything else is replaced.
                (Some(Value::Object(own)), Value::Object(new)) if key == "custom_attributes" => own.extend(new),
                (_, value) => drop(contact.insert(key, value)),
            }
        }
    }))
}

async fn delete_contact(State(handles): State<Handles>, Path(id): Path<u64>) -> StatusCode {
    found(handles.livedesk.delete(id))
}

async fn restore_contact(State(handles): State<Handles>, Path(id): Path<u64>) -> StatusCode {
    found(handles.livedesk.restore(id))
}

/// An agent's edit of a customer: fields named as in the API, `cz_cols.31` for a column.
async fn edit_customer(
    State(handles): State<Handles>,
    Path(id): Path<u64>,
    Json(wanted): Json<Map<String, Value>>,
) -> StatusCode {
    found(wanted.into_iter().all(|(field, value)| handles.firstline.edit(id, &field, value)))
}

/// An agent's deletion of a customer.
async fn delete_customer(State(handles): State<Handles>, Path(id): Path<u64>) -> StatusCode {
    found(handles.firstline.delete(id))
}

/// An agent's merge of two customers: `mergee` vanishes into `base`.
async fn merge_customers(State(handles): State<Handles>, Json(wanted): Json<Merge>) -> StatusCode {
    found(handles.firstline.merge(wanted.base, wanted.mergee))
}

async fn merge(State(handles): State<Handles>, Json(wanted): Json<Merge>) -> StatusCode {
    found(handles.livedesk.merge(wanted.base, wanted.mergee))
}

fn found(done: bool) -> StatusCode {
    if done { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

/// `current` with the keys of `wanted` replaced; objects inside are merged key by key.
fn changed<T: Serialize + DeserializeOwned>(
    current: &T,
    wanted: Map<String, Value>,
) -> Result<T, (StatusCode, String)> {
    let refused = |error: serde_json::Error| (StatusCode::BAD_REQUEST, error.to_string());
    let mut all = serde_json::to_value(current).map_err(refused)?;
    overlay(&mut all, Value::Object(wanted));
    serde_json::from_value(all).map_err(refused)
}

fn overlay(onto: &mut Value, wanted: Value) {
    match (onto, wanted) {
        (Value::Object(own), Value::Object(new)) => {
            for (key, value) in new {
                overlay(own.entry(key).or_insert(Value::Null), value);
            }
        }
        (own, value) => *own = value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::faults::{Fault, FaultFilter, Platform};
    use crate::sandbox::people::{People, id_of};
    use crate::sandbox::testing::{call, call_json};

    fn control() -> (Handles, Router) {
        let handles = Handles {
            livedesk: LiveDesk::new(People::new(1, 200), LiveDeskSwitches::default(), 1),
            firstline: FirstLine::new(FirstLineSwitches::default(), 1),
            livedesk_faults: Arc::new(FaultPlan::new(Platform::LiveDesk, FaultSettings::default(), 1)),
            firstline_faults: Arc::new(FaultPlan::new(Platform::FirstLine, FaultSettings::default(), 2)),
        };
        (handles.clone(), router(handles))
    }

    #[tokio::test]
    async fn a_put_changes_only_the_keys_it_names() {
        let (handles, router) = control();
        handles.livedesk_faults.change(|it| it.latency_ms = 5);
        let wanted = json!({ "livedesk": { "only": { "methods": ["GET"] } }, "firstline": { "lost_ack_rate": 0.5,
            "next": [{ "fault": "late", "only": { "path": "/contacts" } }] } });
        let (status, body) = call_json(&router, "PUT", "/faults", Some(wanted)).await;
        assert_eq!(status, 200, "{body}");
        assert_eq!(body["livedesk"]["latency_ms"], 5);
        assert_eq!(
            handles.livedesk_faults.settings().only,
            FaultFilter { methods: vec!["GET".into()], path: String::new() }
        );
        assert_eq!(handles.firstline_faults.settings().next[0].fault, Fault::Late);
        let wanted = json!({ "livedesk": { "drift": { "every": 7 }, "ties": "anew" } });
        let (status, body) = call_json(&router, "PUT", "/switches", Some(wanted)).await;
        assert_eq!((status, &body["livedesk"]["drift"]["every"]), (200, &json!(7)));
        assert_eq!(body["livedesk"]["page_size"], 15);
    }

    #[tokio::test]
    async fn a_mistyped_key_is_refused_and_changes_nothing() {
        let (handles, router) = control();
        let wanted = json!({ "livedesk": { "outage": true }, "firstline": { "latencyms": 5 } });
        let (status, body) = call(&router, "PUT", "/faults", Some(wanted)).await;
        assert_eq!(status, 400);
        assert!(body.contains("latencyms"), "{body}");
        assert!(!handles.livedesk_faults.settings().outage);
    }

    #[tokio::test]
    async fn contacts_can_be_inserted_edited_merged_and_deleted() {
        let (handles, router) = control();
        let contact = json!({ "name": "New", "email": "new@example.com", "custom_attributes": { "a": 1 } });
        let (status, body) = call_json(&router, "POST", "/livedesk/contacts", Some(contact)).await;
        assert_eq!(status, 201);
        let id = body["id"].as_u64().unwrap();
        let path = format!("/livedesk/contacts/{id}");
        let edit = json!({ "custom_attributes": { "b": 2 }, "name": "Newer" });
        assert_eq!(call(&router, "PATCH", &path, Some(edit)).await.0, 204);
        let contact = handles.livedesk.contact(id).unwrap();
        assert_eq!((&contact["custom_attributes"], &contact["name"]), (&json!({ "a": 1, "b": 2 }), &json!("Newer")));
        let merge = json!({ "base": id, "mergee": id_of(150) });
        assert_eq!(call(&router, "POST", "/livedesk/merge", Some(merge)).await.0, 204);
        assert_eq!(handles.livedesk.deleted_ids(), [id_of(150)]);
        assert_eq!(call(&router, "DELETE", &path, None).await.0, 204);
        assert_eq!(call(&router, "DELETE", &path, None).await.0, 404);
    }

    #[tokio::test]
    async fn the_streamed_dump_is_the_dump() {
        let (handles, router) = control();
        handles.livedesk.delete(id_of(100));
        let (status, body) = call_json(&router, "GET", "/dump/livedesk", None).await;
        assert_eq!(status, 200);
        assert_eq!(body, handles.livedesk.dump());
        assert_eq!(body["hidden"].as_array().unwrap().len(), 5);
        assert_eq!(call_json(&router, "GET", "/dump/firstline", None).await.1, handles.firstline.dump());
    }

    #[tokio::test]
    async fn counts_cover_both_platforms_and_can_be_reset() {
        let (_, router) = control();
        let (_, body) = call_json(&router, "GET", "/counts", None).await;
        assert_eq!(body["livedesk"]["http"]["requests"], 0);
        assert_eq!(body["livedesk"]["model"]["listed"], 195);
        assert_eq!(call(&router, "POST", "/counts/reset", None).await.0, 204);
        assert_eq!(call(&router, "GET", "/health", None).await.0, 200);
    }

    #[tokio::test]
    async fn agents_can_edit_merge_and_delete_customers() {
        let (handles, router) = control();
        let add = |name: &str| handles.firstline.add_contact(&json!({ "first_name": name }), &[], &[], &[]);
        let (one, other) = (add("One"), add("Other"));
        let path = format!("/firstline/contacts/{one}");
        assert_eq!(call(&router, "PATCH", &path, Some(json!({ "last_name": "Lin" }))).await.0, 204);
        assert_eq!(handles.firstline.contact(one).unwrap().last_name.as_deref(), Some("Lin"));
        let merge = json!({ "base": one, "mergee": other });
        assert_eq!(call(&router, "POST", "/firstline/merge", Some(merge.clone())).await.0, 204);
        assert_eq!(call(&router, "POST", "/firstline/merge", Some(merge)).await.0, 404);
        assert_eq!(call(&router, "DELETE", &path, None).await.0, 204);
        assert_eq!((call(&router, "DELETE", &path, None).await.0, handles.firstline.len()), (404, 0));
        // A contact that was deleted in LiveDesk can be brought back.
        let id = handles.livedesk.add_contact(json!({ "name": "Amy", "email": "amy@example.com" }));
        handles.livedesk.delete(id);
        assert_eq!(call(&router, "POST", &format!("/livedesk/contacts/{id}/restore"), None).await.0, 204);
        assert!(handles.livedesk.listed_ids().contains(&id) && !handles.livedesk.deleted_ids().contains(&id));
    }
}
