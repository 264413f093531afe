//! TLS: PEM to settings of rustls, the handshake, and what to say when it fails.
//!
//! TLS 1.2 and 1.3, what rustls deems safe. The chain is always checked; a certificate that is itself in
//! the list of trusted ones needs no chain, as in Java and OpenSSL, so that a self-signed broker works.

use std::{io, sync::Arc};

use host::ByteStream;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use tokio_rustls::TlsConnector;

use super::{Secret, Tls, pem};

/// Why a handshake did not end well.
#[derive(Debug)]
pub(crate) enum NotSecured {
    /// The connection broke; the next may do better.
    Broken(String),
    /// One side does not accept the other.
    Refused(String),
}

/// Everything for handshakes with one set of settings.
pub(crate) struct Handshake(TlsConnector);

impl Handshake {
    /// Reads the PEM; the error is a reason.
    pub(crate) fn new(tls: &Tls) -> Result<Self, String> {
        let provider = Arc::new(ring::default_provider());
        let (roots, pinned) = trusted(tls)?;
        let chain =
            WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(&provider))
                .build()
                .map_err(|error| format!("certificates to trust: {error}"))?;
        let verifier = Verifier {
            chain,
            pinned,
            check_name: tls.check_name,
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let config = match &tls.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let certificates =
                    pem::certificates(&identity.certificates, "the client certificate")?;
                let password = identity.key_password.as_ref().map(Secret::reveal);
                let key = pem::private_key(identity.key.reveal(), password, "the client's key")?;
                builder
                    .with_client_auth_cert(certificates, key)
                    .map_err(|error| match error {
                        Error::InconsistentKeys(_) => {
                            "the client's key is not the key of its certificate".to_owned()
                        }
                        error => format!("the client certificate and its key: {error}"),
                    })?
            }
        };
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Secures a connection to `host`, the name or address that was connected to.
    pub(crate) async fn secure(
        &self,
        stream: Box<dyn ByteStream>,
        host: &str,
    ) -> Result<Box<dyn ByteStream>, NotSecured> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| NotSecured::Refused(format!("{host} is no name that TLS can check")))?;
        match self.0.connect(name, stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(explain(&error)),
        }
    }
}

/// What is trusted: as the ends of chains, and as they are.
fn trusted(tls: &Tls) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), String> {
    let Some(text) = &tls.trusted else {
        // Some of a system's CAs may be beyond rustls; the others do.
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            return Err("no CA certificates are installed on this system; \
                        give the brokers' CA as ssl.ca.location"
                .to_owned());
        }
        return Ok((roots, Vec::new()));
    };
    pem::trusted(text, "the certificates to trust")
}

/// Checks brokers' certificates.
#[derive(Debug)]
struct Verifier {
    chain: Arc<WebPkiServerVerifier>,
    pinned: Vec<CertificateDer<'static>>,
    check_name: bool,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = if self.pinned.contains(certificate) {
            verify_server_name(&ParsedCertificate::try_from(certificate)?, name)
                .map(|()| ServerCertVerified::assertion())
        } else {
            // Checks the chain first and the name last.
            self.chain
                .verify_server_cert(certificate, chain, name, ocsp, now)
        };
        match verified {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.check_name => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// What happened and what to look at.
fn explain(error: &io::Error) -> NotSecured {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    let Some(inner) = inner else {
        return NotSecured::Broken(format!(
            "TLS: {error}; is this its TLS port? Check security.protocol"
        ));
    };
    let advice = match inner {
        // The second: a trusted CA has the name of the one that signed, and another key.
        Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => {
            "its certificate is signed by no CA that is trusted here: give that CA as ssl.ca.location \
             (Java: ssl.truststore.location in PEM)"
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => {
            "connect to a name in the certificate, or set ssl.endpoint.identification.algorithm = \"none\""
        }
        Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => "renew it, or set this machine's clock",
        Error::InvalidMessage(_) => {
            "what it says is not TLS: is this its TLS port? Check security.protocol"
        }
        Error::AlertReceived(_) => REFUSED_BY_ALERT,
        Error::PeerIncompatible(_) => "TLS 1.2 or 1.3 is wanted",
        _ => return NotSecured::Refused(format!("TLS: {inner}")),
    };
    NotSecured::Refused(format!("TLS: {inner}; {advice}"))
}

/// What to look at when the broker ends a handshake, or in TLS 1.3 the connection after it.
pub(crate) const REFUSED_BY_ALERT: &str = "the broker does not accept this client: check its certificate and key, \
     ssl.certificate.location and ssl.key.location (Java: ssl.keystore.location in PEM)";
