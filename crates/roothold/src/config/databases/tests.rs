//! Sections that are good, and what is said of those that are not.
#![expect(clippy::disallowed_methods, reason = "files that a section names are made here")]

use roothold_databases::SourceAccess;

use super::*;
use crate::config::Config;

const SHOP: &str = "[[databases]]\nname = \"shop\"\nkind = \"postgres\"\ndsn = \"${SHOP}\"\n";
const FILE: &str =
    "[[databases]]\nname = \"notes\"\nkind = \"sqlite\"\npath = \"/data/notes.db\"\n";
const PER_PRINCIPAL: &str =
    "[[databases]]\nname = \"shop\"\nkind = \"postgres\"\nrole_per_principal = true\n";
const ANNA: &str = "[[databases.roles]]\nprincipal = \"anna\"\ndsn = \"${SHOP_ANNA}\"\n";
const BOB: &str = "[[databases.roles]]\nprincipal = \"bob\"\ndsn_file = \"/run/secrets/bob\"\n";

fn checked(text: &str) -> Result<(), String> {
    let config: Config = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    config.check().map_err(|error| error.to_string())
}

#[test]
fn a_database_is_named_by_a_variable_a_file_or_a_path() {
    for good in [
        SHOP.to_owned(),
        FILE.to_owned(),
        SHOP.replace("dsn = \"${SHOP}\"", "dsn_file = \"/run/secrets/shop\""),
        SHOP.replace("${SHOP}", "postgresql://reader@127.0.0.1:5432/shop?sslmode=disable"),
        SHOP.replace("${SHOP}", "host=/run/postgresql user=reader dbname=shop"),
        SHOP.replace("${SHOP}", "postgresql://reader@%2Frun%2Fpostgresql/shop%"),
        format!("{SHOP}{FILE}"),
        format!("{FILE}access = \"write\"\nimmutable = true\n"),
        format!("{SHOP}{ANNA}"),
        PER_PRINCIPAL.to_owned() + ANNA + BOB,
        format!("{PER_PRINCIPAL}principals = [\"bob\", \"anna\"]\n{ANNA}{BOB}"),
    ] {
        assert_eq!(checked(&good), Ok(()), "{good}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_key_and_shows_no_secret() {
    let dsn = |dsn: &str| SHOP.replace("${SHOP}", dsn);
    let numbers =
        ["pool_size", "pool_wait_seconds", "rows_max", "bytes_max", "query_timeout_seconds"];
    let mut cases = vec![
        (dsn("postgresql://reader:s3cr3t@h/shop"), "dsn holds a password"),
        (dsn("postgresql://reader:${PASSWORD}@h/shop"), "dsn holds a password"),
        (dsn("postgresql://h/shop?user=a&PASSWORD=s3cr3t"), "dsn holds a password"),
        (dsn("host=h user=reader password = 's3cr3t'"), "dsn holds a password"),
        (dsn("postgresql://reader:s3cr3t/s3cr3t@h/shop"), "dsn holds a password"),
        (dsn("postgresql://reader:s3cr3t?@h/shop"), "dsn holds a password"),
        (dsn("postgresql://h/shop?user=a&%70assw%6Frd=s3cr3t"), "dsn holds a password"),
        (dsn("postgresql://h/shop?user=a&passfile=/s3cr3t"), "dsn holds a password"),
        (dsn("${A}:s3cr3t@{h}"), "dsn holds a password"),
        (SHOP.replace("dsn = \"${SHOP}\"\n", ""), "by one of them"),
        (format!("{SHOP}dsn_file = \"/x\"\n"), "by one of them"),
        (format!("{SHOP}path = \"/x\"\n"), "by one of them"),
        (format!("{FILE}dsn = \"${{X}}\"\n"), "by path, and by nothing else"),
        (FILE.replace("path = \"/data/notes.db\"\n", ""), "by path, and by nothing else"),
        (format!("{FILE}cost_max = 1.0\n"), "cost_max means nothing"),
        (format!("{FILE}plaintext = true\n"), "plaintext means nothing"),
        (format!("{SHOP}immutable = true\n"), "immutable means nothing"),
        (format!("{FILE}functions_trusted = [\"a.b\"]\n"), "functions_trusted means nothing"),
        (SHOP.repeat(2), "two are called `shop`"),
        (SHOP.replace("\"shop\"", "\"a b\""), "`a b` is no name"),
        (SHOP.replace("\"shop\"", "\"\""), "is no name"),
        (format!("{SHOP}mode = \"ro\"\n"), "unknown field `mode`"),
        (SHOP.replace("postgres", "oracle"), "unknown variant `oracle`"),
        (format!("{SHOP}principals = [\"*\"]\n"), "`*` is the name of nobody"),
        (
            format!("{SHOP}principals = [\"anna\"]\n[[principals]]\nname = \"bob\"\n"),
            "principals names `anna`, to whom [[principals]] grants nothing",
        ),
    ];
    cases.extend(numbers.map(|key| (format!("{SHOP}{key} = 0\n"), key)));
    cases.extend(numbers.map(|key| (format!("{SHOP}{key} = 999999999\n"), key)));
    for (text, why) in cases {
        let error = checked(&text).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
        assert!(!error.contains("s3cr3t"), "{error}");
    }
    let everyone = format!("{SHOP}principals = [\"anna\"]\n[[principals]]\nname = \"*\"\n");
    assert_eq!(checked(&everyone), Ok(()));
}

#[test]
fn roles_that_nobody_would_have_and_logins_that_nobody_would_use_are_refused() {
    let anna = |dsn: &str| ANNA.replace("${SHOP_ANNA}", dsn);
    for (text, why) in [
        (PER_PRINCIPAL.to_owned(), "role_per_principal leaves it to nobody"),
        (format!("{SHOP}role_per_principal = true\n{ANNA}"), "nobody would use its dsn"),
        (format!("{FILE}{ANNA}"), "roles means nothing"),
        (format!("{SHOP}{ANNA}{ANNA}"), "`shop`: roles: `anna` has two"),
        (SHOP.to_owned() + &anna("postgresql://anna:s3cr3t@h/d"), "`anna`: dsn holds a password"),
        (format!("{SHOP}{ANNA}dsn_file = \"/x\"\n"), "`anna`: a role is named by dsn or dsn_file"),
        (SHOP.to_owned() + &ANNA.replace("dsn = ", "path = "), "unknown field `path`"),
        (SHOP.to_owned() + &ANNA.replace("\"anna\"", "\"\""), "principal is empty"),
        (SHOP.to_owned() + &ANNA.replace("\"anna\"", "\"*\""), "grants nothing to that name"),
        (format!("{SHOP}{ANNA}[[principals]]\nname = \"bob\"\n"), "grants nothing to that name"),
        (format!("{SHOP}principals = [\"bob\"]\n{ANNA}"), "`anna`: may not use the database"),
        (
            format!("{PER_PRINCIPAL}principals = [\"anna\", \"bob\"]\n{ANNA}"),
            "principals names `bob`, who has no role",
        ),
        (
            format!("{SHOP}pool_size = 100\n") + &many(11),
            "11 roles with a pool_size of 100 may have 1100 connections",
        ),
        (SHOP.to_owned() + &many(101), "roles has more than 100 entries"),
    ] {
        let error = checked(&text).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
        assert!(!error.contains("s3cr3t"), "{error}");
    }
    assert_eq!(checked(&(SHOP.to_owned() + &many(100))), Ok(()));
}

fn many(count: usize) -> String {
    (0..count).map(|n| ANNA.replace("\"anna\"", &format!("\"p{n}\""))).collect()
}

#[test]
fn a_tool_is_for_those_who_have_a_role() {
    let tool = |who: &str| {
        format!(
            "{PER_PRINCIPAL}{ANNA}[[tools]]\nname = \"t\"\ndescription = \"d\"\ndatabase = \"shop\"\n\
             sql = \"select 1\"\nprincipals = [\"{who}\"]\n"
        )
    };
    assert_eq!(checked(&tool("anna")), Ok(()));
    assert!(checked(&tool("bob")).unwrap_err().contains("`bob`, who may not use the database"));
}

#[test]
fn files_of_roles_are_the_servers_own_and_what_is_wrong_with_one_is_said_of_it() {
    let section = section(&format!("{SHOP}{ANNA}{BOB}"));
    assert_eq!(section.own_files(), [std::path::PathBuf::from("/run/secrets/bob")]);
    let roles = section.by_role();
    let whose: Vec<_> = roles.iter().map(|(whose, _)| whose.as_deref()).collect();
    assert_eq!(whose, [None, Some("anna"), Some("bob")]);
    let unset = ANNA.replace("SHOP_ANNA", "ROOTHOLD_NO_SUCH_VARIABLE");
    let of_anna = &self::section(&format!("{SHOP}{unset}")).by_role()[1].1;
    let said = resolve(of_anna, Some("anna")).map(|_| ()).unwrap_err().to_string();
    assert!(said.contains("`shop`: roles: `anna`: dsn: "), "{said}");
}

fn section(text: &str) -> DatabaseSection {
    toml::from_str::<Config>(text).unwrap().databases.remove(0)
}

fn resolved(text: &str) -> Result<super::resolve::Resolved, String> {
    resolve(&section(text), None).map_err(|error| error.to_string())
}

#[test]
fn a_section_says_what_its_source_is() {
    let more = "access = \"write\"\npool_size = 7\nrows_max = 9\nquery_timeout_seconds = 3\n\
                tables = [\"app.*\"]\nhidden_columns = [\"app.customers.card\"]\n";
    let spec = resolved(&format!("{FILE}{more}")).unwrap().spec;
    assert_eq!((spec.access, spec.connections_max), (SourceAccess::Write, 7));
    assert_eq!((spec.limits.rows_max, spec.limits.time.as_secs()), (9, 3));
    assert!(spec.tables.shows_table("app", "customers") && !spec.tables.shows_table("b", "c"));
    assert!(!spec.tables.shows_column("app", "customers", "card"));
    let wrong = format!("{FILE}hidden_columns = [\"card\"]\n");
    assert!(resolved(&wrong).map(|_| ()).unwrap_err().contains("`notes`: `card` names no column"));
}

#[test]
fn secrets_are_read_and_told_apart_and_never_shown() {
    let missing = resolved(&SHOP.replace("SHOP", "ROOTHOLD_NO_SUCH_VARIABLE")).map(|_| ());
    let missing = missing.unwrap_err();
    assert!(missing.contains("the variable ROOTHOLD_NO_SUCH_VARIABLE is not set"), "{missing}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dsn");
    let by_file = SHOP.replace("dsn = \"${SHOP}\"", &format!("dsn_file = \"{}\"", file.display()));
    assert!(resolved(&by_file).map(|_| ()).unwrap_err().contains("dsn_file"));
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write(" \n");
    assert!(resolved(&by_file).map(|_| ()).unwrap_err().contains("dsn_file is empty"));
    write("postgresql://reader:s3cr3t@127.0.0.1/shop\n");
    let first = resolved(&by_file).unwrap();
    assert!(!format!("{:?}", first.spec).contains("s3cr3t"));
    assert_eq!(resolved(&by_file).unwrap().secrets, first.secrets);
    write("postgresql://reader:other@127.0.0.1/shop\n");
    assert_ne!(resolved(&by_file).unwrap().secrets, first.secrets);
}

#[test]
fn what_belongs_to_a_database_is_the_servers_own() {
    let own = section(FILE).own_files();
    let own: Vec<&str> = own.iter().map(|path| path.to_str().unwrap()).collect();
    let beside =
        ["/data/notes.db", "/data/notes.db-wal", "/data/notes.db-shm", "/data/notes.db-journal"];
    assert_eq!(own, beside);
}
