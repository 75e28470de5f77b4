//! The requests of a probe, on scratch records alone; the answers as they are, without judgement.
//!
//! A refusal is an answer here, not a failure: most of what a probe wants to know is what is refused. What ends a probe is
//! a key that is not accepted, a platform that is away, and a signal.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::judge::{Look, PageSize};
use crate::domain::ids::FirstLineId;
use crate::domain::target::TargetContact;
use crate::firstline::error::Failure;
use crate::firstline::profile::UpdateMethod;
use crate::firstline::target::FirstLine;
use crate::http::{Decision, ErrorShape, Repeat, Request};

/// What a request came to.
pub(super) enum Said {
    /// 2xx, with its body.
    Yes { status: u16, body: Value },
    /// Refused: nothing was applied.
    No(Refusal),
    /// A create that may have been applied.
    Doubt,
}

/// A refusal, without its text.
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) fields: BTreeSet<String>,
    pub(super) shape: Option<ErrorShape>,
}

impl Refusal {
    /// Whether it may be about a field: it names it, or names none.
    pub(super) fn may_be_about(&self, field: &str) -> bool {
        matches!(self.status, 400 | 422)
            && (self.fields.is_empty() || self.fields.iter().any(|name| name.split('.').next() == Some(field)))
    }

    /// Status and field names, for the report.
    pub(super) fn words(&self) -> String {
        let names: Vec<&str> = self.fields.iter().map(String::as_str).collect();
        if names.is_empty() {
            format!("status {}", self.status)
        } else {
            format!("status {} ({})", self.status, names.join(", "))
        }
    }
}

impl Said {
    /// The id of what was made, as FIRST LINE says it. An id beside `data` may be anything's: a job's, a gateway's.
    pub(super) fn made(&self) -> Option<i64> {
        match self {
            Self::Yes { body, .. } => int(&body["data"]["id"]),
            _ => None,
        }
    }

    /// Why it did not work, for the report.
    pub(super) fn why_not(&self) -> String {
        match self {
            Self::Yes { status, .. } => format!("status {status}, without an id"),
            Self::No(refusal) => format!("refused with {}", refusal.words()),
            Self::Doubt => String::from("it is not known whether it was applied"),
        }
    }
}

/// A number, or a text that is one.
pub(super) fn int(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

impl FirstLine {
    /// Sends, and makes an answer of a refusal.
    pub(super) async fn probe_ask(&self, request: Request) -> Result<Said, Failure> {
        match self.api.reply::<Value>(request).await {
            Ok(reply) => Ok(Said::Yes { status: reply.status, body: reply.value }),
            Err(failure) => refusal(failure),
        }
    }

    /// The same for what may be answered with nothing (204).
    async fn probe_write(&self, request: Request) -> Result<Said, Failure> {
        match self.api.json_if_any::<Value>(request).await {
            Ok(body) => Ok(Said::Yes { status: 200, body: body.unwrap_or(Value::Null) }),
            Err(failure) => refusal(failure),
        }
    }

    /// A creating POST: never sent again once its outcome is in doubt.
    pub(super) async fn probe_create(&self, path: &str, body: &Value) -> Result<Said, Failure> {
        self.probe_ask(Request::post(path, Repeat::OnlyIfNotApplied).json(body.to_string())).await
    }

    /// An update of a scratch contact by one method.
    pub(super) async fn probe_update(
        &self,
        id: FirstLineId,
        method: UpdateMethod,
        mut body: Map<String, Value>,
    ) -> Result<Said, Failure> {
        let path = format!("/contact/{id}");
        let request = match method {
            UpdateMethod::PostBody => {
                body.insert(String::from("_method"), json!("put"));
                Request::post(&path, Repeat::Safe)
            }
            UpdateMethod::PostQuery => Request::post(&path, Repeat::Safe).query("_method", "put"),
            UpdateMethod::Put => Request::put(&path),
        };
        self.probe_write(request.json(Value::Object(body).to_string())).await
    }

    /// A deletion. Whose record it is was made sure of by the caller.
    pub(super) async fn probe_delete(&self, path: &str) -> Result<Said, Failure> {
        self.probe_write(Request::delete(path)).await
    }

    /// A scratch contact as it is now; `None` when it is not there.
    pub(super) async fn probe_read(&self, id: FirstLineId) -> Result<Option<TargetContact>, Failure> {
        self.read_contact(id).await
    }

    /// Asks a filter. `is_ours` recognises the scratch record among the rows.
    pub(super) async fn probe_look(
        &self,
        path: &str,
        filter: &[(String, String)],
        is_ours: impl Fn(&Value) -> bool + Send,
    ) -> Result<Look, Failure> {
        let request = filter.iter().fold(Request::get(path).query("page", "1"), |r, (key, value)| r.query(key, value));
        Ok(match self.probe_ask(request).await? {
            Said::No(refusal) => Look::Refused(refusal.status),
            Said::Doubt => Look::Rows { ours: false, any: false },
            Said::Yes { body, .. } => {
                let rows = body["data"].as_array();
                let total = int(&body["meta"]["total"]).unwrap_or_default();
                let any = total > 0 || rows.is_some_and(|rows| !rows.is_empty());
                Look::Rows { ours: rows.into_iter().flatten().any(is_ours), any }
            }
        })
    }

    /// How many rows a page the contact list says it has when so many are asked for, and how many rows came.
    pub(super) async fn probe_page(&self, page: u64, per_page: u64) -> Result<(PageSize, u64, Option<u64>), Failure> {
        let request =
            Request::get("/contact").query("page", &page.to_string()).query("per_page", &per_page.to_string());
        Ok(match self.probe_ask(request).await? {
            Said::No(_) | Said::Doubt => (PageSize::Refused, 0, None),
            Said::Yes { body, .. } => {
                let number = |value: &Value| int(value).and_then(|number| u64::try_from(number).ok());
                let size = number(&body["meta"]["per_page"]).map_or(PageSize::Silent, PageSize::Says);
                let rows = body["data"].as_array().map_or(0, Vec::len) as u64;
                (size, rows, number(&body["meta"]["total"]))
            }
        })
    }
}

fn refusal(failure: Failure) -> Result<Said, Failure> {
    let Failure::Api(error) = &failure else { return Err(failure) };
    let no = |status| Said::No(Refusal { status, fields: error.fields(), shape: error.shape() });
    match (error.decision(), error.status()) {
        (Decision::Doubt, _) => Ok(Said::Doubt),
        // The role may lack one permission and have the others.
        (Decision::GiveUp | Decision::NotFound, Some(status)) | (Decision::Stop, Some(status @ 403)) => Ok(no(status)),
        _ => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Said;

    #[test]
    fn only_an_id_inside_data_is_the_id_of_what_was_made() {
        let made = |body| Said::Yes { status: 201, body }.made();
        assert_eq!((made(json!({ "data": { "id": 7 } })), made(json!({ "data": { "id": "7" } }))), (Some(7), Some(7)));
        for body in [json!({ "id": 7 }), json!({ "id": 7, "data": [] }), json!({ "data": { "id": null } }), json!(7)] {
            assert_eq!(made(body.clone()), None, "{body}");
        }
        assert_eq!(Said::Doubt.made(), None);
    }
}
