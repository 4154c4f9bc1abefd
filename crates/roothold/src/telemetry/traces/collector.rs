//! The collector, as OpenTelemetry's own exporter speaks to it.
//!
//! No proxy of the environment is used and no redirect followed: spans and headers go to the URL of
//! the configuration, or nowhere.

use opentelemetry::KeyValue;
use opentelemetry_otlp::tonic_types::metadata::MetadataMap;
use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig};
use opentelemetry_otlp::{
    Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanExporter as _;

use super::Service;
use crate::config::{Collector, OtlpProtocol};

/// What sends to a collector. It connects when it first sends; wants a runtime.
///
/// # Errors
/// What of the configuration cannot be used, in one sentence with its key.
pub(super) fn exporter(collector: &Collector, service: &Service) -> Result<SpanExporter, String> {
    let built = match collector.protocol {
        OtlpProtocol::Grpc => over_grpc(collector),
        OtlpProtocol::HttpProtobuf => over_http(collector),
    };
    let mut exporter = built?;
    exporter.set_resource(&resource(service));
    Ok(exporter)
}

/// What the spans are of: this server, and what `OTEL_RESOURCE_ATTRIBUTES` says of where it runs.
fn resource(service: &Service) -> Resource {
    Resource::builder()
        .with_service_name(service.name.clone())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", service.replica.clone()))
        .build()
}

fn over_grpc(collector: &Collector) -> Result<SpanExporter, String> {
    let mut builder = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(&collector.url)
        .with_timeout(collector.timeout)
        .with_metadata(MetadataMap::from_headers(collector.headers.clone()));
    if collector.is_tls {
        let tls = ClientTlsConfig::new();
        builder = builder.with_tls_config(match &collector.ca_pem {
            Some(pem) => tls.ca_certificate(Certificate::from_pem(pem)),
            None => tls.with_native_roots(),
        });
    }
    builder.build().map_err(|error| format!("telemetry.otlp_endpoint: {error}"))
}

fn over_http(collector: &Collector) -> Result<SpanExporter, String> {
    let mut client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .default_headers(collector.headers.clone())
        .timeout(collector.timeout);
    if let Some(pem) = &collector.ca_pem {
        let authorities = reqwest::Certificate::from_pem_bundle(pem);
        let authorities = authorities.ok().filter(|authorities| !authorities.is_empty());
        let missing = "telemetry.otlp_ca_file: holds no certificate in PEM";
        client = client.tls_certs_only(authorities.ok_or(missing)?);
    } else if !collector.is_tls {
        // Else it would read the system's, which are not within reach where nobody needs them.
        client = client.tls_certs_only([]);
    }
    let client = client.build().map_err(|error| format!("telemetry.otlp_endpoint: {error}"))?;
    SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(&collector.url)
        .with_timeout(collector.timeout)
        .build()
        .map_err(|error| format!("telemetry.otlp_endpoint: {error}"))
}
