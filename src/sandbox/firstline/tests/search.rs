//! Filters of the contact list, and readers that lag behind.

use super::*;

/// Query parameters.
type Filters<'a> = &'a [(&'a str, &'a str)];

/// A tenant with three contacts.
fn three(changes: Value) -> (Tenant, [u64; 3]) {
    let tenant = Tenant::with(changes);
    let add = |fields: Value, email: &str, phone: &str, columns: &[(i64, Value)]| {
        tenant.world.add_contact(&fields, &[email], &[phone], columns)
    };
    let one = json!({ "first_name": "Chen", "last_name": "Mei", "membership_no": "LD-1", "gender": 0 });
    let ten = json!({ "first_name": "Lin", "membership_no": "LD-10", "birth_at": "1985-08-27" });
    let ids = [
        add(one, "chen@example.com", "0911", &[(31, json!("1")), (33, json!(5)), (35, json!(["food", "music"]))]),
        add(ten, "lin@example.com", "09110", &[(31, json!("10")), (33, json!(50))]),
        add(json!({ "first_name": "Other" }), "other@example.com", "0922", &[]),
    ];
    (tenant, ids)
}

#[tokio::test]
async fn a_text_filter_is_exact_fuzzy_ignored_or_refused() {
    let table = [("exact", 1), ("prefix", 2), ("substring", 2), ("fuzzy", 2), ("ignored", 3)];
    for (switch, parameter, value) in
        [("filter_membership_no", "membership_no", "LD-1"), ("filter_phone_number", "phone_number", "0911")]
    {
        for (mode, hits) in table {
            let (tenant, _) = three(json!({ switch: mode }));
            assert_eq!(tenant.find("contact", &[(parameter, value)]).await.total(), hits, "{switch} {mode}");
            assert_eq!(tenant.world.tally().lookups, 1);
        }
        let (tenant, _) = three(json!({ switch: "rejected" }));
        assert_eq!(tenant.find("contact", &[(parameter, value)]).await.errors(), [parameter]);
    }
    let (tenant, ids) = three(json!({ "filter_email": "substring" }));
    assert_eq!(tenant.find("contact", &[("email", "example.com")]).await.total(), 3);
    tenant.switch(json!({ "filter_email": "exact" }));
    assert_eq!(tenant.find("contact", &[("email", "Chen@Example.com")]).await.ids(), [ids[0]]);
    tenant.switch(json!({ "exact_ignores_case": false }));
    assert_eq!(tenant.find("contact", &[("email", "Chen@Example.com")]).await.total(), 0);
}

#[tokio::test]
async fn the_other_documented_filters_work() {
    let (tenant, [one, ten, other]) = three(json!({}));
    let (later, never): (&str, &[u64]) = ("2999-01-01 00:00:00", &[]);
    let one_ten = format!("{one},{ten}");
    let table: &[(Filters, &[u64])] = &[
        (&[("name", "Chen M")], &[one]),
        (&[("name", "Mei")], never),
        (&[("search", "mei")], &[one]),
        (&[("search", "LD-10")], &[ten]),
        (&[("id", &one_ten)], &[one, ten]),
        (&[("id[]", &one_ten)], &[one, ten]),
        (&[("gender", "0")], &[one]),
        (&[("birth_at__start", "1985-01-01"), ("birth_at__end", "1985-12-31")], &[ten]),
        (&[("birth_months", "7,8")], &[ten]),
        (&[("created_at__start", later)], never),
        (&[("created_at__end", later)], &[one, ten, other]),
        (&[("updated_at__start", "2000-01-01T00:00:00Z")], &[one, ten, other]),
        (&[("membership_no", "")], &[one, ten, other]),
        (&[("no_such_filter", "x")], &[one, ten, other]),
        (&[("membership_no", "LD-1"), ("email", "lin@example.com")], never),
    ];
    for (filters, expected) in table {
        assert_eq!(tenant.find("contact", filters).await.ids(), *expected, "{filters:?}");
    }
    assert_eq!(tenant.find("contact", &[("created_at__start", "soon")]).await.errors(), ["created_at__start"]);
    tenant.switch(json!({ "filter_created_at": "ignored", "filter_id": "ignored" }));
    assert_eq!(tenant.find("contact", &[("created_at__start", later), ("id", "1")]).await.total(), 3);
}

