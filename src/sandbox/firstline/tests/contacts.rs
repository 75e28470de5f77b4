//! Contacts: list, create, get, update, delete, and the verbs.

use super::*;

#[tokio::test]
async fn a_created_contact_is_read_back_in_full() {
    let tenant = Tenant::new();
    let body = json!({
        "first_name": "陳", "last_name": "大華", "membership_no": "LD-1", "birth_at": "1985-08-27", "gender": 1,
        "tag_ids": [1],
        "cz_cols": [{ "id": 31, "value": "1" }, { "id": 32, "value": "gold" }, { "id": 33, "value": 60 },
            { "id": 34, "value": true }, { "id": 35, "value": ["music", "food"] }],
    });
    let created = tenant.post("contact", body).await;
    assert_eq!(created.status, 201);
    let contact = tenant.get(&format!("contact/{}", created.id())).await;
    let contact = contact.data();
    assert_eq!((&contact["name"], &contact["birth_at"]), (&json!("陳 大華"), &json!("1985-08-27")));
    assert_eq!((column(contact, 33), column(contact, 34)), (json!("60"), json!("1")));
    assert_eq!((column(contact, 35), column(contact, 36)), (json!(["music", "food"]), Value::Null));
    assert_eq!(contact["cz_cols"].as_array().unwrap().len(), 12);
    assert_ne!(contact["profile_id"], contact["id"]);
    assert_eq!(contact["profile"]["phones"], json!([]));
    assert_eq!(contact["tags"], json!([]));
    assert!(contact.get("created_at").is_none());
}

#[tokio::test]
async fn a_contact_is_shown_in_the_form_of_the_switches() {
    let tenant = Tenant::new();
    let fields = json!({ "first_name": "陳", "last_name": "大華", "birth_at": "1985-08-27", "tag_ids": [101] });
    let id = tenant.world.add_contact(&fields, &[], &[], &[(33, json!(60))]);
    tenant.world.add_tag("VIP");
    let path = format!("contact/{id}");
    assert_eq!(tenant.get(&path).await.data()["tags"][0]["name"], "VIP");
    tenant.switch(json!({
        "numbers_as_text": false, "unset_cz_cols": "left_out", "birth_at_with_time": true, "cjk_name_joined": true,
        "tags_shown": "tag_ids", "times_shown": "local",
    }));
    let contact = tenant.get(&path).await.data().clone();
    assert_eq!(contact["cz_cols"], json!([{ "id": 33, "value": 60, "category_id": 10 }]));
    assert_eq!(contact["birth_at"], "1985-08-27 00:00:00");
    assert_eq!((&contact["name"], &contact["tag_ids"]), (&json!("陳大華"), &json!([101])));
    assert_eq!(contact["created_at"].as_str().unwrap().len(), 19);
    tenant.switch(json!({ "tags_shown": "tag_id", "times_shown": "iso" }));
    let contact = tenant.get(&path).await.data().clone();
    assert_eq!(contact["tag_id"], json!([101]));
    assert!(contact["created_at"].as_str().unwrap().ends_with('Z'));
    tenant.switch(json!({ "tags_shown": "left_out" }));
    assert!(tenant.get(&path).await.data().get("tags").is_none());
}

#[tokio::test]
async fn a_bad_create_is_refused_with_every_field_and_leaves_nothing() {
    let tenant = Tenant::new();
    let body = json!({
        "first_name": "  ", "last_name": 7, "gender": "male", "birth_at": "27.8.1985",
        "cz_cols": [{ "id": 999, "value": 1 }, { "id": 33, "value": "60" }, { "id": 32, "value": "Gold" }, { "id": 31 }],
        "company_ids": [1],
    });
    let mut errors = tenant.post("contact", body).await.errors();
    errors.sort_unstable();
    let expected = [
        "birth_at",
        "company_ids.0",
        "cz_cols.0.id",
        "cz_cols.1.value",
        "cz_cols.2.value",
        "cz_cols.3.value",
        "first_name",
        "gender",
        "last_name",
    ];
    assert_eq!(errors, expected);
    assert!(tenant.world.is_empty());
}

