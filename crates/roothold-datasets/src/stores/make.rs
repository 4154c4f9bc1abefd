//! From a specification to a store that can be asked.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use object_store_remote::aws::{AmazonS3Builder, AwsCredential};
use object_store_remote::azure::{
    AzureAccessKey, AzureCredential, MicrosoftAzureBuilder, split_sas,
};
use object_store_remote::gcp::{GcpCredential, GoogleCloudStorageBuilder};
use object_store_remote::http::HttpBuilder;
use object_store_remote::{
    BackoffConfig, HeaderMap, HeaderValue, ObjectStore, RetryConfig, StaticCredentialProvider,
};
use roothold_core::{ObjectUrl, Scheme};

use super::guard::{Addresses, Guarded};
use super::{Secret, StoreSpec};

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a server may send nothing.
const READ_TIMEOUT: Duration = Duration::from_secs(15);
/// How often one request is tried again, and how long altogether.
const RETRIES_MAX: usize = 3;
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);
const REGION: &str = "us-east-1";

/// Why a store cannot be; no word of it is a credential's.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Something of the specification cannot be, or lacks.
    #[error("{0}: {1}")]
    Spec(String, &'static str),
    /// One store lies in another.
    #[error("{0} and {1} overlap; make them one")]
    Overlap(String, String),
}

/// What a store needs of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreReach {
    /// The port of its server.
    pub port: u16,
    /// Whether its host must be looked up.
    pub looks_up: bool,
    /// Whether it is talked to over TLS.
    pub tls: bool,
}

/// The server of a store.
struct Server {
    url: ObjectUrl,
    host: String,
    port: u16,
    tls: bool,
}

impl Server {
    fn of(spec: &StoreSpec) -> Result<Self, StoreError> {
        let url = match (&spec.endpoint, spec.url.scheme()) {
            (Some(endpoint), scheme) if !scheme.is_web() => endpoint.clone(),
            (_, Scheme::Http | Scheme::Https) => spec.url.clone(),
            (_, Scheme::S3) => {
                let region = spec.region.as_deref().unwrap_or(REGION);
                usual(spec, &format!("https://s3.{region}.amazonaws.com"))?
            }
            (_, Scheme::Gs) => usual(spec, "https://storage.googleapis.com")?,
            (_, Scheme::Az) => {
                let account = spec.account.as_deref().unwrap_or_default();
                usual(spec, &format!("https://{account}.blob.core.windows.net"))?
            }
        };
        let tls = url.scheme() == Scheme::Https;
        let (host, port) = match url.place().rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
            _ => (url.place(), None),
        };
        let (host, port) = (host.to_owned(), port.unwrap_or(if tls { 443 } else { 80 }));
        Ok(Self { url, host, port, tls })
    }

    fn address(&self) -> Option<IpAddr> {
        self.host.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }

    fn is_here(&self) -> bool {
        self.address().is_some_and(|address| address.is_loopback())
            || self.host == "localhost"
            || self.host.ends_with(".localhost")
    }
}

fn usual(spec: &StoreSpec, url: &str) -> Result<ObjectUrl, StoreError> {
    ObjectUrl::parse(url).map_err(|_| wrong(spec, "its region or account is no name"))
}

fn wrong(spec: &StoreSpec, reason: &'static str) -> StoreError {
    StoreError::Spec(spec.url.to_string(), reason)
}

/// Whether a store can be made of a specification.
///
/// # Errors
/// A [`StoreError`].
pub(super) fn check(spec: &StoreSpec) -> Result<(), StoreError> {
    let scheme = spec.url.scheme();
    let has_sign = |sign: char| matches!(sign, '*' | '?' | '[' | '{' | '\\');
    for (is, reason) in [
        (
            spec.endpoint.as_ref().is_some_and(|endpoint| !endpoint.scheme().is_web()),
            "its endpoint is no URL of a server; it begins with https:// or http://",
        ),
        (
            spec.endpoint.is_some() && scheme.is_web(),
            "a web server has no endpoint besides its URL",
        ),
        (
            spec.region.is_some() && scheme != Scheme::S3,
            "region means nothing for this kind; remove it",
        ),
        (
            spec.account.is_some() != (scheme == Scheme::Az),
            "account is that of Azure: az:// needs it, and nothing else has it",
        ),
        (
            spec.url.key().contains(has_sign) && !scheme.is_web(),
            "a store is a bucket or a prefix in it, not a glob",
        ),
    ] {
        if is {
            return Err(wrong(spec, reason));
        }
    }
    let server = Server::of(spec)?;
    if !server.tls && !server.is_here() && !spec.plaintext {
        return Err(wrong(
            spec,
            "another machine would be talked to in the clear; use https://, or write plaintext = true",
        ));
    }
    let allowed = Addresses { loopback: true, link_local: spec.link_local };
    if server.address().is_some_and(|address| !allowed.allow(address)) {
        return Err(wrong(
            spec,
            "its server is at an address where clouds keep credentials, or that is nobody's; write link_local = true if that is meant",
        ));
    }
    Ok(())
}

pub(super) fn reach(spec: &StoreSpec) -> StoreReach {
    match Server::of(spec) {
        Ok(server) => {
            StoreReach { port: server.port, looks_up: server.address().is_none(), tls: server.tls }
        }
        // It was checked when the stores were made.
        Err(_) => StoreReach { port: 443, looks_up: true, tls: true },
    }
}

