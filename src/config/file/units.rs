//! Texts with units. Errors are reasons: they say what is wanted and never quote the text.

use std::time::Duration;

use bytesize::ByteSize;

/// A time span with its unit: "5s", "500ms", "1m 30s".
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| "a duration with its unit is wanted, for example \"5s\" or \"500ms\"".into())
}

/// Bytes: "64MiB", "10 MB", or a plain number.
pub(super) fn size(text: &str) -> Result<u64, String> {
    text.parse::<ByteSize>()
        .map(|size| size.as_u64())
        .map_err(|_| "a size is wanted, for example \"64MiB\" or \"10MB\"".into())
}

/// A point in time by RFC 3339, in milliseconds since 1970.
pub(super) fn time_ms(text: &str) -> Option<i64> {
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(time.as_millisecond())
}

/// Yes or no.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("true or false is wanted".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        for text in ["5", "", "-1s", "s", "99999999999999999999y"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_tell_powers_of_two_from_powers_of_ten() {
        assert_eq!(size("64MiB"), Ok(64 * 1024 * 1024));
        assert_eq!(size("10 MB"), Ok(10_000_000));
        assert_eq!(size("0"), Ok(0));
        for text in ["", "-1", "1e3", "64 Mio", "5s"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(time_ms("1970-01-01T00:00:01.5Z"), Some(1500));
        assert_eq!(time_ms("1970-01-01T01:00:00+01:00"), Some(0));
        assert_eq!(time_ms("1970-01-01T00:00:00"), None);
        assert_eq!(time_ms("yesterday"), None);
    }
}
