//! E-mail and phone rows.

use super::*;

#[tokio::test]
async fn an_email_is_made_listed_read_changed_and_deleted() {
    let tenant = Tenant::new();
    let (one, two) = (tenant.named("A"), tenant.named("B"));
    let body = |contact: u64| json!({ "contact_id": contact, "address": "a@b.c", "name": "work" });
    let created = tenant.post("email-contact", body(one)).await;
    assert_eq!((created.status, &created.data()["contact"]["first_name"]), (201, &json!("A")));
    let twin = tenant.post("email-contact", body(two)).await.id();
    assert_eq!(tenant.get("email-contact?address=A@B.C").await.ids(), [created.id(), twin]);
    assert_eq!(tenant.get(&format!("email-contact?contact_id={two}")).await.ids(), [twin]);
    assert_eq!(tenant.get("email-contact?name=home").await.total(), 0);
    let path = format!("email-contact/{}", created.id());
    assert_eq!(tenant.put(&path, json!({ "name": "home" })).await.errors(), ["address"]);
    assert_eq!(tenant.put(&path, json!({ "address": "n@b.c" })).await.data()["name"], "work");
    assert_eq!(tenant.get(&path).await.data()["address"], "n@b.c");
    assert_eq!(tenant.get("email-contact?address=a@b.c").await.ids(), [twin]);
    let contact = tenant.get(&format!("contact/{one}")).await;
    assert_eq!(contact.data()["email_contacts"][0]["address"], "n@b.c");
    let deleted = tenant.call("DELETE", &path, Value::Null).await;
    assert_eq!((deleted.status, deleted.text.as_str()), (204, ""));
    assert_eq!(tenant.get(&path).await.status, 404);
    assert!(tenant.post("email-contact", body(one)).await.id() > twin, "ids are not used again");
}

#[tokio::test]
async fn a_bad_email_is_refused() {
    let tenant = Tenant::new();
    let contact = tenant.named("A");
    let table = [
        (json!({ "address": "a@b.c" }), "contact_id"),
        (json!({ "contact_id": 999, "address": "a@b.c" }), "contact_id"),
        (json!({ "contact_id": contact.to_string(), "address": "a@b.c" }), "contact_id"),
        (json!({ "contact_id": contact }), "address"),
        (json!({ "contact_id": contact, "address": "a.b.c" }), "address"),
        (json!({ "contact_id": contact, "address": "a b@c" }), "address"),
    ];
    for (body, field) in table {
        assert_eq!(tenant.post("email-contact", body.clone()).await.errors(), [field], "{body}");
    }
    tenant.switch(json!({ "email_check": false, "email_stored_lowercase": true, "types": "lenient" }));
    let body = json!({ "contact_id": contact.to_string(), "address": "NOT.AN.ADDRESS" });
    assert_eq!(tenant.post("email-contact", body).await.data()["address"], "not.an.address");
    tenant.switch(json!({ "email_unique": true }));
    let body = json!({ "contact_id": contact, "address": "Not.an.address" });
    assert_eq!(tenant.post("email-contact", body).await.errors(), ["address"]);
}

#[tokio::test]
async fn a_phone_is_made_listed_read_changed_and_deleted() {
    let tenant = Tenant::new();
    let contact = tenant.named("A");
    let body = json!({ "contact_id": contact, "type": 2, "number": "0912345678", "extension": "9" });
    let created = tenant.post("phone-number", body).await;
    let row = created.data();
    assert_eq!((created.status, &row["phone_contact"]["contact_id"]), (201, &json!(contact)));
    let profile = tenant.get(&format!("contact/{contact}")).await.data()["profile"].clone();
    assert_eq!((&row["profile_id"], &profile["phones"][0]["id"]), (&profile["id"], &row["id"]));
    for query in [format!("contact_id={contact}"), "number=0912345678".into(), "type=2".into(), "extension=9".into()] {
        assert_eq!(tenant.get(&format!("phone-number?{query}")).await.total(), 1, "{query}");
    }
    assert_eq!(tenant.get("phone-number?type=0").await.total(), 0);
    let path = format!("phone-number/{}", created.id());
    assert_eq!(tenant.put(&path, json!({ "number": "1" })).await.errors(), ["contact_id"]);
    let changed = tenant.put(&path, json!({ "contact_id": contact, "number": "0911" })).await;
    assert_eq!((&changed.data()["number"], &changed.data()["type"]), (&json!("0911"), &json!(2)));
    assert_eq!(tenant.get("phone-number?number=0911").await.ids(), [created.id()]);
    tenant.switch(json!({ "phone_rows_name_contact": false }));
    assert!(tenant.get(&path).await.data().get("phone_contact").is_none());
    assert_eq!(tenant.call("DELETE", &path, Value::Null).await.status, 204);
    assert_eq!(tenant.get("phone-number").await.total(), 0);
}

