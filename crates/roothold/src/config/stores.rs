//! The section of stores over the network: `[[stores]]`.

use std::path::PathBuf;

use roothold_core::ObjectUrl;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::databases::{check_principals, is_variable};
use super::load::ConfigError;
use super::sections::PrincipalSection;

/// The most stores of a server.
const STORES_MAX: usize = 100;

/// A store over the network whose objects agents can read as datasets.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StoreSection {
    /// What can be read is what lies below it: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, or `https://host/path` of a web server that gives parts of files (range requests).
    pub url: String,
    /// What it holds, for agents.
    #[serde(default)]
    pub description: String,
    /// The URL of the server, where it is not the usual one of the cloud. Not for web servers.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// S3: the region. Default: `us-east-1`.
    #[serde(default)]
    pub region: Option<String>,
    /// Azure: the storage account.
    #[serde(default)]
    pub account: Option<String>,
    /// What the server wants to see, as `${VARIABLE}`: for S3 `key:secret` or `key:secret:token`, for Google the JSON of a service account's key, for Azure an account's key or a shared access signature, for a web server the value of the header `Authorization`. Default: what is public.
    #[serde(default)]
    pub credentials: Option<String>,
    /// A file that holds the `credentials` instead; it is read at start.
    #[serde(default)]
    pub credentials_file: Option<PathBuf>,
    /// The principals who may read it; for others it is not there. Default: everyone who has the scope `datasets:read`.
    #[serde(default)]
    pub principals: Option<Vec<String>>,
    /// A file of certificates, in PEM, of the authorities to trust instead of the system's.
    #[serde(default)]
    pub tls_ca_file: Option<PathBuf>,
    /// Whether another machine may be talked to in the clear.
    #[serde(default)]
    pub plaintext: bool,
    /// Whether its server may be at an address where clouds keep credentials, such as 169.254.169.254.
    #[serde(default)]
    pub link_local: bool,
}

impl StoreSection {
    /// The files that are the server's own: no root shows them.
    pub(crate) fn own_files(&self) -> Vec<PathBuf> {
        self.credentials_file.iter().cloned().collect()
    }

    /// What lies below it can be read.
    ///
    /// # Errors
    /// A [`ConfigError::Value`] for what is no URL of a store.
    pub(crate) fn object_url(&self) -> Result<ObjectUrl, ConfigError> {
        url(&self.url, "url")
    }
}

fn url(text: &str, key: &str) -> Result<ObjectUrl, ConfigError> {
    // A user in it, or a query, is a secret: what is wrong is not quoted.
    ObjectUrl::parse(text).map_err(|fault| refuse(format!("{key}: {fault}")))
}

fn refuse(reason: String) -> ConfigError {
    ConfigError::Value { key: "stores".to_owned(), reason }
}

/// Whether the sections can be used, as far as that is known without the environment and files.
///
/// # Errors
/// A [`ConfigError::Value`] that names the store and the key.
pub(super) fn check(
    stores: &[StoreSection],
    principals: &[PrincipalSection],
) -> Result<(), ConfigError> {
    if !stores.is_empty() && !cfg!(feature = "datasets") {
        return Err(refuse(
            "this program was built without datasets; install one that has them, or remove the section".to_owned(),
        ));
    }
    if stores.len() > STORES_MAX {
        return Err(refuse(format!("there are more than {STORES_MAX}")));
    }
    for store in stores {
        let name = store.object_url()?;
        let wrong = |reason: &str| Err(refuse(format!("{name}: {reason}")));
        if store.credentials.is_some() && store.credentials_file.is_some() {
            return wrong("name credentials or credentials_file, not both");
        }
        if store.credentials.as_deref().is_some_and(|text| !is_variable(text)) {
            return wrong(
                "credentials would stand in the configuration; write \"${VARIABLE}\" and nothing else there, or name a credentials_file",
            );
        }
        if let Some(endpoint) = &store.endpoint {
            url(endpoint, "endpoint")?;
        }
        if let Err(reason) = check_principals(store.principals.as_deref(), principals) {
            return wrong(&reason);
        }
    }
    Ok(())
}

/// What a section means, with its variable and its files read.
///
/// # Errors
/// A [`ConfigError::Value`] that names the store and the key, and shows nothing of a secret.
#[cfg(feature = "datasets")]
pub(crate) fn resolve(section: &StoreSection) -> Result<roothold_datasets::StoreSpec, ConfigError> {
    use roothold_datasets::{Secret, StoreSpec};

    use super::databases::read_own;
    use super::load::expand;

    let name = section.object_url()?;
    let wrong = |reason: String| refuse(format!("{name}: {reason}"));
    let credentials = match (&section.credentials, &section.credentials_file) {
        (Some(text), _) => Some(expand(text).map_err(|e| wrong(format!("credentials: {e}")))?),
        (None, Some(file)) => {
            let bytes = read_own(file).map_err(|e| wrong(format!("credentials_file {e}")))?;
            let text = String::from_utf8(bytes);
            Some(text.map_err(|_| wrong("credentials_file is not UTF-8".to_owned()))?)
        }
        (None, None) => None,
    };
    let credentials = credentials.map(|text| text.trim().to_owned());
    if credentials.as_deref() == Some("") {
        return Err(wrong(
            "its credentials are empty; leave them out for what is public".to_owned(),
        ));
    }
    let ca_pem = section.tls_ca_file.as_ref().map(|file| read_own(file)).transpose();
    let endpoint = section.endpoint.as_ref().map(|text| url(text, "endpoint")).transpose()?;
    Ok(StoreSpec {
        endpoint,
        region: section.region.clone(),
        account: section.account.clone(),
        credentials: credentials.map(Secret::new),
        ca_pem: ca_pem.map_err(|reason| wrong(format!("tls_ca_file {reason}")))?,
        plaintext: section.plaintext,
        link_local: section.link_local,
        ..StoreSpec::new(name.clone())
    })
}

