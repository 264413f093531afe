//! Certificates and keys out of PEM.

use pkcs8::{EncryptedPrivateKeyInfoRef, der::Document};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject},
};

/// All certificates in `pem`, at least one. `what` names it in a reason.
///
/// # Errors
/// A reason, which shows nothing of the text.
pub fn certificates(pem: &str, what: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    // The parser's errors quote lines.
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(format!(
            "{what}: no certificate in PEM (\"-----BEGIN CERTIFICATE-----\") is there"
        )),
    }
}

/// The certificates in `pem`, which are trusted: as the ends of chains, and as they are.
///
/// # Errors
/// As [`certificates`]; or if one of them cannot end a chain.
pub fn trusted(
    pem: &str,
    what: &str,
) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), String> {
    let pinned = certificates(pem, what)?;
    let mut roots = RootCertStore::empty();
    for certificate in &pinned {
        let added = roots.add(certificate.clone());
        added.map_err(|error| format!("{what}: {error}"))?;
    }
    Ok((roots, pinned))
}

const ENCRYPTED: [&str; 2] = [
    "-----BEGIN ENCRYPTED PRIVATE KEY-----",
    "-----END ENCRYPTED PRIVATE KEY-----",
];

/// The private key in `pem`: PKCS#8, encrypted or not, PKCS#1 or SEC1. `what` names it in a reason.
///
/// # Errors
/// A reason, which shows nothing of the text.
pub fn private_key(
    pem: &str,
    password: Option<&str>,
    what: &str,
) -> Result<PrivateKeyDer<'static>, String> {
    if let Some(begin) = pem.find(ENCRYPTED[0]) {
        let end = pem[begin..].find(ENCRYPTED[1]);
        let end = end.ok_or_else(|| format!("{what}: its PEM has no end"))?;
        let section = &pem[begin..begin + end + ENCRYPTED[1].len()];
        return decrypt(section, password, what);
    }
    if pem.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(format!(
            "{what} is encrypted in OpenSSL's old form; convert it: \
             `openssl pkcs8 -topk8 -in KEY.pem -out KEY.pk8.pem`"
        ));
    }
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| {
        format!("{what}: no private key in PEM (\"-----BEGIN PRIVATE KEY-----\") is there")
    })
}

fn decrypt(
    pem: &str,
    password: Option<&str>,
    what: &str,
) -> Result<PrivateKeyDer<'static>, String> {
    let password = password.ok_or_else(|| format!("{what} is encrypted: set ssl.key.password"))?;
    let (_, document) = Document::from_pem(pem).map_err(|_| format!("{what} is damaged"))?;
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())
        .map_err(|_| format!("{what} is encrypted in a way that is not understood"))?;
    let plain = encrypted
        .decrypt(password)
        .map_err(|_| format!("{what} cannot be decrypted: check ssl.key.password"))?;
    Ok(PrivatePkcs8KeyDer::from(plain.as_bytes().to_vec()).into())
}