#[tokio::test]
async fn each_column_type_takes_its_form_only() {
    let tenant = Tenant::with(json!({ "cz_text_max": 5 }));
    let table = [
        (33, json!(1.5), json!("1")),
        (31, json!("abcde"), json!("abcdef")),
        (34, json!(0), json!("yes")),
        (36, json!("2024-02-29"), json!("2023-02-29")),
        (37, json!("23:59"), json!("24:00")),
        (38, json!("2024-01-01 10:00:00"), json!("2024-01-01T10:00:00Z")),
        (32, json!("gold"), json!("Gold")),
        (35, json!(["food"]), json!(["food", "cars"])),
        (35, json!([]), json!("food")),
    ];
    for (id, good, bad) in table {
        let body = |value: &Value| json!({ "first_name": "A", "cz_cols": [{ "id": id, "value": value }] });
        assert_eq!(tenant.post("contact", body(&good)).await.status, 201, "{id} {good}");
        assert_eq!(tenant.post("contact", body(&bad)).await.errors(), ["cz_cols.0.value"], "{id} {bad}");
    }
}

#[tokio::test]
async fn checks_follow_their_switches() {
    let body = |value: Value| json!({ "first_name": "A", "cz_cols": [value] });
    let lenient = Tenant::with(json!({ "types": "lenient", "options_checked": false }));
    assert_eq!(lenient.post("contact", body(json!({ "id": "33", "value": "many" }))).await.status, 201);
    assert_eq!(lenient.post("contact", body(json!({ "id": 32, "value": "Gold" }))).await.status, 201);
    for (form, number, flag) in [("any", 201, 201), ("number", 201, 422), ("bool", 422, 201)] {
        let tenant = Tenant::with(json!({ "boolean_form": form }));
        assert_eq!(tenant.post("contact", body(json!({ "id": 34, "value": 1 }))).await.status, number, "{form}");
        assert_eq!(tenant.post("contact", body(json!({ "id": 34, "value": true }))).await.status, flag, "{form}");
    }
    let short = Tenant::with(json!({ "name_max": 3 }));
    assert_eq!(short.post("contact", json!({ "first_name": "陳大華明" })).await.errors(), ["first_name"]);
    let required = Tenant::with(json!({ "required_columns": true }));
    let mut column = Column::new(1, "Must", ColumnKind::Text);
    column.allows_null = false;
    required.world.set_definitions(vec![Category::new(1, "Form", 0, vec![column])]);
    assert_eq!(required.post("contact", json!({ "first_name": "A" })).await.errors(), ["cz_cols"]);
    assert_eq!(required.post("contact", body(json!({ "id": 1, "value": "x" }))).await.status, 201);
}

#[tokio::test]
async fn duplicates_are_made_unless_the_tenant_says_unique() {
    let tenant = Tenant::new();
    let body = json!({ "first_name": "A", "membership_no": "LD-1" });
    let first = tenant.post("contact", body.clone()).await.id();
    assert_eq!(tenant.post("contact", body.clone()).await.status, 201);
    tenant.switch(json!({ "membership_no_unique": true }));
    assert_eq!(
        tenant.post("contact", json!({ "first_name": "A", "membership_no": "ld-1" })).await.errors(),
        ["membership_no"]
    );
    tenant.world.delete(first + 1);
    assert_eq!(tenant.put(&format!("contact/{first}"), body).await.status, 200, "its own number is no clash");
}

#[tokio::test]
async fn the_answer_to_a_create_follows_its_switches() {
    let tenant = Tenant::with(json!({
        "create_status": 200, "create_omits_id": true, "write_omits_cz_cols": true, "write_omits_children": true,
    }));
    let reply = tenant.post("contact", json!({ "first_name": "A" })).await;
    assert_eq!(reply.status, 200);
    for left_out in ["id", "cz_cols", "email_contacts", "profile"] {
        assert!(reply.data().get(left_out).is_none(), "{left_out}");
    }
    assert_eq!(tenant.world.len(), 1);
}

#[tokio::test]
async fn tags_on_create_are_ignored_accepted_or_rejected() {
    for (form, status, tags) in [("ignored", 201, 0), ("accepted", 201, 1), ("rejected", 422, 0)] {
        let tenant = Tenant::with(json!({ "tags_on_create": form }));
        let tag = tenant.world.add_tag("VIP");
        let reply = tenant.post("contact", json!({ "first_name": "A", "tag_ids": [tag] })).await;
        assert_eq!(reply.status, status, "{form}");
        let stored = tenant.world.contacts().first().map_or(0, |contact| contact.tag_ids.len());
        assert_eq!(stored, tags, "{form}");
    }
}