#[tokio::test]
async fn a_column_filter_works_only_in_the_forms_of_the_tenant() {
    // form, hits by brackets, hits by JSON
    for (form, brackets, json_form) in [("brackets", 1, 3), ("json", 3, 1), ("both", 1, 1), ("ignored", 3, 3)] {
        let (tenant, _) = three(json!({ "filter_cz_cols": form }));
        let keys = [("cz_cols[0][id]", "31"), ("cz_cols[0][op]", "="), ("cz_cols[0][val]", "1")];
        assert_eq!(tenant.find("contact", &keys).await.total(), brackets, "{form} brackets");
        let text = json!([{ "id": 31, "op": "=", "val": "1" }]).to_string();
        assert_eq!(tenant.find("contact", &[("cz_cols", &text)]).await.total(), json_form, "{form} json");
    }
    let (tenant, _) = three(json!({ "filter_cz_cols": "rejected" }));
    assert_eq!(tenant.find("contact", &[("cz_cols", "[]")]).await.errors(), ["cz_cols"]);
}

#[tokio::test]
async fn a_column_filter_knows_the_documented_operators() {
    let (tenant, [one, ten, other]) = three(json!({}));
    let table: &[(&str, &str, &str, &[u64])] = &[
        ("33", "=", "5", &[one]),
        ("33", "<>", "5", &[ten]),
        ("33", ">", "5", &[ten]),
        ("33", ">=", "5", &[one, ten]),
        ("33", "<", "50", &[one]),
        ("33", "<=", "50", &[one, ten]),
        ("31", "in", "1,10", &[one, ten]),
        ("31", "not_in", "1,2", &[ten]),
        ("31", "is_null", "", &[other]),
        ("31", "is_not_null", "", &[one, ten]),
        ("35", "=", "music", &[one]),
    ];
    for (id, op, value, expected) in table {
        let keys = [("cz_cols[0][id]", *id), ("cz_cols[0][op]", *op), ("cz_cols[0][val]", *value)];
        assert_eq!(tenant.find("contact", &keys).await.ids(), *expected, "{id} {op} {value}");
    }
    let keys = [("cz_cols[0][id]", "31"), ("cz_cols[0][op]", "like"), ("cz_cols[0][val]", "1")];
    assert_eq!(tenant.find("contact", &keys).await.errors(), ["cz_cols.0.op"]);
}

#[tokio::test]
async fn an_index_follows_every_write() {
    let tenant = Tenant::new();
    let by_column = [("cz_cols[0][id]", "31"), ("cz_cols[0][op]", "="), ("cz_cols[0][val]", "7")];
    assert_eq!(tenant.find("contact", &by_column).await.total(), 0);
    let stamp = |value: &str| json!([{ "id": 31, "value": value }]);
    let body = json!({ "first_name": "A", "membership_no": "LD-7", "cz_cols": stamp("7") });
    let id = tenant.post("contact", body).await.id();
    assert_eq!(tenant.find("contact", &by_column).await.ids(), [id]);
    tenant.put(&format!("contact/{id}"), json!({ "membership_no": "LD-8", "cz_cols": stamp("8") })).await;
    assert_eq!(tenant.find("contact", &by_column).await.total(), 0);
    assert_eq!(tenant.find("contact", &[("membership_no", "LD-7")]).await.total(), 0);
    assert_eq!(tenant.find("contact", &[("membership_no", "LD-8")]).await.ids(), [id]);
    tenant.call("DELETE", &format!("contact/{id}"), Value::Null).await;
    assert_eq!(tenant.find("contact", &[("membership_no", "LD-8")]).await.total(), 0);
}

