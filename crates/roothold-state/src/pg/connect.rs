//! Connections: a small pool, and what is said on each first.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Timeouts,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio_postgres::Config;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres_rustls_improved::MakeRustlsConnect;

use super::PgOptions;
use super::dsn;
use crate::error::{OpenError, StateError};

/// How the server is reached.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) config: Config,
    pub(super) tls: Tls,
    /// What a new connection is told.
    pub(super) greeting: Arc<str>,
}

impl Way {
    pub(super) fn of(options: &PgOptions) -> Result<Self, OpenError> {
        options.check()?;
        let mut config = dsn::parse(&options.url, options.plaintext)?;
        config.keepalives_idle(Duration::from_secs(30));
        config.keepalives_interval(Duration::from_secs(5));
        config.keepalives_retries(3);
        config.tcp_user_timeout(options.timeout);
        // After a failover the old primary may answer as a standby.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(options.timeout / 2);
        }
        if config.get_application_name().is_none() {
            config.application_name("roothold");
        }
        let used = config.get_ssl_mode() != SslMode::Disable;
        let tls = Tls { make: MakeRustlsConnect::new(tls(options.ca_pem.as_deref(), used)?), used };
        Ok(Self { config, tls, greeting: greeting(options).into() })
    }

    pub(super) fn pool(&self, options: &PgOptions) -> Result<Pool, OpenError> {
        let manager = Manager::from_config(
            self.config.clone(),
            self.tls.clone(),
            ManagerConfig { recycling_method: RecyclingMethod::Fast },
        );
        let greeting = Arc::clone(&self.greeting);
        let greet = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
            let greeting = Arc::clone(&greeting);
            Box::pin(
                async move { client.batch_execute(&greeting).await.map_err(HookError::Backend) },
            )
        });
        let timeouts = Timeouts {
            wait: Some(options.timeout),
            create: Some(options.timeout),
            recycle: Some(options.timeout),
        };
        Pool::builder(manager)
            .max_size(options.connections_max)
            .timeouts(timeouts)
            .runtime(Runtime::Tokio1)
            .post_create(greet)
            .build()
            .map_err(|error| OpenError::Options(format!("state: {error}")))
    }
}

/// TLS for the driver, which wants some also where none is spoken, and for a name that a socket
/// does not have.
#[derive(Clone)]
pub(super) struct Tls {
    make: MakeRustlsConnect,
    used: bool,
}

impl<S> MakeTlsConnect<S> for Tls
where
    MakeRustlsConnect: MakeTlsConnect<S>,
{
    type Stream = <MakeRustlsConnect as MakeTlsConnect<S>>::Stream;
    type TlsConnect = <MakeRustlsConnect as MakeTlsConnect<S>>::TlsConnect;
    type Error = <MakeRustlsConnect as MakeTlsConnect<S>>::Error;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Self::TlsConnect, Self::Error> {
        self.make.make_tls_connect(if self.used { domain } else { "unused" })
    }
}

/// What every connection is told first. A server that is set to lose commits is overruled, since a
/// job is durable before its id is told; a stronger setting stays.
fn greeting(options: &PgOptions) -> String {
    let half = (options.timeout / 2).as_millis();
    let most = (options.timeout * 3 / 4).as_millis();
    format!(
        "SET search_path TO \"{}\"; SET statement_timeout TO {most}; SET lock_timeout TO {half}; \
         SET idle_in_transaction_session_timeout TO {}; SET bytea_output TO 'hex'; \
         SELECT set_config('synchronous_commit', 'on', false) \
         WHERE current_setting('synchronous_commit') IN ('off', 'local')",
        options.schema,
        options.timeout.as_millis()
    )
}

/// Certificates are verified with the given authorities, or with the system's; where no TLS is
/// spoken these need not be within reach.
fn tls(ca_pem: Option<&[u8]>, used: bool) -> Result<rustls::ClientConfig, OpenError> {
    let wrong = |what: &str| OpenError::Options(format!("state.tls_ca_file: {what}"));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| wrong("the TLS library knows no protocol version"))?;
    let mut config = if let Some(pem) = ca_pem {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| wrong("it is not a PEM file"))?;
            roots.add(certificate).map_err(|_| wrong("a certificate in it does not read"))?;
        }
        if roots.is_empty() {
            return Err(wrong("there is no certificate in it"));
        }
        builder.with_root_certificates(roots).with_no_client_auth()
    } else if !used {
        builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
    } else {
        builder
            .with_platform_verifier()
            .map_err(|_| wrong("the system's certificates cannot be used; name a file"))?
            .with_no_client_auth()
    };
    // Servers from PostgreSQL 17 on ask for it when TLS is begun at once.
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(config)
}

/// A connection that goes back to the pool only if what was done on it came to its end: one whose
/// future was dropped halfway, or that met an outage, is closed.
pub(super) struct Conn(Option<Object>);

impl Conn {
    pub(super) async fn of(pool: &Pool) -> Result<Self, StateError> {
        Ok(Self(Some(pool.get().await?)))
    }

    /// Gives it back, unless what was done on it ended so that nobody knows how it stands.
    pub(super) fn settle<T>(mut self, answer: Result<T, StateError>) -> Result<T, StateError> {
        let stands = match &answer {
            Ok(_) => true,
            Err(error) => !error.is_outage() && !matches!(error, StateError::Internal(_)),
        };
        if stands {
            self.0.take();
        }
        answer
    }
}

impl std::ops::Deref for Conn {
    type Target = Object;

    fn deref(&self) -> &Object {
        self.0.as_ref().expect("it is taken only by what consumes it")
    }
}

impl std::ops::DerefMut for Conn {
    fn deref_mut(&mut self) -> &mut Object {
        self.0.as_mut().expect("it is taken only by what consumes it")
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}
