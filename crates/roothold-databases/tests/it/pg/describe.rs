//! Descriptions: of what the role reads, and of nothing else.

use roothold_databases::{DescribeRequest, Tables};
use roothold_testing::Postgres;

use super::spec;
use crate::budget;

#[tokio::test]
async fn tables_are_described_as_far_as_they_are_read() {
    let server = Postgres::shared();
    let setup = "CREATE TYPE mood AS ENUM ('sad', 'glad'); \
        CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, card text, m mood, UNIQUE (name)); \
        CREATE TABLE orders (id bigint PRIMARY KEY, customer int REFERENCES customers, amount numeric(10,2)); \
        CREATE TABLE vault (s text); CREATE TABLE audits (vault_id int); \
        CREATE INDEX by_amount ON orders (amount, lower(id::text)); CREATE INDEX by_card ON customers (card); \
        COMMENT ON TABLE orders IS 'what was ordered'; COMMENT ON COLUMN orders.amount IS 'in euros'; \
        CREATE VIEW names AS SELECT name FROM customers; INSERT INTO customers VALUES (1, 'ann'); ANALYZE customers; \
        REVOKE SELECT ON vault, customers FROM describing; GRANT SELECT (id, name, m) ON customers TO describing";
    server.database("describing", setup).await;
    let mut spec = spec(server, "describing");
    spec.tables = Tables::new(None, &["audits".to_owned()], &[]).unwrap();
    server.say("describing", "REVOKE SELECT ON app.audits FROM describing").await;
    let source = roothold_databases::Source::new(spec).unwrap();
    let all = source.describe(&DescribeRequest::default(), &budget()).await.unwrap();
    let names: Vec<&str> = all.tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["customers", "names", "orders"]);
    let text = serde_json::to_string(&all).unwrap();
    assert!(
        !text.contains("card") && !text.contains("vault") && !text.contains("audits"),
        "{text}"
    );
    let customers = &all.tables[0];
    assert_eq!(customers.rows_estimate, Some(1));
    assert_eq!(customers.columns[2].values.as_deref().unwrap(), ["sad", "glad"]);
    assert!(!customers.columns[1].nullable && customers.keys.len() == 2);
    let orders = &all.tables[2];
    assert_eq!(orders.comment.as_deref(), Some("what was ordered"));
    assert_eq!(orders.columns[2].kind, "numeric(10,2)");
    assert_eq!(orders.columns[2].comment.as_deref(), Some("in euros"));
    let foreign = orders.keys.iter().find(|key| key.kind == "foreign").unwrap();
    assert_eq!(foreign.references.as_ref().unwrap().table, "customers");
    let index = orders.indexes.iter().find(|index| index.name == "by_amount").unwrap();
    assert_eq!(index.columns, ["amount", "(expression)"]);
    assert_eq!(all.tables[1].kind, "view");

    let page = DescribeRequest { offset: 1, tables: 1, ..DescribeRequest::default() };
    let page = source.describe(&page, &budget()).await.unwrap();
    assert_eq!((page.tables[0].name.as_str(), page.next_offset), ("names", Some(2)));
    let only = |table: &str| DescribeRequest {
        schema: Some("app".to_owned()),
        table: Some(table.to_owned()),
        ..DescribeRequest::default()
    };
    assert_eq!(source.describe(&only("orders"), &budget()).await.unwrap().tables.len(), 1);
    let mut said = Vec::new();
    for table in ["vault", "audits", "nothing"] {
        let fault = source.describe(&only(table), &budget()).await.unwrap_err();
        said.push(fault.public().replace(table, "x"));
    }
    assert!(said[0] == said[1] && said[1] == said[2], "{said:?}");
}
