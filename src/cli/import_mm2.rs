//! `strait import-mm2`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use host::Host;
use strait::mm2::import::{self, Format, Import, ImportError, Input, Report, Verdict};

use super::{
    Outcome, print, print_json,
    table::{counted, lines},
};

/// Longest file that is read, in bytes.
const MAX_FILE: u64 = 4 << 20;

/// Make a strait.toml of MirrorMaker 2's configuration, and say what became of each key
///
/// Reads what MirrorMaker 2 was told: mm2.properties; or the connectors on Kafka Connect, as JSON (as they were posted, one or
/// several in a file, or what GET /connectors?expand=info answers); or Strimzi's KafkaMirrorMaker2, as YAML or JSON (v1beta2
/// and v1). Writes one TOML for all flows that are on, to standard output or --output, and the report to standard
/// error. Nothing is connected to, and nothing of MirrorMaker 2's is changed.
///
/// Every key is told of: taken (same name), renamed, not needed (and why), not supported (and what to do
/// instead). Secrets are not written: the TOML has ${VARIABLES}, which the report lists. What would copy other topics
/// or to other names, as patterns that only Java has, is refused.
///
/// Ends with 0 if strait does all that was asked for; 4 if some key is not supported (the TOML was made); 2 if the files
/// cannot be read or something was refused (none was made). docs/COMING_FROM_MM2.md has an example and what comes next.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  strait import-mm2 mm2.properties > strait.toml
  curl -s connect:8083/connectors?expand=info > connectors.json; strait import-mm2 connectors.json --output strait.toml
  kubectl get kafkamirrormaker2 my-mirror -o yaml > mirror.yaml; strait import-mm2 mirror.yaml --output strait.toml")]
pub(super) struct Arguments {
    /// MirrorMaker 2's configuration; several files of connectors may be given.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Where the TOML goes, instead of standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Overwrite the file of --output.
    #[arg(long, requires = "output")]
    force: bool,

    /// What the files are, instead of what they look like.
    #[arg(long, value_enum)]
    format: Option<Written>,

    /// Print one JSON object to standard output: {"toml": ..., "report": ...}.
    #[arg(long)]
    json: bool,
}

/// The forms of MirrorMaker 2's configuration.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Written {
    /// mm2.properties, of MirrorMaker 2 on its own.
    Properties,
    /// JSON of the connectors on Kafka Connect.
    Connect,
    /// Strimzi's KafkaMirrorMaker2.
    Strimzi,
}

/// No TOML was made, or it was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("no TOML was made: {0} refused, see above")]
    Keys(String),
    #[error("{0} exists; --force overwrites it")]
    Exists(String),
}

pub(super) async fn run(_host: &Host, arguments: Arguments) -> anyhow::Result<Outcome> {
    let inputs: Result<Vec<_>, _> = arguments.files.iter().map(|path| read(path)).collect();
    let format = arguments.format.map(|written| match written {
        Written::Properties => Format::Properties,
        Written::Connect => Format::Connect,
        Written::Strimzi => Format::Strimzi,
    });
    let Import { toml, report } = import::import(&inputs?, format)?;
    if arguments.json {
        print_json(&serde_json::json!({"toml": toml, "report": report}))?;
    } else {
        eprint!("{}", text(&report));
    }
    let Some(toml) = toml else {
        let refused = counted(report.of(Verdict::Refused).count(), "key");
        return Err(Refused::Keys(refused).into());
    };
    match &arguments.output {
        Some(path) => write(path, &toml, arguments.force)?,
        None if !arguments.json => print(&toml)?,
        None => {}
    }
    Ok(match report.is_complete() {
        true => Outcome::Done,
        false => Outcome::Different,
    })
}

fn read(path: &Path) -> Result<Input, ImportError> {
    let name = path.display().to_string();
    let bytes = File::open(path).and_then(|file| {
        let mut bytes = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(io::Error::other(format!("longer than {MAX_FILE} bytes")));
        }
        Ok(bytes)
    });
    match bytes {
        Ok(bytes) => Ok(Input { name, bytes }),
        Err(error) => Err(ImportError::Unreadable {
            file: name,
            reason: error.to_string(),
        }),
    }
}

fn write(path: &Path, toml: &str, force: bool) -> anyhow::Result<()> {
    let shown = path.display();
    if force {
        return fs::write(path, toml).with_context(|| format!("write {shown}"));
    }
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = match file {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(Refused::Exists(shown.to_string()).into());
        }
        other => other.with_context(|| format!("create {shown}"))?,
    };
    file.write_all(toml.as_bytes())
        .with_context(|| format!("write {shown}"))
}

/// The titles of the report, in its order.
const TITLES: [(Verdict, &str); 5] = [
    (Verdict::Refused, "refused"),
    (Verdict::NotSupported, "not supported"),
    (Verdict::Renamed, "renamed"),
    (Verdict::Taken, "taken"),
    (Verdict::NotNeeded, "not needed"),
];

fn text(report: &Report) -> String {
    let several = report
        .keys
        .iter()
        .any(|line| line.file != report.keys[0].file);
    let mut text = String::new();
    for (verdict, title) in TITLES {
        let rows: Vec<_> = report
            .of(verdict)
            .map(|line| {
                let key = match several {
                    true => format!("{}: {}", line.file, line.key),
                    false => line.key.clone(),
                };
                vec![key, line.text.clone()]
            })
            .collect();
        if !rows.is_empty() {
            text.push_str(&format!("{title}:\n{}\n", lines(&rows)));
        }
    }
    if !report.fill.is_empty() {
        let rows = report.fill.iter();
        let rows: Vec<_> = rows
            .map(|fill| vec![format!("${{{}}}", fill.variable), fill.what.clone()])
            .collect();
        text.push_str(&format!(
            "to set before strait runs, or to replace by ${{file:PATH}}:\n{}\n",
            lines(&rows)
        ));
    }
    text.push_str("to know:\n");
    for note in &report.notes {
        text.push_str(&format!("  - {note}\n"));
    }
    text
}