#[tokio::test]
async fn an_update_keeps_or_resets_what_it_leaves_out() {
    let table = [
        (json!({}), true, true),
        (json!({ "update_replaces_cz_cols": true }), true, false),
        (json!({ "update_replaces": true }), false, false),
    ];
    for (changes, keeps_fields, keeps_columns) in table {
        let tenant = Tenant::with(changes.clone());
        let fields = json!({ "first_name": "A", "last_name": "B", "membership_no": "M1" });
        let columns = [(31, json!("1")), (39, json!("Acme"))];
        let id = tenant.world.add_contact(&fields, &["a@b.c"], &[], &columns);
        let body = json!({ "membership_no": "M2", "cz_cols": [{ "id": 39, "value": "Beta" }] });
        assert_eq!(tenant.put(&format!("contact/{id}"), body).await.status, 200);
        let contact = tenant.world.contact(id).unwrap();
        assert_eq!((contact.first_name.as_str(), contact.membership_no.as_deref()), ("A", Some("M2")));
        assert_eq!(contact.last_name.is_some(), keeps_fields, "{changes}");
        assert_eq!(contact.cz_col(31).is_some(), keeps_columns, "{changes}");
        assert_eq!((contact.cz_col(39), contact.emails.len()), (Some(&json!("Beta")), 1), "{changes}");
    }
}

#[tokio::test]
async fn lists_of_ids_are_replaced_or_united() {
    for (form, expected) in [("replace", vec![102]), ("union", vec![101, 102])] {
        let tenant = Tenant::with(json!({ "tags_on_update": form, "companies_on_update": form }));
        tenant.world.add_tag("a");
        tenant.world.add_tag("b");
        let id = tenant.named("A");
        tenant.world.edit(id, "tag_ids", json!([101]));
        let path = format!("contact/{id}");
        assert_eq!(tenant.put(&path, json!({ "tag_ids": [999] })).await.status, 422);
        tenant.put(&path, json!({ "tag_ids": [102, 102] })).await;
        let companies = ["Acme", "Beta"].map(|name| tenant.world.add_company(name, None, &[]));
        tenant.world.edit(id, "company_ids", json!([companies[0]]));
        tenant.put(&path, json!({ "company_ids": [companies[1]] })).await;
        assert_eq!(tenant.world.contact(id).unwrap().company_ids.len(), expected.len(), "{form}");
        assert_eq!(tenant.world.contact(id).unwrap().tag_ids, expected, "{form}");
        assert_eq!(tenant.get("contact-tag/102").await.data()["contacts_count"], 1);
    }
}

#[tokio::test]
async fn a_value_is_cleared_in_the_way_of_the_tenant() {
    // form, after null (status, cleared), after empty text (status, cleared)
    let table = [
        ("both", (200, true), (200, true)),
        ("null", (200, true), (200, false)),
        ("empty_text", (422, false), (200, true)),
    ];
    for (form, null, empty) in table {
        for (value, (status, cleared)) in [(Value::Null, null), (json!(""), empty)] {
            let tenant = Tenant::with(json!({ "clear_by": form }));
            let fields = json!({ "first_name": "A", "last_name": "B" });
            let id = tenant.world.add_contact(&fields, &[], &[], &[(39, json!("Acme"))]);
            let body = json!({ "last_name": value, "cz_cols": [{ "id": 39, "value": value }] });
            assert_eq!(tenant.put(&format!("contact/{id}"), body).await.status, status, "{form} {value}");
            let contact = tenant.world.contact(id).unwrap();
            assert_eq!(
                (contact.last_name.is_none(), contact.cz_col(39).is_none()),
                (cleared, cleared),
                "{form} {value}"
            );
        }
    }
}

#[tokio::test]
async fn a_deleted_contact_is_gone_with_its_rows() {
    for (status, body) in [(200, true), (204, false)] {
        let tenant = Tenant::with(json!({ "delete_contact_status": status }));
        let id = tenant.world.add_contact(&json!({ "first_name": "A" }), &["a@b.c"], &["1"], &[]);
        let reply = tenant.call("DELETE", &format!("contact/{id}"), Value::Null).await;
        assert_eq!((reply.status, !reply.text.is_empty()), (status, body));
        assert_eq!(tenant.get(&format!("contact/{id}")).await.status, 404);
        assert_eq!(tenant.get("email-contact").await.total() + tenant.get("phone-number").await.total(), 0);
        assert_eq!(tenant.world.tally().contact_delete, 1);
    }
}

