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
