//! Values as short printable text.

use uuid::Uuid;

const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A topic id as Kafka's tools show it: base64url without padding, 22 characters
/// (`org.apache.kafka.common.Uuid.toString`).
pub fn topic_id(id: Uuid) -> String {
    // 22 digits of 6 bits hold 132: the id is followed by four zero bits.
    let bits = id.as_u128();
    let digit = |n: u32| match n {
        21 => (bits << 4) & 63,
        n => (bits >> (122 - 6 * n)) & 63,
    };
    (0..22)
        .map(|n| char::from(BASE64URL[digit(n) as usize]))
        .collect()
}

/// The topic id that [`topic_id`] shows as `text`.
pub fn topic_id_from(text: &str) -> Option<Uuid> {
    let value = |c: u8| BASE64URL.iter().position(|known| *known == c);
    let (head, tail) = text.as_bytes().split_at_checked(21)?;
    let [last] = tail else { return None };
    let mut bits = 0u128;
    for c in head {
        bits = (bits << 6) | value(*c)? as u128;
    }
    let last = value(*last)?;
    (last & 15 == 0).then(|| Uuid::from_u128((bits << 2) | (last as u128 >> 4)))
}

/// `text` with every byte but letters, digits, `.`, `_`, `-` as `%XX`.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"._-".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// What [`escape`] made `text` of.
pub(super) fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

/// `number` in digits 0-9, a-z.
pub(super) fn base36(mut number: u64) -> String {
    let mut digits = Vec::new();
    loop {
        let digit = char::from_digit((number % 36) as u32, 36);
        digits.push(digit.expect("a remainder of 36 is a digit"));
        number /= 36;
        if number == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

/// The number that [`base36`] shows as `text`.
pub(super) fn from_base36(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 36).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs printed by `org.apache.kafka.common.Uuid` of Kafka 4.1.1.
    #[test]
    fn topic_ids_look_as_in_kafka() {
        for (number, text) in [
            (0, "AAAAAAAAAAAAAAAAAAAAAA"),
            (1, "AAAAAAAAAAAAAAAAAAAAAQ"),
            (u128::MAX, "_____________________w"),
            (
                0x0123_4567_89ab_cdef_fedc_ba98_7654_3210,
                "ASNFZ4mrze_-3LqYdlQyEA",
            ),
        ] {
            assert_eq!(topic_id(Uuid::from_u128(number)), text);
            assert_eq!(topic_id_from(text), Some(Uuid::from_u128(number)));
        }
        for wrong in [
            "",
            "AAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAB",
            "AAAAAAAAAAAAAAAAAAAAA=",
            "AAAAAAAAAAAAAAAAAAAAAAA",
            "ééééééééééé",
        ] {
            assert_eq!(topic_id_from(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_what_could_end_a_word_is_escaped() {
        assert_eq!(escape("lkc-0.x_Y"), "lkc-0.x_Y");
        assert_eq!(escape("a/b =é%"), "a%2Fb%20%3D%C3%A9%25");
        assert_eq!(unescape("a%2Fb%20%3D%C3%A9%25").unwrap(), "a/b =é%");
        for wrong in ["%", "%2", "%zz", "%FF"] {
            assert_eq!(unescape(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn base36_has_the_digits_of_every_language() {
        assert_eq!(base36(0), "0");
        assert_eq!(base36(35), "z");
        assert_eq!(base36(36), "10");
        assert_eq!(base36(i64::MAX.unsigned_abs()), "1y2p0ij32e8e7");
        assert_eq!(from_base36("1y2p0ij32e8e7"), Some(i64::MAX.unsigned_abs()));
        assert_eq!(from_base36(""), None);
    }
}