#[tokio::test]
async fn the_list_is_paged_and_says_so() {
    let tenant = Tenant::new();
    let ids: Vec<u64> = (0..40).map(|number| tenant.named(&number.to_string())).collect();
    let first = tenant.get("contact").await;
    assert_eq!((first.ids(), first.total()), (ids[..15].to_vec(), 40));
    let third = tenant.get("contact?page=3").await;
    assert_eq!(third.ids(), ids[30..]);
    let meta = &third.body["meta"];
    assert_eq!((&meta["from"], &meta["to"], &meta["last_page"]), (&json!(31), &json!(40), &json!(3)));
    assert_eq!(third.body["links"]["next"], Value::Null);
    assert_eq!(first.body["links"]["next"], "http://sandbox.test/api/v1/contact?page=2");
    let beyond = tenant.get("contact?page=9").await;
    assert_eq!((beyond.ids().len(), &beyond.body["meta"]["from"]), (0, &Value::Null));
    assert_eq!(tenant.get("contact?page=0").await.errors(), ["page"]);
    tenant.switch(json!({ "links": "absent", "per_page_as_text": true, "total_left_out": true }));
    let plain = tenant.get("contact?per_page=3").await;
    assert_eq!((plain.body.get("links"), &plain.body["meta"]["per_page"]), (None, &json!("3")));
    assert!(plain.body["meta"].get("total").is_none());
    tenant.switch(json!({ "links": "foreign" }));
    let foreign = tenant.get("contact").await;
    assert!(foreign.body["links"]["next"].as_str().unwrap().starts_with("http://elsewhere.invalid/"));
}

#[tokio::test]
async fn a_large_page_is_cut_ignored_or_refused() {
    for (form, expected) in [("clamp", Some(20)), ("ignore", Some(15)), ("reject", None)] {
        let tenant = Tenant::with(json!({ "per_page_max": 20, "per_page_above": form }));
        tenant.world.seed_customers(30, 1, &[], &[]);
        let reply = tenant.get("contact?per_page=21").await;
        match expected {
            Some(rows) => assert_eq!((reply.ids().len(), &reply.body["meta"]["per_page"]), (rows, &json!(rows))),
            None => assert_eq!(reply.errors(), ["per_page"]),
        }
    }
}

#[tokio::test]
async fn list_rows_lack_what_the_switches_say() {
    let tenant = Tenant::with(json!({ "list_omits_cz_cols": true, "list_omits_children": true }));
    let id = tenant.named("A");
    let row = tenant.get("contact").await.data()[0].clone();
    for left_out in ["cz_cols", "email_contacts", "profile"] {
        assert!(row.get(left_out).is_none(), "{left_out}");
    }
    assert!(tenant.get(&format!("contact/{id}")).await.data()["cz_cols"].is_array());
}

#[tokio::test]
async fn the_order_of_the_list_is_a_switch() {
    let tenant = Tenant::new();
    let ids: Vec<u64> = (0..50).map(|number| tenant.named(&number.to_string())).collect();
    tenant.world.advance_ms(60_000);
    tenant.world.edit(ids[3], "last_name", json!("edited"));
    tenant.switch(json!({ "sort": "id_desc" }));
    assert_eq!(tenant.get("contact?per_page=2").await.ids(), [ids[49], ids[48]]);
    tenant.switch(json!({ "sort": "updated" }));
    assert_eq!(tenant.get("contact?per_page=1").await.ids(), [ids[3]]);
    tenant.switch(json!({ "sort": "unstable_ties" }));
    let (one, other) = (tenant.get("contact?per_page=50").await, tenant.get("contact?per_page=50").await);
    assert_ne!(one.ids(), other.ids());
    let mut all = one.ids();
    all.sort_unstable();
    assert_eq!(all, ids);
}

