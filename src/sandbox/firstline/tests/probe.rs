//! The readings that only a probe looks for.

use super::*;

async fn delete(tenant: &Tenant, path: &str) -> u16 {
    tenant.call("DELETE", path, Value::Null).await.status
}

#[tokio::test]
async fn a_boolean_may_have_to_be_a_text() {
    for (form, taken) in [("text", json!("1")), ("number", json!(1)), ("bool", json!(true))] {
        let tenant = Tenant::with(json!({ "boolean_form": form }));
        for value in [json!("1"), json!(1), json!(true)] {
            let body = json!({ "first_name": "A", "cz_cols": [{ "id": 34, "value": value }] });
            assert_eq!(tenant.post("contact", body).await.status == 201, value == taken, "{form} {value}");
        }
    }
}

#[tokio::test]
async fn a_field_may_be_cleared_by_nothing_but_leaving_it_out() {
    let tenant = Tenant::with(json!({ "clear_by": "neither", "update_replaces": true }));
    let id = tenant.post("contact", json!({ "first_name": "A", "last_name": "B" })).await.id();
    for value in [Value::Null, json!("")] {
        assert_eq!(tenant.put(&format!("contact/{id}"), json!({ "last_name": value })).await.errors(), ["last_name"]);
    }
    tenant.put(&format!("contact/{id}"), json!({ "first_name": "A" })).await;
    assert_eq!(tenant.get(&format!("contact/{id}")).await.data()["last_name"], Value::Null);
}

#[tokio::test]
async fn a_deleted_tag_is_on_no_contact_and_its_id_is_not_given_again() {
    let tenant = Tenant::new();
    let tag = tenant.post("contact-tag", json!({ "name": "VIP" })).await.id();
    let id = tenant.named("A");
    tenant.put(&format!("contact/{id}"), json!({ "tag_ids": [tag] })).await;
    assert_eq!(delete(&tenant, &format!("contact-tag/{tag}")).await, 204);
    assert_eq!(delete(&tenant, &format!("contact-tag/{tag}")).await, 404);
    assert_eq!(tenant.get(&format!("contact/{id}")).await.data()["tags"], json!([]));
    assert_ne!(tenant.post("contact-tag", json!({ "name": "VIP" })).await.id(), tag);
    assert_eq!(tenant.world.tally().tag_delete, 2);
}

#[tokio::test]
async fn a_deletion_may_be_refused_and_then_deletes_nothing() {
    let tenant = Tenant::with(json!({ "delete_contact_status": 403 }));
    let id = tenant.named("A");
    assert_eq!(delete(&tenant, &format!("contact/{id}")).await, 403);
    assert_eq!(tenant.get(&format!("contact/{id}")).await.status, 200);
}

#[tokio::test]
async fn a_role_may_only_read() {
    let tenant = Tenant::with(json!({ "role_reads_only": true }));
    let id = tenant.named("A");
    assert_eq!(tenant.get(&format!("contact/{id}")).await.status, 200);
    assert_eq!(tenant.post("contact", json!({ "first_name": "B" })).await.status, 403);
    assert_eq!(tenant.put(&format!("contact/{id}"), json!({ "first_name": "B" })).await.status, 403);
    assert_eq!(delete(&tenant, &format!("contact/{id}")).await, 403);
}

#[tokio::test]
async fn an_update_without_tags_may_take_them_all_away_and_leave_the_fields() {
    let tenant = Tenant::with(json!({ "update_resets_lists": true, "companies_shown": true }));
    let tag = tenant.post("contact-tag", json!({ "name": "VIP" })).await.id();
    let company = tenant.world.add_company("Alpha", None, &[]);
    let id = tenant.post("contact", json!({ "first_name": "A", "last_name": "B" })).await.id();
    let lists = json!({ "tag_ids": [tag], "company_ids": [company] });
    tenant.put(&format!("contact/{id}"), lists).await;
    let held = tenant.put(&format!("contact/{id}"), json!({ "tag_ids": [tag], "gender": 1 })).await.data().clone();
    assert_eq!((held["tags"][0]["id"].clone(), held["companies"].clone()), (json!(tag), json!([])));
    let held = tenant.put(&format!("contact/{id}"), json!({ "gender": 0 })).await.data().clone();
    assert_eq!((held["tags"].clone(), held["last_name"].clone()), (json!([]), json!("B")));
}

