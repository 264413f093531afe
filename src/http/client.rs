//! Asks another process for its status, or to change checkpoints. HTTP/1.1, one request, no redirects, no TLS.

use std::{fmt, str::FromStr, time::Duration};

use host::{ByteStream, Host};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    flow::adjust::{AdjustError, Changes, Request},
    status::Report,
};

/// The longest answer that is taken, in bytes.
const MAX_ANSWER: u64 = 64 << 20;

/// From connect to the last byte.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where a process answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
}

/// The text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("http://HOST:PORT is wanted")]
pub struct NoAddress;

impl FromStr for Address {
    type Err = NoAddress;

    /// `http://HOST:PORT`; a path behind it is ignored.
    fn from_str(url: &str) -> Result<Self, NoAddress> {
        let rest = url.strip_prefix("http://").ok_or(NoAddress)?;
        let authority = rest.split('/').next().ok_or(NoAddress)?;
        let (host, port) = authority.rsplit_once(':').ok_or(NoAddress)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        match port.parse() {
            Ok(port) if !host.is_empty() => Ok(Self {
                host: host.to_owned(),
                port,
            }),
            _ => Err(NoAddress),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Why a process's status could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The process was not reached, or did not answer in time.
    #[error("{address}: {error}")]
    Unreachable {
        /// Where it was sought.
        address: Address,
        /// What failed.
        error: std::io::Error,
    },
    /// It answered something else.
    #[error("{address} does not answer as strait does: {reason}")]
    Foreign {
        /// Where it was sought.
        address: Address,
        /// What it answered.
        reason: String,
    },
}

/// `/v1/status` of the process at `address`.
///
/// # Errors
/// If it is not reached in time, or something else answers.
pub async fn status(host: &Host, address: &Address) -> Result<Report, FetchError> {
    let text = get(host, address, "/v1/status").await?;
    serde_json::from_str(&text).map_err(|error| FetchError::Foreign {
        address: address.clone(),
        reason: error.to_string(),
    })
}

/// `/metrics` of the process at `address`, as Prometheus reads it.
///
/// # Errors
/// If it is not reached in time, or something else answers.
pub async fn metrics(host: &Host, address: &Address) -> Result<String, FetchError> {
    get(host, address, "/metrics").await
}

/// Asks the process at `address` to change checkpoints.
///
/// # Errors
/// If it is not reached in time, something else answers, or, within, as the process says.
pub async fn adjust(
    host: &Host,
    address: &Address,
    request: &Request,
) -> Result<Result<Changes, AdjustError>, FetchError> {
    let foreign = |reason: String| FetchError::Foreign {
        address: address.clone(),
        reason,
    };
    let body = serde_json::to_string(request).map_err(|error| foreign(error.to_string()))?;
    let length = body.len();
    let text = format!(
        "POST /v1/checkpoint HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    let answer = ask(host, address, &text).await?;
    let (code, body) = split(&answer).map_err(foreign)?;
    let outcome = match code {
        200 => serde_json::from_str(body).map(Ok),
        404 | 409 | 503 => serde_json::from_str(body).map(Err),
        _ => return Err(foreign(format!("{code}: {}", body.trim()))),
    };
    outcome.map_err(|error| foreign(format!("{code}: {error}")))
}

async fn get(host: &Host, address: &Address, path: &str) -> Result<String, FetchError> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let answer = ask(host, address, &request).await?;
    body(&answer).map_err(|reason| FetchError::Foreign {
        address: address.clone(),
        reason,
    })
}

async fn ask(host: &Host, address: &Address, request: &str) -> Result<String, FetchError> {
    let unreachable = |error| FetchError::Unreachable {
        address: address.clone(),
        error,
    };
    tokio::select! {
        biased;
        answer = exchange(host, address, request) => answer.map_err(unreachable),
        () = host.clock.sleep(TIMEOUT) => Err(unreachable(std::io::ErrorKind::TimedOut.into())),
    }
}

async fn exchange(host: &Host, address: &Address, request: &str) -> std::io::Result<String> {
    let mut stream: Box<dyn ByteStream> = host.net.connect(&address.host, address.port).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer).await?;
    Ok(answer)
}

fn body(answer: &str) -> Result<String, String> {
    match split(answer)? {
        (200, body) => Ok(body.to_owned()),
        _ => Err(answer.lines().next().unwrap_or_default().to_owned()),
    }
}

/// The code and the body.
fn split(answer: &str) -> Result<(u16, &str), String> {
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no HTTP")?;
    let status = head.lines().next().unwrap_or_default();
    let code = status.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((code.ok_or(status)?, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let address = |host: &str, port| {
            Ok(Address {
                host: host.to_owned(),
                port,
            })
        };
        assert_eq!("http://east:9465".parse(), address("east", 9465));
        assert_eq!("http://[::1]:9465/v1/status".parse(), address("::1", 9465));
        for url in [
            "east:9465",
            "https://east:9465",
            "http://east",
            "http://:1",
            "http://a:x",
        ] {
            assert_eq!(url.parse::<Address>(), Err(NoAddress), "{url}");
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
        assert!(body("SSH-2.0").is_err());
    }
}
