//! TLS on a listener: PEM to settings of rustls, the handshake, and the name in the client's certificate.
//!
//! TLS 1.2 and 1.3, what rustls deems safe. A client's certificate must be signed by what the truststore has, or be in
//! it itself, as in Java.

use std::{fmt, io, sync::Arc};

use host::ByteStream;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::ring,
    pki_types::{CertificateDer, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    version::{TLS12, TLS13},
};
use tokio_rustls::TlsAcceptor;
use wire::security::pem;

use super::{Principal, dn, mapping::Mapping, properties::Settings};

/// Everything for handshakes on one listener.
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    mapping: Mapping,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// Whether a client needs a certificate (`ssl.client.auth`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientAuth {
    None,
    Requested,
    Required,
}

impl Tls {
    /// Reads the settings, and the files that they name. On a listener with logins `ssl.client.auth` is its own or none
    /// (KIP-684).
    ///
    /// # Errors
    /// A reason.
    pub(crate) fn new(settings: &Settings<'_>, has_logins: bool) -> Result<Self, String> {
        let provider = Arc::new(ring::default_provider());
        let versions = settings
            .get("ssl.enabled.protocols")
            .unwrap_or("TLSv1.2,TLSv1.3");
        let versions: Result<Vec<_>, _> = versions
            .split(',')
            .map(|version| match version.trim() {
                "TLSv1.2" => Ok(&TLS12),
                "TLSv1.3" => Ok(&TLS13),
                other => Err(format!("ssl.enabled.protocols: {other} is not spoken")),
            })
            .collect();
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions?)
            .map_err(|error| error.to_string())?;
        let auth = match has_logins {
            true => settings.own("ssl.client.auth"),
            false => settings.get("ssl.client.auth"),
        };
        let auth = match auth {
            Some("required") => ClientAuth::Required,
            Some("requested") => ClientAuth::Requested,
            _ => ClientAuth::None,
        };
        let builder = match auth {
            ClientAuth::None => builder.with_no_client_auth(),
            auth => builder.with_client_cert_verifier(Arc::new(Verifier::new(settings, auth)?)),
        };
        let (chain, key) = keystore(settings)?;
        let password = settings.get("ssl.key.password");
        let config = builder.with_single_cert(
            pem::certificates(&chain, "ssl.keystore")?,
            pem::private_key(&key, password, "ssl.keystore: the key")?,
        );
        let config = config.map_err(|error| match error {
            Error::InconsistentKeys(_) => {
                "ssl.keystore: the key is not the key of its certificate".to_owned()
            }
            error => format!("ssl.keystore: {error}"),
        })?;
        let mapping = settings.get("ssl.principal.mapping.rules");
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            mapping: mapping.map(Mapping::parse).transpose()?.unwrap_or_default(),
        })
    }

    /// Secures a connection, and says who the client's certificate says it is
    /// (`DefaultKafkaPrincipalBuilder.applySslPrincipalMapper`).
    pub(crate) async fn secure(
        &self,
        stream: Box<dyn ByteStream>,
    ) -> io::Result<(Box<dyn ByteStream>, Principal)> {
        let stream = self.acceptor.accept(stream).await?;
        let (_, session) = stream.get_ref();
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        let principal = match certificate {
            None => Principal::anonymous(),
            Some(certificate) => {
                let subject = dn::subject(certificate);
                let name = subject.as_deref().and_then(|name| self.mapping.apply(name));
                let lost = "ssl.principal.mapping.rules has no rule for the client's certificate";
                let name = name.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, lost))?;
                Principal::user(&name)
            }
        };
        Ok((Box::new(stream), principal))
    }
}

/// Certificates and key as PEM: both in one file, or each in a setting.
fn keystore(settings: &Settings<'_>) -> Result<(String, String), String> {
    if let Some(path) = settings.get("ssl.keystore.location") {
        let text = read(path, settings.get("ssl.keystore.type"), "ssl.keystore")?;
        return Ok((text.clone(), text));
    }
    let chain = settings.get("ssl.keystore.certificate.chain");
    let key = settings.get("ssl.keystore.key");
    match (chain, key) {
        (Some(chain), Some(key)) => Ok((lines(chain), lines(key))),
        _ => Err(
            "no certificate: set ssl.keystore.location to a PEM file with key and certificates \
                  (or ssl.keystore.certificate.chain and ssl.keystore.key to PEM text)"
                .to_owned(),
        ),
    }
}

/// A PEM file. The type must be said, since Kafka's default is JKS.
fn read(path: &str, kind: Option<&str>, what: &str) -> Result<String, String> {
    if kind != Some("PEM") {
        return Err(format!(
            "{what}.type=PEM must be set; other stores are not read"
        ));
    }
    std::fs::read_to_string(path).map_err(|error| format!("{what}.location={path}: {error}"))
}

/// PEM in a properties file: `\n` stands for a new line.
fn lines(text: &str) -> String {
    text.replace("\\n", "\n")
}

/// Checks clients' certificates.
#[derive(Debug)]
struct Verifier {
    chain: Arc<dyn ClientCertVerifier>,
    pinned: Vec<CertificateDer<'static>>,
    is_required: bool,
}

impl Verifier {
    fn new(settings: &Settings<'_>, auth: ClientAuth) -> Result<Self, String> {
        let text = match settings.get("ssl.truststore.location") {
            Some(path) => read(path, settings.get("ssl.truststore.type"), "ssl.truststore")?,
            None => settings
                .get("ssl.truststore.certificates")
                .map(lines)
                .ok_or(
                    "ssl.client.auth: whom to trust? Set ssl.truststore.location to a PEM file",
                )?,
        };
        let (roots, pinned) = pem::trusted(&text, "ssl.truststore")?;
        let provider = Arc::new(ring::default_provider());
        let chain = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| format!("ssl.truststore: {error}"))?;
        Ok(Self {
            chain,
            pinned,
            is_required: auth == ClientAuth::Required,
        })
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.is_required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(certificate, chain, now);
        match verified {
            // Trusted by itself; its dates are still checked.
            Err(Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::Other(_),
            )) if self.pinned.contains(certificate) && is_valid(certificate, now) => {
                Ok(ClientCertVerified::assertion())
            }
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

/// Whether a certificate's time has come and is not over.
fn is_valid(certificate: &CertificateDer<'_>, now: UnixTime) -> bool {
    use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};
    let now = i64::try_from(now.as_secs()).ok();
    let now = now.and_then(|now| ASN1Time::from_timestamp(now).ok());
    let parsed = X509Certificate::from_der(certificate);
    now.zip(parsed.ok())
        .is_some_and(|(now, (_, certificate))| certificate.validity().is_valid_at(now))
}
