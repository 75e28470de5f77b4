//! Customer tables.

use super::*;

#[tokio::test]
async fn a_table_row_is_made_listed_changed_and_deleted() {
    let tenant = Tenant::new();
    let contact = tenant.named("A");
    let base = format!("contact/{contact}");
    let body = json!({ "cz_cols": [{ "id": 51, "value": "umbrella" }] });
    let created = tenant.post(&format!("{base}/cz-col-category/20/contact-cz-relation"), body.clone()).await;
    let row = created.data();
    assert_eq!((created.status, &row["relation_name"]), (201, &json!("Purchases")));
    assert_eq!(
        (&row["information"][0]["col_name"], &row["information"][0]["value"]),
        (&json!("Article"), &json!("umbrella"))
    );
    let twin = tenant.post(&format!("{base}/cz-col-category/20/contact-cz-relation"), body.clone()).await.id();
    let list = format!("{base}/contact-cz-relation");
    assert_eq!(tenant.get(&list).await.ids(), [created.id(), twin], "posting again adds another row");
    let like = "cz_col_category_id=20&relation_search_cz_col_id=51&relation_search_cz_col_op=like";
    assert_eq!(tenant.get(&format!("{list}?{like}&relation_search_cz_col_value=BREL")).await.total(), 2);
    assert_eq!(tenant.get(&format!("{list}?{like}&relation_search_cz_col_value=coat")).await.total(), 0);
    assert_eq!(tenant.get(&format!("{list}?cz_col_category_id=21")).await.total(), 0);
    let changed = json!({ "cz_cols": [{ "id": 51, "value": "coat" }] });
    let changed = tenant.put(&format!("{list}/{}", created.id()), changed).await;
    assert_eq!(changed.data()["information"][0]["value"], "coat");
    assert_eq!(tenant.call("DELETE", &format!("{list}/{twin}"), Value::Null).await.status, 204);
    assert_eq!(tenant.get(&list).await.ids(), [created.id()]);
    assert_eq!(tenant.call("DELETE", &format!("{base}/cz-col-category/20"), Value::Null).await.status, 204);
    assert_eq!(tenant.get(&list).await.total(), 0);
    let counts = tenant.world.tally();
    assert_eq!((counts.table, counts.table_delete, counts.contact_delete), (9, 2, 0));
}

#[tokio::test]
async fn a_bad_table_request_is_refused() {
    let tenant = Tenant::new();
    let contact = tenant.named("A");
    let base = format!("contact/{contact}");
    let body = json!({ "cz_cols": [{ "id": 51, "value": "x" }] });
    let path = |category: i64| format!("{base}/cz-col-category/{category}/contact-cz-relation");
    assert_eq!(tenant.post(&path(10), body.clone()).await.status, 404, "a form is no table");
    assert_eq!(tenant.post(&path(20), json!({})).await.errors(), ["cz_cols"]);
    let form_column = json!({ "cz_cols": [{ "id": 31, "value": "x" }] });
    assert_eq!(tenant.post(&path(20), form_column).await.errors(), ["cz_cols.0.id"]);
    assert_eq!(tenant.post("contact/9/cz-col-category/20/contact-cz-relation", body.clone()).await.status, 404);
    assert_eq!(tenant.put(&format!("{base}/contact-cz-relation/5"), body.clone()).await.status, 404);
    assert_eq!(tenant.post(&format!("{base}/contact-cz-relation"), body).await.status, 405);
    assert_eq!(tenant.get(&format!("{base}/elsewhere")).await.status, 404);
    let mixed = json!({ "first_name": "B", "cz_cols": [{ "id": 51, "value": "x" }] });
    assert_eq!(tenant.post("contact", mixed).await.errors(), ["cz_cols.0.id"], "nor is a table column a form's");
}