#[cfg(all(test, feature = "datasets"))]
mod tests {
    use super::*;
    use crate::config::Config;

    fn checked(text: &str) -> Result<Config, String> {
        let config: Config = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        config.check().map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn a_store_is_a_url_and_its_secret_stands_elsewhere() {
        let of = |keys: &str| format!("[[stores]]\nurl = \"s3://lake/open\"\n{keys}");
        checked(&of("region = \"eu-central-1\"\ncredentials = \"${LAKE}\"\n")).unwrap();
        for (text, why) in [
            (of("credentials = \"AKIA1:s3cr3t\"\n"), "would stand in the configuration"),
            (of("credentials = \"${A}:s3cr3t\"\n"), "would stand in the configuration"),
            (of("credentials = \"${A}\"\ncredentials_file = \"/x\"\n"), "not both"),
            (of("endpoint = \"minio:9000\"\n"), "endpoint: "),
            (of("principals = [\"*\"]\n"), "`*` is the name of nobody"),
            (of("pasword = \"s3cr3t\"\n"), "unknown field"),
            ("[[stores]]\nurl = \"/data\"\n".to_owned(), "none of a store"),
            ("[[stores]]\nurl = \"https://u:s3cr3t@h/a\"\n".to_owned(), "names a user"),
            ("[[stores]]\nurl = \"https://h/a?sig=s3cr3t\"\n".to_owned(), "a query"),
        ] {
            let error = checked(&text).unwrap_err();
            assert!(error.contains(why) && !error.contains("s3cr3t"), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_a_store_says_why_and_shows_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            #[expect(clippy::disallowed_methods, reason = "a file of the operator's")]
            std::fs::write(&path, text).unwrap();
            format!("credentials_file = {path:?}\n")
        };
        let made = |url: &str, keys: &str| {
            let config = checked(&format!("[[stores]]\nurl = {url:?}\n{keys}"))?;
            let spec = resolve(&config.stores[0]).map_err(|error| error.to_string())?;
            roothold_datasets::Stores::new(&[spec]).map_err(|error| error.to_string())
        };
        let (s3, http) = ("s3://lake", "http://127.0.0.1:8000");
        let account = "account = \"acme\"\n";
        made(s3, &file("s3", "AKIA1:s3cr3t\n")).unwrap();
        made("az://box", &format!("{account}{}", file("az", "czNjcjN0"))).unwrap();
        made("az://box", &format!("{account}{}", file("sas", "?sv=1&sig=s3cr3t"))).unwrap();
        made("https://data.example.org/x", &file("bearer", "Bearer s3cr3t")).unwrap();
        made("gs://lake", "").unwrap();
        made("http://minio.internal/x", "plaintext = true\n").unwrap();
        made("http://169.254.169.254/x", "plaintext = true\nlink_local = true\n").unwrap();
        for (url, keys, why) in [
            (s3, file("empty", " \n"), "are empty"),
            (s3, file("s3cr3t-less", "s3cr3t"), "not of the form key:secret"),
            (s3, "credentials_file = \"/nothing/here\"\n".to_owned(), "cannot be read"),
            (s3, account.to_owned(), "account is that of Azure"),
            (s3, "endpoint = \"http://minio.internal\"\n".to_owned(), "in the clear"),
            (s3, "endpoint = \"s3://other\"\n".to_owned(), "no URL of a server"),
            ("az://box", String::new(), "az:// needs it"),
            (
                "az://box",
                format!("{account}{}", file("no64", "s3cr3t!")),
                "neither an account's key",
            ),
            ("gs://lake", file("gs", "{\"private_key\": \"s3cr3t\"}"), "cannot be used"),
            ("http://minio.internal/x", String::new(), "in the clear"),
            ("http://169.254.169.254/x", "plaintext = true\n".to_owned(), "link_local"),
            ("https://[fd00:ec2::254]/x", String::new(), "link_local"),
            ("https://[::ffff:169.254.169.254]/x", String::new(), "link_local"),
            ("https://0.0.0.0/x", "link_local = true\n".to_owned(), "nobody's"),
            (http, "region = \"x\"\n".to_owned(), "region means nothing"),
            (http, "endpoint = \"http://h\"\nplaintext = true\n".to_owned(), "no endpoint"),
            ("s3://lake/a*", String::new(), "not a glob"),
            (http, file("header", "Bearer s3cr3t\nx"), "no value of a header"),
            (http, file("pem", "none").replace("credentials", "tls_ca"), "no certificate"),
        ] {
            let error = made(url, &keys).map(|_| ()).expect_err(&format!("{url} {keys}"));
            assert!(error.contains(why) && !error.contains("s3cr3t!"), "{url} {keys}: {error}");
            assert!(!error.contains("Bearer") && !error.contains("private_key"), "{error}");
        }
    }
}
