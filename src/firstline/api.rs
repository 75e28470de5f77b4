//! The endpoints: one method per call, authorised, with the two things this platform needs beyond plain HTTP: a token
//! that may be renewed once, and updates whose method has to be found out.
//!
//! It knows wire types and paths, not the engine's words; those are `target`'s.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::auth::{Auth, BadToken, is_refusal};
use super::error::{Failure, PLATFORM};
use super::fields::{Forms, UpdateBody, body};
use super::lenient::Row;
use super::profile::{Learned, UpdateChoice, UpdateMethod};
use super::settings::FirstLineSettings;
use super::wire::{List, MaybeOne, Meta, One};
use crate::clock::Clock;
use crate::http::{HttpClient, Repeat, Reply, Request};

/// Pages of definitions that are read at most: a tenant has dozens of categories, not thousands.
const DEFINITION_PAGES_MAX: u32 = 500;

/// The API of one tenant.
pub(super) struct Api {
    http: HttpClient,
    auth: Auth,
    per_page: u32,
    /// The tenant refused `per_page`; its own default is used since.
    per_page_refused: AtomicBool,
    pub(super) learned: Learned,
    pub(super) forms: Forms,
}

impl Api {
    pub(super) fn new(http: HttpClient, settings: FirstLineSettings, clock: Arc<dyn Clock>) -> Result<Self, BadToken> {
        // What every account that can be used may read. Of the tenant's own page size: a smaller one may be refused.
        http.know(&Request::get("/contact").query("page", "1"));
        Ok(Self {
            http,
            auth: Auth::new(settings.credentials, settings.shared, clock)?,
            per_page: settings.per_page,
            per_page_refused: AtomicBool::new(settings.per_page == 0),
            learned: Learned::new(settings.profile),
            forms: Forms { boolean: settings.boolean_form, clear: settings.clear_form },
        })
    }

    /// One object by its path.
    pub(super) async fn get<T: DeserializeOwned + Send>(&self, path: &str) -> Result<T, Failure> {
        let answer: One<T> = self.json(Request::get(path)).await?;
        Ok(answer.data)
    }

    /// One page of a list. A tenant that has no such list is not the tenant that the operator means.
    pub(super) async fn list<T: DeserializeOwned + Send>(
        &self,
        path: &str,
        filter: &[(&str, String)],
        page: u32,
    ) -> Result<List<T>, Failure> {
        let answer = match self.list_if_any(path, filter, page).await {
            Err(failure) if failure.status() == Some(404) => {
                return Err(Failure::Tenant(format!(
                    "{PLATFORM} has no {path} (status 404): firstline.base_url must be https://<tenant host>/api/v1"
                )));
            }
            // A filter that is refused is only no filter.
            Err(failure) if filter.is_empty() => return Err(failure.of_list(path, page)),
            answer => answer?,
        };
        let answered = answer.meta.as_ref().and_then(Meta::current_page);
        match answered {
            // A walk over pages that are all the same one would never end, or end too early.
            Some(answered) if answered != page => Err(Failure::Tenant(format!(
                "{PLATFORM} answered page {answered} of {path} when asked for page {page}: its lists cannot be paged"
            ))),
            _ => Ok(answer),
        }
    }

    async fn list_if_any<T: DeserializeOwned + Send>(
        &self,
        path: &str,
        filter: &[(&str, String)],
        page: u32,
    ) -> Result<List<T>, Failure> {
        let with_per_page = !self.per_page_refused.load(Ordering::Relaxed);
        match self.list_once(path, filter, page, with_per_page).await {
            // Not every version of the documentation has the parameter, and its maximum is unknown (notes 2.1).
            Err(failure) if with_per_page && failure.may_be_about("per_page") => {
                let answer = self.list_once(path, filter, page, false).await?;
                // Only now is it known that this was what was refused, and not a filter.
                if !self.per_page_refused.swap(true, Ordering::Relaxed) {
                    tracing::warn!("FIRST LINE refuses this per_page: its own page size is used");
                }
                Ok(answer)
            }
            answer => answer,
        }
    }

    async fn list_once<T: DeserializeOwned + Send>(
        &self,
        path: &str,
        filter: &[(&str, String)],
        page: u32,
        with_per_page: bool,
    ) -> Result<List<T>, Failure> {
        let mut request = Request::get(path).query("page", &page.to_string());
        if with_per_page {
            request = request.query("per_page", &self.per_page.to_string());
        }
        for (key, value) in filter {
            request = request.query(key, value);
        }
        self.json(request).await
    }