#[tokio::test]
async fn lists_may_be_named_in_the_answers_to_writes_or_in_list_rows_alone() {
    for (place, in_write, in_row) in [("writes", true, false), ("rows", false, true)] {
        let tenant = Tenant::with(json!({ "lists_shown_in": place, "companies_shown": true }));
        let id = tenant.named("A");
        let said = |contact: &Value| (contact.get("tags").is_some(), contact.get("companies").is_some());
        let written = tenant.put(&format!("contact/{id}"), json!({ "gender": 1 })).await.data().clone();
        assert_eq!(said(&written), (in_write, in_write), "{place}");
        assert_eq!(said(tenant.get(&format!("contact/{id}")).await.data()), (false, false), "{place}");
        assert_eq!(said(&tenant.get("contact").await.data()[0]), (in_row, in_row), "{place}");
    }
}

#[tokio::test]
async fn a_refusal_may_hold_a_message_alone_or_nothing() {
    for (form, body) in [("message", "{\"message\":\"The given data was invalid. (first_name)\"}"), ("empty", "")] {
        let tenant = Tenant::with(json!({ "error_body": form }));
        let refused = tenant.post("contact", json!({})).await;
        assert_eq!((refused.status, refused.text.as_str()), (422, body));
    }
}

#[tokio::test]
async fn a_tags_name_may_be_altered_when_it_is_stored() {
    for (form, stored) in [
        ("as_sent", "Very  Important"),
        ("lower_case", "very  important"),
        ("squeezed", "Very Important"),
        ("cut", "Very  Im"),
    ] {
        let tenant = Tenant::with(json!({ "tag_names": form }));
        assert_eq!(tenant.post("contact-tag", json!({ "name": "Very  Important" })).await.data()["name"], stored);
    }
}

#[tokio::test]
async fn a_membership_no_may_have_a_length_of_its_own() {
    let tenant = Tenant::with(json!({ "membership_no_max": 4 }));
    let with = async |number: &str| {
        tenant.post("contact", json!({ "first_name": "A long name", "membership_no": number })).await
    };
    assert_eq!((with("M-12").await.status, with("M-123").await.errors()), (201, vec![String::from("membership_no")]));
}

#[tokio::test]
async fn a_create_may_be_answered_with_the_id_of_another_record() {
    let tenant = Tenant::new();
    let customer = tenant.named("A");
    let switches = FirstLineSwitches { create_answers_id: Some(customer), ..tenant.world.switches() };
    tenant.world.set_switches(switches);
    assert_eq!(*tenant.post("contact", json!({ "first_name": "B" })).await.data(), json!({ "id": customer }));
    assert_eq!(tenant.world.len(), 2);
}

#[tokio::test]
async fn a_contact_may_leave_its_children_to_lists_that_do_not_name_it() {
    let tenant = Tenant::with(json!({ "get_omits_children": true, "email_rows_name_contact": false }));
    let id = tenant.world.add_contact(&json!({ "first_name": "A" }), &["a@example.com"], &["0912345678"], &[]);
    let contact = tenant.get(&format!("contact/{id}")).await.data().clone();
    assert!(contact.get("email_contacts").is_none() && contact.get("profile").is_none(), "{contact}");
    assert!(contact["profile_id"].is_u64());
    let rows = tenant.get(&format!("email-contact?contact_id={id}")).await.data().clone();
    assert_eq!((rows[0]["address"].clone(), rows[0]["contact_id"].clone()), (json!("a@example.com"), Value::Null));
}