/// The store of a specification. Nothing is connected to.
///
/// # Errors
/// A [`StoreError`].
pub(super) fn make(spec: &StoreSpec) -> Result<Arc<dyn ObjectStore>, StoreError> {
    let server = Server::of(spec)?;
    let client = guarded(spec, &server)?;
    let endpoint = server.url.to_string();
    let unusable = "cannot be used as it is configured; check its URL and credentials";
    let failed = |_| wrong(spec, unusable);
    Ok(match spec.url.scheme() {
        Scheme::S3 => {
            let builder = AmazonS3Builder::new()
                .with_bucket_name(spec.url.place())
                .with_region(spec.region.as_deref().unwrap_or(REGION))
                .with_endpoint(endpoint)
                .with_retry(retry())
                .with_skip_signature(spec.credentials.is_none())
                .with_credentials(Arc::new(StaticCredentialProvider::new(aws(spec)?)))
                .with_http_connector(client);
            Arc::new(builder.build().map_err(failed)?)
        }
        Scheme::Gs => {
            let builder = GoogleCloudStorageBuilder::new()
                .with_bucket_name(spec.url.place())
                .with_base_url(&endpoint)
                .with_retry(retry())
                .with_http_connector(client);
            let builder = match &spec.credentials {
                Some(key) => builder.with_service_account_key(key.expose()),
                None => {
                    let nobody = GcpCredential { bearer: String::new() };
                    builder
                        .with_skip_signature(true)
                        .with_credentials(Arc::new(StaticCredentialProvider::new(nobody)))
                }
            };
            Arc::new(builder.build().map_err(failed)?)
        }
        Scheme::Az => {
            let builder = MicrosoftAzureBuilder::new()
                .with_account(spec.account.as_deref().unwrap_or_default())
                .with_container_name(spec.url.place())
                .with_endpoint(endpoint)
                .with_retry(retry())
                .with_skip_signature(spec.credentials.is_none())
                .with_credentials(Arc::new(StaticCredentialProvider::new(azure(spec)?)))
                .with_http_connector(client);
            Arc::new(builder.build().map_err(failed)?)
        }
        Scheme::Http | Scheme::Https => {
            let origin = format!("{}://{}/", spec.url.scheme().name(), spec.url.place());
            let builder =
                HttpBuilder::new().with_url(origin).with_retry(retry()).with_http_connector(client);
            Arc::new(builder.build().map_err(failed)?)
        }
    })
}

fn retry() -> RetryConfig {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(2),
        base: 2.0,
    };
    RetryConfig { backoff, max_retries: RETRIES_MAX, retry_timeout: RETRY_TIMEOUT }
}

fn guarded(spec: &StoreSpec, server: &Server) -> Result<Guarded, StoreError> {
    let addresses = Addresses { loopback: server.is_here(), link_local: spec.link_local };
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("roothold/", env!("CARGO_PKG_VERSION")))
        // What a server sends is the object, or it is none.
        .redirect(reqwest::redirect::Policy::none())
        // One of the environment would be talked to instead of the server.
        .no_proxy()
        .referer(false)
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .http1_only()
        .https_only(server.tls)
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .dns_resolver(Arc::new(addresses))
        .default_headers(headers(spec)?);
    if let Some(pem) = &spec.ca_pem {
        let trusted = reqwest::Certificate::from_pem_bundle(pem)
            .ok()
            .filter(|certificates| !certificates.is_empty())
            .ok_or_else(|| wrong(spec, "its tls_ca_file holds no certificate in PEM"))?;
        builder = builder.tls_certs_only(trusted);
    }
    let client = builder.build().map_err(|_| wrong(spec, "there is no TLS for it"))?;
    let (host, port, tls) = (server.host.as_str().into(), server.port, server.tls);
    Ok(Guarded { client, host, port, tls, addresses })
}

/// What a web server wants to see with each request.
fn headers(spec: &StoreSpec) -> Result<HeaderMap, StoreError> {
    let mut headers = HeaderMap::new();
    let Some(secret) = spec.credentials.as_ref().filter(|_| spec.url.scheme().is_web()) else {
        return Ok(headers);
    };
    let mut value = HeaderValue::from_str(secret.expose())
        .map_err(|_| wrong(spec, "its credentials are no value of a header"))?;
    value.set_sensitive(true);
    headers.insert("authorization", value);
    Ok(headers)
}

fn aws(spec: &StoreSpec) -> Result<AwsCredential, StoreError> {
    let text = spec.credentials.as_ref().map_or("nobody:nothing", Secret::expose);
    let mut parts = text.splitn(3, ':').map(str::to_owned);
    let (Some(key_id), Some(secret_key)) = (parts.next(), parts.next()) else {
        return Err(wrong(spec, "its credentials are not of the form key:secret"));
    };
    if key_id.is_empty() || secret_key.is_empty() {
        return Err(wrong(spec, "its credentials are not of the form key:secret"));
    }
    Ok(AwsCredential { key_id, secret_key, token: parts.next() })
}

fn azure(spec: &StoreSpec) -> Result<AzureCredential, StoreError> {
    let Some(secret) = &spec.credentials else {
        return Ok(AzureCredential::BearerToken(String::new()));
    };
    let text = secret.expose();
    if text.contains("sig=") {
        let pairs = split_sas(text);
        return pairs
            .map(AzureCredential::SASToken)
            .map_err(|_| wrong(spec, "its credentials are no shared access signature"));
    }
    AzureAccessKey::try_new(text)
        .map(AzureCredential::AccessKey)
        .map_err(|_| wrong(spec, "its credentials are neither an account's key nor a signature"))
}