    /// Every readable row of a short list, to its last page; `None` where the tenant has no such list.
    pub(super) async fn whole_list<T: DeserializeOwned + Send>(
        &self,
        path: &'static str,
        filter: &[(&str, String)],
        id: impl Fn(&T) -> i64,
    ) -> Result<Option<Vec<T>>, Failure> {
        let mut rows: Vec<T> = Vec::new();
        for page in 1..=DEFINITION_PAGES_MAX {
            let answer: List<Row<T>> = match self.list_if_any(path, filter, page).await {
                Err(failure) if failure.status() == Some(404) => return Ok(None),
                answer => answer.map_err(|failure| failure.of_list(path, page))?,
            };
            let before = rows.len();
            for row in answer.data.into_iter().filter_map(|row| row.or_warn(path)) {
                if !rows.iter().any(|known| id(known) == id(&row)) {
                    rows.push(row);
                }
            }
            let last_page = answer.meta.as_ref().and_then(Meta::last_page);
            if last_page.is_some_and(|last| page >= last) || (last_page.is_none() && rows.len() == before) {
                return Ok(Some(rows));
            }
        }
        Err(Failure::Tenant(format!("{PLATFORM} has no end of {path}: {DEFINITION_PAGES_MAX} pages were read")))
    }

    /// A creating POST: never sent again once its outcome is in doubt.
    pub(super) async fn create<T: DeserializeOwned + Send>(
        &self,
        path: &str,
        content: &(impl Serialize + Sync),
    ) -> Result<T, Failure> {
        let request = Request::post(path, Repeat::OnlyIfNotApplied).json(body(content));
        let answer: One<T> = self.json(request).await?;
        Ok(answer.data)
    }

    /// An update, by the method that this tenant takes. `None` when the answer does not show the object.
    pub(super) async fn update<T: DeserializeOwned + Send>(
        &self,
        path: &str,
        content: &(impl Serialize + Sync),
    ) -> Result<Option<T>, Failure> {
        let choice = self.learned.get().update;
        let mut not_found = None;
        for method in choice.candidates() {
            let content = body(&UpdateBody { method, inner: content });
            let request = match method {
                UpdateMethod::PostBody => Request::post(path, Repeat::Safe),
                UpdateMethod::PostQuery => Request::post(path, Repeat::Safe).query("_method", "put"),
                UpdateMethod::Put => Request::put(path),
            };
            // It was made of what was read, as long ago as one attempt may take: what agents did meanwhile must not be undone.
            let request = request.json(content).fresh_for(self.http.timeout());
            match self.json_if_any::<MaybeOne<T>>(request).await {
                Err(failure) if failure.status() == Some(405) => {}
                // Routers also say so of a method that a path does not have. What has worked before is believed.
                Err(failure) if failure.status() == Some(404) && choice == UpdateChoice::Open => {
                    not_found.get_or_insert(failure);
                }
                Err(failure) => return Err(failure),
                Ok(answer) => {
                    self.learned.update_works(method);
                    return Ok(answer.and_then(|answer| answer.data));
                }
            }
        }
        if let Some(failure) = not_found {
            return Err(failure);
        }
        Err(Failure::Tenant(match choice {
            UpdateChoice::Fixed(method) => format!(
                "{PLATFORM} does not take updates by {method} (status 405): set firstline.update_method = \"auto\""
            ),
            UpdateChoice::Open | UpdateChoice::Found(_) => {
                format!("{PLATFORM} takes updates by no known method (status 405 to each)")
            }
        }))
    }

    /// Deletes one object. What is not there is deleted (404, 410). Like an update it is not sent once it waited for longer
    /// than one attempt may take: what was read before may have changed.
    pub(super) async fn delete(&self, path: &str) -> Result<(), Failure> {
        let request = Request::delete(path).fresh_for(self.http.timeout());
        match self.json_if_any::<serde::de::IgnoredAny>(request).await {
            Err(failure) if matches!(failure.status(), Some(404 | 410)) => Ok(()),
            answer => answer.map(drop),
        }
    }

    async fn json<T: DeserializeOwned + Send>(&self, request: Request) -> Result<T, Failure> {
        Ok(self.reply(request).await?.value)
    }

    /// Sends with a token and reads the answer; with another one where it is refused, for as long as there is one.
    pub(super) async fn reply<T: DeserializeOwned + Send>(&self, mut request: Request) -> Result<Reply<T>, Failure> {
        let mut header = self.auth.header(&self.http).await?;
        loop {
            request = request.auth(header.clone());
            match self.http.json(&request).await {
                Err(error) if is_refusal(&error) => {
                    header = self.auth.after_refusal(&self.http, &header, error).await?;
                }
                answer => {
                    let reply = answer?;
                    self.auth.worked(&header);
                    return Ok(reply);
                }
            }
        }
    }

    /// The same for a write that may be answered with nothing.
    pub(super) async fn json_if_any<T: DeserializeOwned + Send>(
        &self,
        mut request: Request,
    ) -> Result<Option<T>, Failure> {
        let mut header = self.auth.header(&self.http).await?;
        loop {
            request = request.auth(header.clone());
            match self.http.json_if_any(&request).await {
                Err(error) if is_refusal(&error) => {
                    header = self.auth.after_refusal(&self.http, &header, error).await?;
                }
                answer => {
                    let answer = answer?;
                    self.auth.worked(&header);
                    return Ok(answer);
                }
            }
        }
    }
}
