//! Whose certificates are trusted when a server of another machine is talked to.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// The authorities of a PEM file that a source names.
///
/// # Errors
/// That there are none, or that one does not read, in words.
pub(crate) fn named(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let mut roots = rustls::RootCertStore::empty();
    let mut named = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| "tls_ca_file is not a PEM file")?;
        roots.add(certificate.clone()).map_err(|_| "a certificate in tls_ca_file does not read")?;
        named.push(certificate);
    }
    if named.is_empty() {
        return Err("there is no certificate in tls_ca_file");
    }
    Ok(named)
}

/// The authorities that the system trusts, for a driver that verifies with a list of them.
///
/// # Errors
/// That there are none, in words.
pub(crate) fn of_system() -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let reads =
        |root: &CertificateDer<'static>| rustls::RootCertStore::empty().add(root.clone()).is_ok();
    let roots: Vec<_> =
        rustls_native_certs::load_native_certs().certs.into_iter().filter(reads).collect();
    if roots.is_empty() {
        return Err("the system's certificates cannot be used; name a tls_ca_file");
    }
    Ok(roots)
}