#[tokio::test]
async fn a_lagging_search_sees_a_write_only_after_later_writes() {
    let tenant = Tenant::with(json!({ "search_lag_writes": 2 }));
    let create =
        async |number: &str| tenant.post("contact", json!({ "first_name": "A", "membership_no": number })).await.id();
    let first = create("LD-1").await;
    let found = async |number: &str| tenant.find("contact", &[("membership_no", number)]).await.ids();
    assert_eq!(found("LD-1").await, [0u64; 0]);
    assert_eq!(tenant.get("contact").await.ids(), [first], "the plain list does not lag");
    assert_eq!(tenant.get(&format!("contact/{first}")).await.status, 200, "nor does a read by id");
    create("LD-2").await;
    assert_eq!(found("LD-1").await, [0u64; 0]);
    create("LD-3").await;
    assert_eq!(found("LD-1").await, [first]);

    tenant.put(&format!("contact/{first}"), json!({ "membership_no": "LD-9" })).await;
    assert_eq!((found("LD-1").await, found("LD-9").await), (vec![first], vec![]), "an update is not seen either");
    tenant.world.settle();
    assert_eq!((found("LD-1").await, found("LD-9").await), (vec![], vec![first]));
}

#[tokio::test]
async fn a_lag_in_time_passes_with_the_clock() {
    let tenant = Tenant::with(json!({ "search_lag_ms": 60_000, "list_lag_ms": 120_000, "get_lag_ms": 180_000 }));
    let body = json!({ "first_name": "A", "membership_no": "LD-1" });
    let id = tenant.post("contact", body).await.id();
    for (filtered, listed, read) in [(0, 0, 404), (1, 0, 404), (1, 1, 404), (1, 1, 200)] {
        assert_eq!(tenant.find("contact", &[("membership_no", "LD-1")]).await.total(), filtered);
        assert_eq!(tenant.get("contact").await.total(), listed);
        assert_eq!(tenant.get(&format!("contact/{id}")).await.status, read);
        tenant.world.advance_ms(60_000);
    }
}

#[tokio::test]
async fn a_lagging_list_still_shows_what_was_deleted() {
    let tenant = Tenant::with(json!({ "list_lag_writes": 1 }));
    let (kept, gone) = (tenant.named("A"), tenant.named("B"));
    tenant.call("DELETE", &format!("contact/{gone}"), Value::Null).await;
    assert_eq!(tenant.get("contact").await.ids(), [kept, gone]);
    tenant.put(&format!("contact/{kept}"), json!({ "last_name": "C" })).await;
    let list = tenant.get("contact").await;
    assert_eq!((list.ids(), &list.data()[0]["last_name"]), (vec![kept], &Value::Null));
}

#[tokio::test]
async fn rows_lag_like_contacts() {
    let tenant = Tenant::with(json!({ "search_lag_writes": 1, "get_lag_writes": 1 }));
    let contact = tenant.named("A");
    let created = tenant.post("email-contact", json!({ "contact_id": contact, "address": "a@b.c" })).await;
    let by_address = async || tenant.find("email-contact", &[("address", "a@b.c")]).await.total();
    assert_eq!((by_address().await, tenant.get("email-contact").await.total()), (0, 1));
    assert_eq!(tenant.get(&format!("email-contact/{}", created.id())).await.status, 404);
    tenant.post("phone-number", json!({ "contact_id": contact, "type": 2, "number": "1" })).await;
    assert_eq!(by_address().await, 1);
    assert_eq!(tenant.get(&format!("contact/{contact}")).await.data()["profile"]["phones"], json!([]));
}

#[tokio::test]
async fn name_search_and_other_filters_have_modes_too() {
    // switch, parameter, value, mode, hits
    let table = [
        ("filter_name", "name", "Mei", "prefix", 0),
        ("filter_name", "name", "Mei", "substring", 1),
        ("filter_name", "name", "Mei", "ignored", 3),
        ("filter_search", "search", "LD-1", "substring", 2),
        ("filter_search", "search", "LD-1", "exact", 1),
        ("filter_search", "search", "LD-1", "ignored", 3),
        ("filter_others", "gender", "0", "exact", 1),
        ("filter_others", "gender", "0", "ignored", 3),
    ];
    for (switch, parameter, value, mode, hits) in table {
        let (tenant, _) = three(json!({ switch: mode }));
        assert_eq!(tenant.find("contact", &[(parameter, value)]).await.total(), hits, "{switch} {mode}");
    }
    let (tenant, _) = three(json!({ "filter_others": "rejected" }));
    assert_eq!(tenant.find("contact", &[("birth_months", "8")]).await.errors(), ["birth_months"]);
}
