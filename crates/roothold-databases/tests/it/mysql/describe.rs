//! Descriptions: of what the role reads, and of nothing else.

use roothold_databases::{DescribeRequest, Source, Tables};
use roothold_testing::MariaDb;

use super::spec;
use crate::budget;

#[tokio::test]
async fn tables_are_described_as_far_as_they_are_read() {
    let server = MariaDb::shared();
    let setup = "CREATE TABLE customers (id INT PRIMARY KEY, name VARCHAR(50) NOT NULL UNIQUE, card TEXT, m ENUM('sad', 'gl''ad')); \
        CREATE TABLE orders (id BIGINT PRIMARY KEY, customer INT, amount DECIMAL(10, 2) COMMENT 'in euros', tenant INT, \
          KEY by_amount (amount, id), CONSTRAINT buyer FOREIGN KEY (customer) REFERENCES customers (id)) COMMENT 'what was ordered'; \
        CREATE TABLE vault (s TEXT); CREATE TABLE audits (vault_id INT); CREATE INDEX by_card ON customers (card(10)); \
        CREATE VIEW names AS SELECT name FROM customers; INSERT INTO customers VALUES (1, 'ann', 'x', 'sad'); \
        REVOKE SELECT ON describing.* FROM describing@'%'; GRANT SELECT ON describing.orders TO describing@'%'; \
        GRANT SELECT ON describing.names TO describing@'%'; GRANT SELECT (id, name, m) ON describing.customers TO describing@'%'";
    server.database("describing", setup).await;
    let mut spec = spec(server, "describing");
    let wanted = ["describing.*", "describing.names"].map(str::to_owned);
    spec.tables = Tables::new(Some(&wanted), &["audits".to_owned()], &[]).unwrap();
    let source = Source::new(spec).unwrap();
    let all = source.describe(&DescribeRequest::default(), &budget()).await.unwrap();
    let names: Vec<&str> = all.tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["customers", "names", "orders"]);
    let text = serde_json::to_string(&all).unwrap();
    assert!(
        !text.contains("card") && !text.contains("vault") && !text.contains("audits"),
        "{text}"
    );
    let customers = &all.tables[0];
    assert_eq!((customers.schema.as_str(), customers.kind.as_str()), ("describing", "table"));
    assert!(customers.rows_estimate.is_some());
    assert_eq!(customers.columns[2].values.as_deref().unwrap(), ["sad", "gl'ad"]);
    assert!(!customers.columns[1].nullable && customers.columns[2].nullable);
    assert_eq!(customers.columns[1].kind, "varchar(50)");
    let orders = &all.tables[2];
    assert_eq!(orders.comment.as_deref(), Some("what was ordered"));
    assert_eq!(orders.columns[2].kind, "decimal(10,2)");
    assert_eq!(orders.columns[2].comment.as_deref(), Some("in euros"));
    assert_eq!(all.tables[1].kind, "view");
    assert_eq!((&all.tables[1].comment, all.tables[1].rows_estimate), (&None, None));
    keys(orders, customers);

    let page = DescribeRequest { offset: 1, tables: 1, ..DescribeRequest::default() };
    let page = source.describe(&page, &budget()).await.unwrap();
    assert_eq!((page.tables[0].name.as_str(), page.next_offset), ("names", Some(2)));
    let only = |schema: &str, table: &str| DescribeRequest {
        schema: Some(schema.to_owned()),
        table: Some(table.to_owned()),
        ..DescribeRequest::default()
    };
    assert_eq!(
        source.describe(&only("describing", "orders"), &budget()).await.unwrap().tables.len(),
        1
    );
    let mut said = Vec::new();
    for table in ["vault", "audits", "nothing", "orders' OR 1=1 -- "] {
        let fault = source.describe(&only("describing", table), &budget()).await.unwrap_err();
        said.push(fault.public().replace(table, "x"));
    }
    assert!(said.iter().all(|text| *text == said[0]), "{said:?}");
}

fn keys(orders: &roothold_databases::Table, customers: &roothold_databases::Table) {
    let kinds: Vec<(&str, &[String])> =
        orders.keys.iter().map(|key| (key.kind.as_str(), key.columns.as_slice())).collect();
    assert_eq!(
        kinds,
        [("primary", &["id".to_owned()][..]), ("foreign", &["customer".to_owned()][..])]
    );
    let to = orders.keys[1].references.as_ref().unwrap();
    assert_eq!(
        (to.schema.as_str(), to.table.as_str(), to.columns[0].as_str()),
        ("describing", "customers", "id")
    );
    let index = orders.indexes.iter().find(|index| index.name == "by_amount").unwrap();
    assert!(!index.unique && index.columns == ["amount", "id"]);
    assert!(
        customers.keys.iter().any(|key| key.kind == "unique" && key.columns == ["name"]),
        "{customers:?}"
    );
}
