//! LiveDesk: its list as the notes describe it (LiveDesk 3 and 4).

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use deskferry::app::read_row;
use deskferry::domain::ids::LiveDeskId;
use deskferry::domain::sweep::{Direction, DirectionStyle, SortKey};
use deskferry::sync::ports::{ByIdAnswer, ContactSource, LabelStyle, PageRequest, PortError, SourcePage, SourceRow};
use serde_json::{Value, json};

use super::operations::{Side, Watched};
use super::world::{Inner, World};

/// A contact.
#[derive(Clone, Debug, Default)]
pub(super) struct Person {
    pub(super) id: i64,
    pub(super) created_s: i64,
    pub(super) active_s: Option<i64>,
    pub(super) name: String,
    pub(super) email: Option<String>,
    pub(super) phone: Option<String>,
    pub(super) identifier: Option<String>,
    pub(super) blocked: bool,
    /// A birthday that is none.
    pub(super) spoilt: bool,
    pub(super) vip: String,
    pub(super) city: String,
    pub(super) note: String,
    pub(super) interests: Vec<&'static str>,
    pub(super) topic: String,
    pub(super) labelled: bool,
    /// When what it holds last changed.
    pub(super) changed: BTreeMap<Watched, i64>,
    /// E-mails and phones that it had.
    pub(super) past: Vec<(Watched, String)>,
    /// Since when nothing keeps it from being carried.
    pub(super) carried_from: i64,
    /// When anything of it last changed.
    pub(super) touched: i64,
}

impl Person {
    /// Whether the list shows it.
    pub(super) fn is_listed(&self) -> bool {
        self.email.is_some() || self.phone.is_some() || self.identifier.is_some()
    }

    /// Whether FIRST LINE would refuse it.
    pub(super) fn is_forbidden(&self) -> bool {
        self.name.contains('⛔')
    }

    fn row(&self) -> Value {
        json!({
            "id": self.id, "name": self.name, "email": self.email, "phone_number": self.phone,
            "identifier": self.identifier, "blocked": self.blocked, "created_at": self.created_s,
            "last_activity_at": self.active_s, "additional_attributes": {},
            "custom_attributes": {
                "vip": self.vip, "city": self.city, "note": self.note, "interests": self.interests, "topic": self.topic,
                "birthday": if self.spoilt { "soon" } else { "1990-05-17" },
            },
        })
    }
}

/// The doors to it.
pub(super) struct Desk(pub(super) Arc<World>);

impl Desk {
    async fn list(&self, request: PageRequest, labelled: Option<bool>) -> Result<SourcePage, PortError> {
        let what = if labelled.is_some() { "labelled" } else { request.order.key.as_str() };
        let entered = self.0.enter(Side::Desk, what, i64::from(request.page)).await?;
        let page = self.0.now().desk_page(request, labelled);
        self.0.leave(entered).await;
        Ok(page)
    }
}

impl ContactSource for Desk {
    async fn page(&self, request: PageRequest) -> Result<SourcePage, PortError> {
        self.list(request, None).await
    }

    async fn labelled_page(
        &self,
        label: &str,
        _style: LabelStyle,
        request: PageRequest,
    ) -> Result<SourcePage, PortError> {
        self.list(request, Some(label == "vip")).await
    }

    async fn by_id(&self, id: LiveDeskId, _known: LiveDeskId) -> Result<ByIdAnswer, PortError> {
        let entered = self.0.enter(Side::Desk, "by id", id.0).await?;
        let answer = {
            let inner = self.0.now();
            match inner.people.get(&id.0) {
                _ if !inner.switches.by_id => ByIdAnswer::Unsupported,
                Some(person) => ByIdAnswer::Found(Box::new(read_row(person.row()).unwrap())),
                None => ByIdAnswer::Missing,
            }
        };
        self.0.leave(entered).await;
        Ok(answer)
    }

    fn concurrency(&self) -> usize {
        self.0.now().switches.prefetch
    }
}

impl Inner {
    fn desk_page(&mut self, request: PageRequest, labelled: Option<bool>) -> SourcePage {
        self.salt += 1;
        let salt = if self.switches.shuffled_ties { self.salt } else { 0 };
        let descends = request.order.direction == Direction::Descending
            && (request.style == DirectionStyle::Minus || !self.switches.minus_only);
        let mut rows: Vec<&Person> = self
            .people
            .values()
            .filter(|person| person.is_listed() && labelled.is_none_or(|vip| vip && person.labelled))
            .collect();
        rows.sort_by(|one, other| {
            let order = compare(one, other, request.order.key, descends);
            order.then_with(|| mix(one.id, salt).cmp(&mix(other.id, salt)))
        });
        let count = rows.len() as u64;
        let size = self.switches.page_size;
        let from = size * (request.page.max(1) as usize - 1);
        let ids: Vec<i64> = rows.into_iter().skip(from).take(size).map(|person| person.id).collect();
        let rows = ids.iter().map(|id| SourceRow::from(read_row(self.people[id].row()).unwrap())).collect();
        for id in ids.into_iter().filter(|_| labelled.is_none()) {
            self.shown.insert(id, self.now());
        }
        let server_date = Some(self.now() / 1000);
        SourcePage { rows, malformed: Vec::new(), count: Some(count), server_date }
    }
}

/// Nulls come last either way, and no key has a tie-breaker.
fn compare(one: &Person, other: &Person, key: SortKey, descends: bool) -> Ordering {
    fn by<T: Ord>(one: Option<T>, other: Option<T>, descends: bool) -> Ordering {
        match (one, other) {
            (Some(one), Some(other)) if descends => other.cmp(&one),
            (Some(one), Some(other)) => one.cmp(&other),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        }
    }
    match key {
        SortKey::CreatedAt => by(Some(one.created_s), Some(other.created_s), descends),
        SortKey::LastActivityAt => by(one.active_s, other.active_s, descends),
        SortKey::Email => by(one.email.as_ref(), other.email.as_ref(), descends),
        SortKey::PhoneNumber => by(one.phone.as_ref(), other.phone.as_ref(), descends),
        SortKey::Name => by(Some(&one.name), Some(&other.name), descends),
    }
}

fn mix(id: i64, salt: u64) -> u64 {
    if salt == 0 {
        return id.unsigned_abs();
    }
    let mut x = id.unsigned_abs().wrapping_add(salt.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