#[tokio::test]
async fn a_narrow_role_sees_its_own_and_a_share_of_the_others() {
    let tenant = Tenant::new();
    let others = tenant.world.seed_customers(200, 1, &["shared@example.com"], &[]);
    tenant.switch(json!({ "hidden_share": 0.5 }));
    let own = tenant.post("contact", json!({ "first_name": "A" })).await.id();
    let total = tenant.get("contact").await.total();
    assert!((60..140).contains(&total), "{total}");
    assert_eq!(tenant.get(&format!("contact/{own}")).await.status, 200);
    let mut hidden = 0;
    for id in others {
        hidden += u64::from(tenant.get(&format!("contact/{id}")).await.status == 404);
    }
    assert_eq!(hidden + total, 201);
    assert_eq!(tenant.get("email-contact").await.total() + hidden, 200);
    tenant.switch(json!({ "hidden_share": 1.0 }));
    assert_eq!(tenant.get("contact").await.ids(), [own]);
}

#[tokio::test]
async fn ids_start_and_skip_as_told() {
    let tenant = Tenant::with(json!({ "id_start": 5000, "id_gap": 9 }));
    let ids: Vec<u64> = (0..50).map(|number| tenant.named(&number.to_string())).collect();
    assert!((5000..5010).contains(&ids[0]));
    assert!(ids.windows(2).all(|pair| (1..=10).contains(&(pair[1] - pair[0]))));
    assert!(ids[49] > 5100, "gaps occur");
    let again = Tenant::with(json!({ "id_start": 5000, "id_gap": 9 }));
    assert_eq!(again.named("0"), ids[0], "the seed decides");
}

#[tokio::test]
async fn a_merge_moves_rows_fills_blanks_and_deletes_the_secondary() {
    let tenant = Tenant::new();
    let add = |fields: Value, email: &str| tenant.world.add_contact(&fields, &[email], &["09"], &[]);
    let primary = add(json!({ "first_name": "A", "membership_no": "M1" }), "a@b.c");
    let secondary = add(json!({ "first_name": "B", "last_name": "L", "membership_no": "M2" }), "b@b.c");
    assert!(!tenant.world.merge(primary, primary));
    assert!(tenant.world.merge(primary, secondary));
    assert_eq!(tenant.get(&format!("contact/{secondary}")).await.status, 404);
    let contact = tenant.world.contact(primary).unwrap();
    assert_eq!((contact.first_name.as_str(), contact.last_name.as_deref()), ("A", Some("L")));
    assert_eq!((contact.membership_no.as_deref(), contact.emails.len(), contact.phones.len()), (Some("M1"), 2, 2));
    let row = tenant.get("email-contact?address=b@b.c").await;
    assert_eq!(row.data()[0]["contact_id"], primary);
    assert_eq!(tenant.get("contact?membership_no=M2").await.total(), 0);
}

#[tokio::test]
async fn a_dump_holds_every_contact_in_id_order() {
    let tenant = Tenant::new();
    let fields = json!({ "first_name": "A", "membership_no": "M1" });
    let id = tenant.world.add_contact(&fields, &["a@b.c"], &["0912345678"], &[(33, json!(5))]);
    tenant.world.seed_customers(3, 9, &["x@example.com"], &["0900000000"]);
    let dump = tenant.world.dump();
    let dump = dump.as_array().unwrap();
    assert_eq!(dump.len(), 4);
    assert_eq!((&dump[0]["id"], &dump[0]["cz_cols"]), (&json!(id), &json!({ "33": 5 })));
    assert_eq!(
        (&dump[0]["emails"][0]["address"], &dump[0]["phones"][0]["number"]),
        (&json!("a@b.c"), &json!("0912345678"))
    );
    assert_eq!(dump[1]["emails"][0]["address"], "x@example.com");
}

#[tokio::test]
async fn edits_by_verb_reach_fields_and_columns() {
    let tenant = Tenant::new();
    let id = tenant.named("A");
    assert!(tenant.world.edit(id, "cz_cols.32", json!("silver")));
    assert!(tenant.world.edit(id, "last_name", json!("B")));
    assert!(!tenant.world.edit(id, "surname", json!("B")));
    assert!(!tenant.world.edit(id + 1, "last_name", json!("B")));
    assert!(tenant.world.add_email(id, "n@b.c").is_some());
    assert!(tenant.world.add_phone(id, "1").is_some());
    let contact = tenant.get(&format!("contact/{id}")).await;
    assert_eq!(column(contact.data(), 32), "silver");
    assert!(tenant.world.edit(id, "cz_cols.32", Value::Null));
    assert_eq!(tenant.world.contact(id).unwrap().cz_col(32), None);
    assert!(tenant.world.delete(id) && !tenant.world.delete(id));
}
