//! What an update does: its method, what it leaves out, tags, booleans, and emptying a field.
//!
//! Every update carries a membership_no that was never sent before. Only an answer that shows it is new enough to judge
//! by: a read may lag as well.

use serde_json::{Map, Value, json};

use super::calls::{Said, int};
use super::judge::{self, Cleared, Survived};
use super::{Ledger, Made, Method, Probe, ProbeError, put_columns};
use crate::domain::field::FieldKind;
use crate::domain::record::{FieldKey, canonical_current, is_blank};
use crate::domain::target::TargetContact;
use crate::domain::tenant::{Question, ScratchKind};
use crate::firstline::profile::UpdateMethod;
use crate::http::Request;

/// What a field holds before something is done to it.
const HELD: &str = "held";

/// The two tags of a probe, or why there are none.
type Tags<'t> = Result<&'t (i64, i64), &'t String>;

impl<L: Ledger> Probe<'_, L> {
    /// What every update of the scratch contact holds; the text is what tells this update from all others.
    fn fresh_body(&mut self, made: &Made) -> (Map<String, Value>, String) {
        self.count += 1;
        let witness = self.number_of(&made.stamp).of(self.count);
        let body = Map::from_iter([
            (String::from("first_name"), json!(made.stamp)),
            (String::from("membership_no"), json!(witness)),
        ]);
        (body, witness)
    }

    /// Updates, and reads the contact as it is after this update; `None` when the update did not take effect.
    async fn update(
        &mut self,
        made: &Made,
        method: Method,
        fields: impl IntoIterator<Item = (&'static str, Value)>,
        columns: Vec<(i64, Value)>,
    ) -> Result<(Said, Option<TargetContact>), ProbeError> {
        let (mut body, witness) = self.fresh_body(made);
        body.extend(fields.into_iter().map(|(key, value)| (key.to_owned(), value)));
        put_columns(&mut body, columns);
        let said = self.target.probe_update(made.id, method, body).await?;
        self.note_shape(&said);
        let applied = |contact: &TargetContact| {
            contact.value(FieldKey::MembershipNo).and_then(Value::as_str) == Some(witness.as_str())
        };
        let mut after = self.target.probe_read(made.id).await?;
        if !after.as_ref().is_some_and(applied) && matches!(said, Said::Yes { .. }) {
            self.pause(self.settings.settle).await?;
            after = self.target.probe_read(made.id).await?;
        }
        Ok((said, after.filter(applied)))
    }

    /// The methods that change the contact; gives the one that runs will use, or else the first.
    pub(super) async fn update_methods(&mut self, made: &Made) -> Result<Option<Method>, ProbeError> {
        let (mut worked, mut statuses) = (Vec::new(), Vec::new());
        for method in UpdateMethod::ALL {
            match self.update(made, method, [], Vec::new()).await? {
                (_, Some(_)) => worked.push(method),
                (Said::Yes { .. }, None) => statuses.push(format!("{method}: accepted, without effect")),
                (said, None) => statuses.push(format!("{method}: {}", said.why_not())),
            }
        }
        match judge::update_method(&worked, &statuses) {
            Ok(method) => {
                self.report.settle(Question::UpdateMethod, method.as_str());
                let names: Vec<&str> = worked.iter().map(|method| method.as_str()).collect();
                self.report.detail(Question::UpdateMethod, format!("works: {}", names.join(", ")));
                Ok(Some(self.settings.fixed_method.filter(|fixed| worked.contains(fixed)).unwrap_or(method)))
            }
            Err(reason) => {
                self.report.unknown(Question::UpdateMethod, reason);
                for question in
                    [Question::UpdateSemantics, Question::TagsOnUpdate, Question::BooleanForm, Question::ClearForm]
                {
                    self.report.unknown(question, "no update reached the scratch contact");
                }
                Ok(None)
            }
        }
    }

    /// Whether what an update leaves out survives. Gives whether fields are reset.
    pub(super) async fn update_semantics(
        &mut self,
        made: &Made,
        method: Method,
        tags: Tags<'_>,
    ) -> Result<Option<bool>, ProbeError> {
        if let Some(fixed) = self.settings.fixed_method.filter(|fixed| *fixed != method) {
            // Runs do not use what works.
            let reason =
                format!("no update by {fixed}, which firstline.update_method says, reached the scratch contact");
            self.report.unknown(Question::UpdateSemantics, reason);
            return Ok(None);
        }
        let survived = self.survived(made, method, tags).await?;
        match judge::semantics(survived) {
            Ok(word) => {
                self.report.settle(Question::UpdateSemantics, word);
                self.report.detail(Question::UpdateSemantics, format!("{}, by {method}", judge::losses(survived)));
            }
            Err(reason) => self.report.unknown(Question::UpdateSemantics, reason),
        }
        // What is reset by leaving it out can be emptied so only where that holds of both kinds of fields.
        Ok(survived.standard.zip(survived.column).map(|(standard, column)| !standard && !column))
    }

    /// Fills the contact and gives it a tag, then leaves out one thing after the other.
    async fn survived(&mut self, made: &Made, method: Method, tags: Tags<'_>) -> Result<Survived, ProbeError> {
        let whole: Vec<(i64, Value)> =
            self.columns.text.map(|id| (id, json!(HELD))).into_iter().chain(self.columns.second.clone()).collect();
        let mut survived = Survived::default();
        let name = || ("last_name", json!(HELD));
        let tag = tags.ok().map(|(first, _)| ("tag_ids", json!([first])));
        let mut before = self.update(made, method, [name()].into_iter().chain(tag), whole.clone()).await?.1;
        if before.is_none() && tags.is_ok() {
            before = self.update(made, method, [name()], whole.clone()).await?.1;
        }
        let Some(before) = before else { return Ok(survived) };
        let tagged = self.has_first(&before, tags).await? == Some(true);
        let held: Vec<i64> =
            whole.iter().map(|(id, _)| *id).filter(|id| holds(&before, FieldKey::Custom(*id))).collect();
        if !holds(&before, FieldKey::LastName) {
            return Ok(survived);
        }
        if let (_, Some(after)) = self.update(made, method, [], Vec::new()).await? {
            survived.standard = Some(holds(&after, FieldKey::LastName));
            if !held.is_empty() {
                survived.column = Some(held.iter().all(|id| holds(&after, FieldKey::Custom(*id))));
            }
            if tagged {
                survived.tags = self.has_first(&after, tags).await?;
            }
        }
        if let [(first, _), (second, _)] = whole[..]
            && held.len() == 2
        {
            let restored = self.update(made, method, [("last_name", json!(HELD))], whole.clone()).await?.1;
            if restored.is_some_and(|contact| holds(&contact, FieldKey::Custom(second)))
                && let (_, Some(after)) = self.update(made, method, [], vec![(first, json!("changed"))]).await?
            {
                survived.other_column = Some(holds(&after, FieldKey::Custom(second)));
                survived.standard = survived.standard.map(|kept| kept && holds(&after, FieldKey::LastName));
            }
        }
        Ok(survived)
    }

    /// Makes two tags; or the reason why there are none.
    pub(super) async fn make_tags(&mut self) -> Result<Result<(i64, i64), String>, ProbeError> {
        let mut ids = Vec::new();
        for _ in 0..2 {
            let stamp = Self::stamp();
            let said = self.make(ScratchKind::Tag, &stamp, "/contact-tag", &json!({ "name": stamp })).await?;
            let Some(id) = said.made() else {
                return Ok(Err(format!("no tag could be made to try it with: {}", said.why_not())));
            };
            ids.push(id);
        }
        Ok(Ok((ids[0], ids[1])))
    }

    /// What became of the tag in the create.
    pub(super) async fn tags_of_create(&mut self, made: &Made, tags: Tags<'_>) -> Result<(), ProbeError> {
        let (first, second) = match tags {
            Err(reason) => {
                self.report.unknown(Question::TagsOnCreate, reason.as_str());
                self.report.unknown(Question::TagsOnUpdate, reason.as_str());
                return Ok(());
            }
            Ok(tags) => *tags,
        };
        if self.report.reading(Question::TagsOnCreate).is_some() {
            return Ok(());
        }
        let contact = self.target.probe_read(made.id).await?;
        match self.has_tags(contact.as_ref(), first, second).await? {
            Some((true, _)) => self.report.settle(Question::TagsOnCreate, "accepted"),
            Some((false, _)) => self.report.settle(Question::TagsOnCreate, "ignored"),
            None => self.report.unknown(Question::TagsOnCreate, "neither contacts nor tags show which tag is where"),
        }
        Ok(())
    }

    /// Whether a second set of tags takes the place of the first.
    pub(super) async fn tags_of_update(
        &mut self,
        made: &Made,
        method: Method,
        tags: Tags<'_>,
    ) -> Result<(), ProbeError> {
        let Ok(&(first, second)) = tags else { return Ok(()) };
        let (said, before) = self.update(made, method, [("tag_ids", json!([first]))], Vec::new()).await?;
        let had = match &before {
            Some(contact) => self.has_tags(Some(contact), first, second).await?,
            None => None,
        };
        let now = match had {
            Some((true, false)) => {
                let after = self.update(made, method, [("tag_ids", json!([second]))], Vec::new()).await?.1;
                match &after {
                    Some(contact) => self.has_tags(Some(contact), first, second).await?,
                    None => None,
                }
            }
            _ => None,
        };
        let judged = match (had, now) {
            (_, Some((first, second))) => judge::tags_on_update(first, second),
            (Some((false, _)), _) => Err(String::from("an update does not set a tag")),
            _ if !matches!(said, Said::Yes { .. }) => Err(format!("an update with a tag was {}", said.why_not())),
            _ => Err(String::from("neither contacts nor tags show which tag is where")),
        };
        match judged {
            Ok(word) => self.report.settle(Question::TagsOnUpdate, word),
            Err(reason) => self.report.unknown(Question::TagsOnUpdate, reason),
        }
        Ok(())
    }

    /// Whether the scratch contact has the first of the two tags.
    async fn has_first(&self, contact: &TargetContact, tags: Tags<'_>) -> Result<Option<bool>, ProbeError> {
        let Ok(&(first, second)) = tags else { return Ok(None) };
        Ok(self.has_tags(Some(contact), first, second).await?.map(|(first, _)| first))
    }

    /// Which of the two tags the scratch contact has: it says so itself, or the tags count it.
    async fn has_tags(
        &self,
        contact: Option<&TargetContact>,
        first: i64,
        second: i64,
    ) -> Result<Option<(bool, bool)>, ProbeError> {
        if let Some(ids) = contact.and_then(|contact| contact.tag_ids.as_ref()) {
            return Ok(Some((ids.contains(&first), ids.contains(&second))));
        }
        let mut used = Vec::new();
        for tag in [first, second] {
            let said = self.target.probe_ask(Request::get(&format!("/contact-tag/{tag}"))).await?;
            let Said::Yes { body, .. } = said else { return Ok(None) };
            let Some(count) = int(&body["data"]["contacts_count"]) else { return Ok(None) };
            used.push(count > 0);
        }
        Ok(Some((used[0], used[1])))
    }

    /// The forms in which yes and no are stored as they are meant.
    pub(super) async fn boolean_forms(&mut self, made: &Made, method: Method) -> Result<(), ProbeError> {
        let Some(column) = self.columns.boolean else {
            self.report.unknown(Question::BooleanForm, "there is no boolean custom field");
            return Ok(());
        };
        let mut accepted = Vec::new();
        for (form, yes, no) in
            [("number", json!(1), json!(0)), ("bool", json!(true), json!(false)), ("text", json!("1"), json!("0"))]
        {
            let mut stored = true;
            for (value, meant) in [(yes, "1"), (no, "0")] {
                let after = self.update(made, method, [], vec![(column, value)]).await?.1;
                let now = after.as_ref().and_then(|contact| contact.value(FieldKey::Custom(column)));
                let now = now.and_then(|value| canonical_current(FieldKind::Boolean, value));
                stored &= now.as_deref() == Some(meant);
            }
            if stored {
                accepted.push(form);
            }
        }
        match judge::boolean(&accepted) {
            Ok(form) => {
                self.report.settle(Question::BooleanForm, form);
                self.report.detail(Question::BooleanForm, format!("taken: {}", accepted.join(", ")));
            }
            Err(reason) => self.report.unknown(Question::BooleanForm, reason),
        }
        Ok(())
    }

    /// The ways of emptying a field.
    pub(super) async fn clear_forms(
        &mut self,
        made: &Made,
        method: Method,
        replaces: Option<bool>,
    ) -> Result<(), ProbeError> {
        let null = self.cleared_by(made, method, &Value::Null).await?;
        let empty = self.cleared_by(made, method, &json!("")).await?;
        match judge::clearing(null, empty, replaces) {
            Ok(word) => {
                self.report.settle(Question::ClearForm, word);
                let of = |name: &str, seen: Cleared| {
                    let words = |seen| match seen {
                        Some(true) => "emptied",
                        Some(false) => "not emptied",
                        None => "not seen",
                    };
                    format!("{name}: standard fields {}, custom fields {}", words(seen.standard), words(seen.column))
                };
                self.report.detail(Question::ClearForm, [of("null", null), of("\"\"", empty)].join("; "));
            }
            Err(reason) => self.report.unknown(Question::ClearForm, reason),
        }
        Ok(())
    }

    async fn cleared_by(&mut self, made: &Made, method: Method, form: &Value) -> Result<Cleared, ProbeError> {
        let text = self.columns.text;
        let column = |value: Value| text.map(|id| (id, value)).into_iter().collect::<Vec<_>>();
        let held = |made: &TargetContact| holds(made, FieldKey::LastName);
        let mut cleared = Cleared::default();
        let filled = self.update(made, method, [("last_name", json!(HELD))], column(json!(HELD))).await?.1;
        if filled.as_ref().is_some_and(held) {
            let answer = self.update(made, method, [("last_name", form.clone())], column(json!(HELD))).await?;
            cleared.standard = emptied(&answer, FieldKey::LastName);
        }
        if let Some(id) = text
            && let Some(filled) = self.update(made, method, [("last_name", json!(HELD))], column(json!(HELD))).await?.1
            && holds(&filled, FieldKey::Custom(id))
        {
            let answer = self.update(made, method, [("last_name", json!(HELD))], column(form.clone())).await?;
            cleared.column = emptied(&answer, FieldKey::Custom(id));
        }
        Ok(cleared)
    }
}

fn holds(contact: &TargetContact, key: FieldKey) -> bool {
    contact.value(key).is_some_and(|value| !is_blank(value))
}

/// Whether an update emptied a field. A refused one did not; one without a visible effect says nothing. An empty text that
/// is stored as one is not the same as nothing.
fn emptied((said, after): &(Said, Option<TargetContact>), key: FieldKey) -> Option<bool> {
    match (said, after) {
        (Said::No(_), _) => Some(false),
        (_, Some(contact)) => Some(contact.value(key).is_none_or(Value::is_null)),
        (_, None) => None,
    }
}
