//! What is refused at the start, and that no refusal holds a secret.

use std::time::Duration;

use roothold_state::{Limits, OpenError, PgOptions, PgStore, StateStore};
use roothold_testing::Postgres;

use super::options;

async fn refused(options: &PgOptions) -> String {
    let error = PgStore::connect(options, Limits::default()).await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(!text.contains("s3cr3t"), "{text}");
    error.to_string()
}

#[tokio::test]
async fn a_newer_or_altered_schema_is_refused() {
    let server = Postgres::shared();
    let options = options(server);
    PgStore::connect(&options, Limits::default()).await.unwrap().close().await;
    PgStore::connect(&options, Limits::default()).await.unwrap().close().await;
    let schema = &options.schema;
    server.say("postgres", &format!("INSERT INTO {schema}.migrations VALUES (99, '', 0)")).await;
    assert!(refused(&options).await.contains("schema version 99"));
    let alter = format!(
        "DELETE FROM {schema}.migrations WHERE version = 99; UPDATE {schema}.migrations SET hash = ''"
    );
    server.say("postgres", &alter).await;
    assert!(refused(&options).await.contains("migration 1 is not the one"));
}

#[tokio::test]
async fn what_is_there_is_opened_without_making_or_changing_anything() {
    let server = Postgres::shared();
    let options = options(server);
    let existing = || PgStore::connect_existing(&options, Limits::default());
    assert!(matches!(existing().await, Err(OpenError::Absent)));
    let schema = &options.schema;
    // It fails if the schema was made.
    server.say("postgres", &format!("CREATE SCHEMA {schema}")).await;
    assert!(matches!(existing().await, Err(OpenError::Absent)));
    server.say("postgres", &format!("DROP SCHEMA {schema} RESTRICT")).await;
    let store = PgStore::connect(&options, Limits::default()).await.unwrap();
    let second = existing().await.unwrap();
    second.check().await.unwrap();
    second.close().await;
    store.close().await;
    server.say("postgres", &format!("DELETE FROM {schema}.migrations")).await;
    let error = existing().await.unwrap_err();
    assert!(matches!(error, OpenError::Older { found: 0, .. }), "{error}");
}

#[tokio::test]
async fn a_schema_of_another_program_is_refused() {
    let server = Postgres::shared();
    let options = options(server);
    let schema = &options.schema;
    server
        .say("postgres", &format!("CREATE SCHEMA {schema}; CREATE TABLE {schema}.theirs (x int)"))
        .await;
    assert!(refused(&options).await.contains("tables of another program"));
}

#[tokio::test]
async fn a_role_that_may_not_make_the_schema_is_told_how() {
    let server = Postgres::shared();
    let mut options = options(server);
    let (role, schema) = (format!("role_{}", options.schema), options.schema.clone());
    server.say("postgres", &format!("CREATE ROLE {role} LOGIN PASSWORD 's3cr3t'")).await;
    options.url = options.url.replace("user=postgres", &format!("user={role} password=s3cr3t"));
    let text = refused(&options).await;
    assert!(text.contains(&format!("CREATE SCHEMA {schema} AUTHORIZATION")), "{text}");
    server.say("postgres", &format!("CREATE SCHEMA {schema} AUTHORIZATION {role}")).await;
    PgStore::connect(&options, Limits::default()).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_reached_is_said_without_its_password() {
    let nobody = PgOptions {
        url: "postgresql://u:s3cr3t@127.0.0.1:1/jobs".to_owned(),
        timeout: Duration::from_secs(5),
        ..PgOptions::default()
    };
    assert!(refused(&nobody).await.starts_with("the state store cannot be opened"));
    let server = Postgres::shared();
    let mut stranger = options(server);
    stranger.url = stranger.url.replace("user=postgres", "user=stranger password=s3cr3t");
    assert!(refused(&stranger).await.contains("stranger"), "the role is named");
    let debug = format!("{nobody:?}");
    assert!(!debug.contains("s3cr3t"), "{debug}");
}

#[tokio::test]
async fn options_out_of_bounds_are_named() {
    let good = PgOptions { url: "host=localhost user=u".to_owned(), ..PgOptions::default() };
    for schema in ["", "Upper", "a-b", "a\"b", "pg_x", "é", &"x".repeat(49)] {
        let text = refused(&PgOptions { schema: schema.to_owned(), ..good.clone() }).await;
        assert!(text.contains("state.schema"), "{text}");
    }
    let text = refused(&PgOptions { connections_max: 0, ..good.clone() }).await;
    assert!(text.contains("connections_max must be from 1 to 100"), "{text}");
    let text = refused(&PgOptions { timeout: Duration::ZERO, ..good.clone() }).await;
    assert!(text.contains("timeout_ms must be from 100"), "{text}");
    for (pem, says) in [("", "no certificate"), ("-----BEGIN CERTIFICATE-----\n!\n", "tls_ca_file")]
    {
        let text = refused(&PgOptions { ca_pem: Some(pem.into()), ..good.clone() }).await;
        assert!(text.contains(says), "{text}");
    }
    let far = PgOptions { url: "host=db.example user=u sslmode=disable".to_owned(), ..good };
    let error = PgStore::connect(&far, Limits::default()).await.unwrap_err();
    assert!(matches!(error, OpenError::Options(_)), "{error}");
}