#[tokio::test]
async fn a_tenant_may_ask_for_the_profile_of_a_phone() {
    let tenant = Tenant::with(json!({ "phone_owner": "profile_id" }));
    let contact = tenant.named("A");
    let body = json!({ "contact_id": contact, "type": 2, "number": "1" });
    assert_eq!(tenant.post("phone-number", body).await.errors(), ["profile_id"]);
    let profile = tenant.get(&format!("contact/{contact}")).await.data()["profile_id"].clone();
    let body = json!({ "profile_id": profile, "type": 2, "number": "1" });
    assert_eq!(tenant.post("phone-number", body).await.status, 201);
    let body = json!({ "profile_id": contact, "type": 2, "number": "1" });
    assert_eq!(tenant.post("phone-number", body).await.errors(), ["profile_id"], "a contact id is no profile id");
    assert_eq!(tenant.world.contact(contact).unwrap().phones.len(), 1);
}

#[tokio::test]
async fn a_phone_number_is_checked_as_the_switches_say() {
    let table = [
        ("any", "+886912345678", true),
        ("digits", "+886912345678", false),
        ("digits", "886912345678", true),
        ("taiwan", "0912345678", true),
        ("taiwan", "886912345678", false),
        ("taiwan", "0912-345-678", false),
    ];
    for (check, number, accepted) in table {
        let tenant = Tenant::with(json!({ "phone_check": check }));
        let contact = tenant.named("A");
        let reply = tenant.post("phone-number", json!({ "contact_id": contact, "type": 2, "number": number })).await;
        assert_eq!(reply.status == 201, accepted, "{check} {number}");
    }
    let tenant = Tenant::with(json!({ "phone_stored_national": true, "phone_unique": true }));
    let contact = tenant.named("A");
    let body = |number: &str| json!({ "contact_id": contact, "type": 2, "number": number });
    assert_eq!(tenant.post("phone-number", body("+886912345678")).await.data()["number"], "0912345678");
    assert_eq!(tenant.post("phone-number", body("0912345678")).await.errors(), ["number"]);
    let mut errors = tenant.post("phone-number", json!({ "contact_id": contact })).await.errors();
    errors.sort_unstable();
    assert_eq!(errors, ["number", "type"]);
    assert_eq!(
        tenant.post("phone-number", json!({ "contact_id": contact, "type": 9, "number": "1" })).await.errors(),
        ["type"]
    );
}

#[tokio::test]
async fn row_filters_are_exact_fuzzy_ignored_or_refused() {
    for (mode, hits) in [("exact", 1), ("prefix", 2), ("substring", 3), ("ignored", 4)] {
        let tenant = Tenant::with(json!({ "filter_address": mode, "filter_number": mode }));
        let rows = ["a@b.c", "a@b.cd", "xa@b.c", "other@d.e"];
        let numbers = ["0911", "09110", "10911", "2"];
        tenant.world.add_contact(&json!({ "first_name": "A" }), &rows, &numbers, &[]);
        assert_eq!(tenant.get("email-contact?address=a@b.c").await.total(), hits, "{mode}");
        assert_eq!(tenant.get("phone-number?number=0911").await.total(), hits, "{mode}");
    }
    let tenant = Tenant::with(json!({ "filter_contact_id": "ignored", "filter_address": "rejected" }));
    tenant.world.seed_customers(3, 1, &[], &[]);
    assert_eq!(tenant.get("email-contact?contact_id=1").await.total(), 3);
    assert_eq!(tenant.get("email-contact?address=x").await.errors(), ["address"]);
}
