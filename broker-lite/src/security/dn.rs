//! The subject of a certificate as text: RFC 2253, as Java's `X500Principal.getName` writes it, since that is the
//! name of a Kafka principal.

use x509_parser::{
    asn1_rs::{Any, Oid, Tag},
    certificate::X509Certificate,
    prelude::FromDer,
    x509::AttributeTypeAndValue,
};

/// Attribute types that RFC 2253 has names for; others are written by number.
const NAMES: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
];

/// The subject of a certificate; none if it is no certificate.
pub(crate) fn subject(certificate: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let mut parts = Vec::new();
    for relative in certificate.subject().iter() {
        let attributes: Vec<_> = relative.iter().map(attribute).collect();
        parts.push(attributes.join("+"));
    }
    // The most special comes first.
    parts.reverse();
    Some(parts.join(","))
}

/// `AVA.toRFC2253String`
fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let (kind, value) = (attribute.attr_type(), attribute.attr_value());
    match (name(kind), text(value)) {
        (Some(name), Some(text)) => format!("{name}={}", escape(&text)),
        (name, _) => {
            let kind = name.map_or_else(|| kind.to_id_string(), str::to_owned);
            format!("{kind}=#{}", hex(value))
        }
    }
}

fn name(kind: &Oid<'_>) -> Option<&'static str> {
    let kind = kind.to_id_string();
    let found = NAMES.iter().find(|(number, _)| *number == kind);
    found.map(|(_, name)| *name)
}

/// The value as text, if it is of a type that Java takes for text (`AVA.isDerString`).
fn text(value: &Any<'_>) -> Option<String> {
    let bytes = value.data;
    Some(match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::GeneralString => {
            String::from_utf8_lossy(bytes).into_owned()
        }
        Tag::T61String => bytes.iter().map(|byte| char::from(*byte)).collect(),
        Tag::BmpString => {
            let units = bytes
                .chunks_exact(2)
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            let units: Vec<u16> = units.collect();
            String::from_utf16_lossy(&units)
        }
        _ => return None,
    })
}

fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            ',' | '=' | '+' | '<' | '>' | '#' | ';' | '"' | '\\' => escaped.extend(['\\', c]),
            '\0' => escaped.push_str("\\00"),
            c => escaped.push(c),
        }
    }
    let is_space = |c: char| matches!(c, ' ' | '\r');
    let inner = escaped.trim_start_matches(is_space);
    let (lead, inner) = escaped.split_at(escaped.len() - inner.len());
    let (inner, trail) = inner.split_at(inner.trim_end_matches(is_space).len());
    let edge = |spaces: &str| {
        spaces.chars().fold(String::new(), |text, c| {
            text + "\\" + c.encode_utf8(&mut [0; 4])
        })
    };
    format!("{}{inner}{}", edge(lead), edge(trail))
}

/// The whole value with its tag and length.
fn hex(value: &Any<'_>) -> String {
    use x509_parser::asn1_rs::ToDer;
    let bytes = value.to_der_vec().unwrap_or_default();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CustomExtension, DnType, DnValue, KeyPair};

    use super::*;

    fn subject_of(parts: Vec<(DnType, DnValue)>) -> String {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.custom_extensions = Vec::<CustomExtension>::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind, value);
        }
        let key = KeyPair::generate().unwrap();
        subject(params.self_signed(&key).unwrap().der()).unwrap()
    }

    fn utf8(text: &str) -> DnValue {
        DnValue::Utf8String(text.to_owned())
    }

    /// The expected texts are what Java 17 said of the same names (`X500Principal.getName`).
    #[test]
    fn names_are_written_as_java_writes_them() {
        let usual = subject_of(vec![
            (
                DnType::CountryName,
                DnValue::PrintableString("CH".try_into().unwrap()),
            ),
            (DnType::OrganizationName, utf8("Acme, Inc.")),
            (DnType::OrganizationalUnitName, utf8("a+b=\"c\" <d>;#e\\")),
            (DnType::CommonName, utf8(" café ")),
        ]);
        assert_eq!(
            usual,
            "CN=\\ café\\ ,OU=a\\+b\\=\\\"c\\\" \\<d\\>\\;\\#e\\\\,O=Acme\\, Inc.,C=CH"
        );
        let rare = subject_of(vec![
            (
                DnType::CustomDnType(vec![0, 9, 2342, 19200300, 100, 1, 25]),
                utf8("example"),
            ),
            (DnType::CustomDnType(vec![2, 5, 4, 5]), utf8("42")),
            (
                DnType::CustomDnType(vec![1, 2, 840, 113549, 1, 9, 1]),
                DnValue::Ia5String("a@b".try_into().unwrap()),
            ),
        ]);
        assert_eq!(
            rare,
            "1.2.840.113549.1.9.1=#1603614062,2.5.4.5=#0c023432,DC=example"
        );
    }

    #[test]
    fn bytes_that_are_no_certificate_have_no_subject() {
        for bytes in [&b""[..], b"\x30\x82", &[0x30; 400]] {
            assert_eq!(subject(bytes), None);
        }
    }
}
