//! Asks another process for its status. HTTP/1.1, one request, no redirects, no TLS.

use std::time::Duration;

use host::{ByteStream, Host};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The longest answer that is taken, in bytes.
const MAX_ANSWER: u64 = 64 << 20;

/// From connect to the last byte.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why a process's status could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address is none.
    #[error("\"{0}\" is no address of a process; http://HOST:PORT is wanted")]
    Address(String),
    /// The process was not reached, or did not answer in time.
    #[error("{url}: {error}")]
    Unreachable {
        /// Address as given.
        url: String,
        /// What failed.
        error: std::io::Error,
    },
    /// It answered something else.
    #[error("{url} does not answer as strait does: {reason}")]
    Foreign {
        /// Address as given.
        url: String,
        /// What it answered.
        reason: String,
    },
}

/// `/v1/status` of the process at `url`, written `http://HOST:PORT`.
pub async fn status(host: &Host, url: &str) -> Result<Value, FetchError> {
    let (name, port) = address(url).ok_or_else(|| FetchError::Address(url.to_owned()))?;
    let unreachable = |error| FetchError::Unreachable {
        url: url.to_owned(),
        error,
    };
    let answer = tokio::select! {
        biased;
        answer = exchange(host, name, port) => answer.map_err(unreachable)?,
        () = host.clock.sleep(TIMEOUT) => {
            return Err(unreachable(std::io::ErrorKind::TimedOut.into()));
        }
    };
    body(&answer).map_err(|reason| FetchError::Foreign {
        url: url.to_owned(),
        reason,
    })
}

async fn exchange(host: &Host, name: &str, port: u16) -> std::io::Result<String> {
    let mut stream: Box<dyn ByteStream> = host.net.connect(name, port).await?;
    let request = format!("GET /v1/status HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer).await?;
    Ok(answer)
}

fn address(url: &str) -> Option<(&str, u16)> {
    let rest = url.strip_prefix("http://")?;
    let authority = rest.split('/').next()?;
    let (name, port) = authority.rsplit_once(':')?;
    let name = name.trim_start_matches('[').trim_end_matches(']');
    (!name.is_empty()).then_some((name, port.parse().ok()?))
}

fn body(answer: &str) -> Result<Value, String> {
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no HTTP")?;
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(status.to_owned());
    }
    serde_json::from_str(body).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(address("http://east:9465"), Some(("east", 9465)));
        assert_eq!(address("http://[::1]:9465/v1/status"), Some(("::1", 9465)));
        for url in [
            "east:9465",
            "https://east:9465",
            "http://east",
            "http://:1",
            "http://a:x",
        ] {
            assert_eq!(address(url), None, "{url}");
        }
    }

    #[test]
    fn only_a_good_answer_is_taken() {
        assert!(body("HTTP/1.1 200 OK\r\nA: b\r\n\r\n{}").is_ok());
        assert!(
            body("HTTP/1.1 404 Not Found\r\n\r\n{}")
                .unwrap_err()
                .contains("404")
        );
        assert!(body("HTTP/1.1 200 OK\r\n\r\n<html>").is_err());
        assert!(body("SSH-2.0").is_err());
    }
}
