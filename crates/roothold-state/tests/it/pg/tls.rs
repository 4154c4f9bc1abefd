//! TLS to the server: it is verified, whom one talks to.

use roothold_state::{Limits, PgOptions, PgStore, StateStore as _};
use roothold_testing::Postgres;

use super::options;

#[tokio::test]
async fn certificate_and_name_are_verified() {
    let server = Postgres::start();
    server.say("postgres", "CREATE ROLE guarded LOGIN SUPERUSER PASSWORD 's3cr3t'").await;
    let mut options = options(&server);
    let url = |host: &str, more: &str| {
        format!("postgresql://guarded:s3cr3t@{host}:{}/postgres?{more}", server.port())
    };
    options.ca_pem = Some(server.ca_pem());
    let connect = async |url: String, options: &PgOptions| {
        PgStore::connect(&PgOptions { url, ..options.clone() }, Limits::default()).await
    };

    // The password is bound to the channel, too: nobody in between can pass it on.
    let bound = url("localhost", "sslmode=verify-full&channel_binding=require");
    let store = connect(bound, &options).await.unwrap();
    store.check().await.unwrap();
    let all = "DO $$ BEGIN ASSERT (SELECT bool_and(ssl) AND count(*) >= 2 FROM pg_stat_ssl \
               JOIN pg_stat_activity USING (pid) WHERE usename = 'guarded'); END $$";
    server.say("postgres", all).await;

    let refused = async |url: String, options: &PgOptions| {
        let error = connect(url, options).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cr3t"), "{error:?}");
        error.to_string()
    };
    let other_name = refused(url("127.0.0.1", "sslmode=require"), &options).await;
    assert!(other_name.contains("certificate"), "{other_name}");
    options.ca_pem = None;
    let unknown = refused(url("localhost", "sslmode=require"), &options).await;
    assert!(unknown.contains("certificate"), "{unknown}");
}
