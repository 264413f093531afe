//! Certificates, made on the spot.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
};
use wire::security::{Identity, Secret, Tls};

/// A CA.
pub(crate) struct Ca {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
pub(crate) struct Certified {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Ca {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self {
            pem: params.self_signed(&key).unwrap().pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate for 127.0.0.1 with this common name.
    pub(crate) fn certify(&self, name: &str) -> Certified {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Acme");
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        Certified {
            certificate: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}

impl Certified {
    /// Key and certificate in one file, as Kafka wants it.
    pub(crate) fn store(&self, folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(name).with_extension("pem");
        fs::write(&path, format!("{}{}", self.key, self.certificate)).unwrap();
        path
    }
}

/// What a client trusts, and what it shows.
pub(crate) fn tls(trusted: &Ca, own: Option<&Certified>) -> Tls {
    let identity = own.map(|own| Identity {
        certificates: own.certificate.clone(),
        key: Secret::new(own.key.clone()),
        key_password: None,
    });
    Tls {
        trusted: Some(trusted.pem.clone()),
        identity,
        check_name: true,
    }
}
