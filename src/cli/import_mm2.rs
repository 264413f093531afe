//! `strait import-mm2`.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use host::Host;
use strait::{
    config::{Config, Sources},
    flow::{
        adjust::AdjustError,
        handover::{
            MirrorMaker,
            takeover::{Request, Takeover},
        },
    },
    mm2::import::{self, Format, Import, ImportError, Input, Report, Verdict},
};

use super::{
    Outcome, print, print_json,
    table::{counted, lines},
    takeover,
};

/// Longest file that is read, in bytes.
const MAX_FILE: u64 = 4 << 20;

/// Make a strait.toml of MirrorMaker 2's configuration, and say what became of each key
///
/// Reads what MirrorMaker 2 was told: mm2.properties; or the connectors on Kafka Connect, as JSON (as they were posted, one or
/// several in a file, or what GET /connectors?expand=info answers); or Strimzi's KafkaMirrorMaker2, as YAML or JSON (v1beta2
/// and v1). Writes one TOML for all flows that are on, to standard output or --output, and the report to standard
/// error. Nothing is connected to, and nothing of MirrorMaker 2's is changed; with --takeover the target is, once the file is
/// written and if all its variables are set.
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
  kubectl get kafkamirrormaker2 my-mirror -o yaml > mirror.yaml; strait import-mm2 mirror.yaml --output strait.toml
  strait import-mm2 mm2.properties --output strait.toml --takeover    MirrorMaker 2 is stopped: go on where it was")]
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

    /// Print one JSON object to standard output: {"toml": ..., "report": ..., "takeover": ...}.
    #[arg(long)]
    json: bool,

    /// And go on where MirrorMaker 2 stopped: what `strait checkpoint takeover` does, with the file of --output.
    #[arg(long, requires = "output")]
    takeover: bool,

    /// Kafka Connect's offset.storage.topic, where the files do not say it.
    #[arg(long, value_name = "TOPIC", requires = "takeover")]
    offsets_topic: Option<String>,

    /// Kafka Connect's group.id, where the files do not say it.
    #[arg(long, value_name = "GROUP", requires = "takeover")]
    group: Option<String>,

    /// The connectors are stopped, though the group has members: other connectors run on the same Kafka Connect.
    #[arg(long, requires = "takeover")]
    stopped: bool,
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

pub(super) async fn run(host: &Host, arguments: Arguments) -> anyhow::Result<Outcome> {
    let inputs: Result<Vec<_>, _> = arguments.files.iter().map(|path| read(path)).collect();
    let format = arguments.format.map(|written| match written {
        Written::Properties => Format::Properties,
        Written::Connect => Format::Connect,
        Written::Strimzi => Format::Strimzi,
    });
    let Import { toml, report } = import::import(&inputs?, format)?;
    if !arguments.json {
        eprint!(
            "{}{}",
            text(&report),
            next(&report, arguments.output.as_deref())
        );
    }
    let written = match (&toml, &arguments.output) {
        (None, _) => {
            let refused = counted(report.of(Verdict::Refused).count(), "key");
            Err(Refused::Keys(refused).into())
        }
        (Some(toml), Some(path)) => write(path, toml, arguments.force),
        (Some(toml), None) if !arguments.json => Ok(print(toml)?),
        (Some(_), None) => Ok(()),
    };
    let taken = match (&written, &arguments.output) {
        (Ok(()), Some(path)) if arguments.takeover => {
            Some(take_over(host, path, &report, &arguments).await)
        }
        _ => None,
    };
    let taken = taken.transpose();
    if arguments.json {
        let taken = taken.as_ref().ok().and_then(Option::as_ref);
        print_json(&serde_json::json!({"toml": toml, "report": report, "takeover": taken}))?;
    } else {
        for one in taken.iter().flatten().flatten() {
            print(&takeover::text(one))?;
        }
    }
    written?;
    let whole = taken?.is_none_or(|taken| taken.iter().all(Takeover::is_complete));
    Ok(match report.is_complete() && whole {
        true => Outcome::Done,
        false => Outcome::Different,
    })
}

/// Takes all flows over.
async fn take_over(
    host: &Host,
    path: &Path,
    report: &Report,
    arguments: &Arguments,
) -> anyhow::Result<Vec<Takeover>> {
    let unset = report.fill.iter().map(|fill| fill.variable.as_str());
    let unset: Vec<_> = unset.filter(|name| env::var_os(name).is_none()).collect();
    let refused = |why: String| anyhow::Error::from(AdjustError::Refused(why));
    if !unset.is_empty() {
        return Err(refused(format!(
            "nothing was taken over yet: set {} first, then\n{}",
            unset.join(", "),
            commands(report, path)
        )));
    }
    let config = Config::load(path, &Sources::process())?;
    let mut all = Vec::new();
    for one in &report.positions {
        let topic = one
            .offsets_topic
            .as_ref()
            .or(arguments.offsets_topic.as_ref());
        let group = one.group.as_ref().or(arguments.group.as_ref());
        let (Some(topic), Some(group)) = (topic, group) else {
            return Err(refused(format!(
                "nothing was taken over of flow {}: --offsets-topic and --group are wanted, Kafka Connect's offset.storage.topic and \
                 group.id, which connectors' configurations do not say",
                one.flow
            )));
        };
        let flow = config.flows.iter().find(|flow| flow.name == one.flow);
        let request = Request {
            mirror: MirrorMaker {
                source: one.source_alias.clone(),
                offsets_topic: topic.clone(),
                group: group.clone(),
                connector: one.connector.clone(),
                stopped: arguments.stopped,
            },
            force: false,
            dry_run: false,
        };
        let flow = flow.expect("the file has all flows of the report");
        all.push(takeover::take(host, &config, flow, &request).await?);
    }
    Ok(all)
}

/// What to do once MirrorMaker 2 is stopped.
fn next(report: &Report, output: Option<&Path>) -> String {
    let path = output.unwrap_or(Path::new("strait.toml"));
    format!(
        "to go on where MirrorMaker 2 stopped, once it is stopped (--dry-run shows what would be done):\n{}",
        commands(report, path)
    )
}

fn commands(report: &Report, path: &Path) -> String {
    let several = report.positions.len() > 1;
    let commands = report.positions.iter().map(|one| {
        let usual = MirrorMaker::dedicated(&one.source_alias);
        let mut command = format!("  strait checkpoint takeover {}", path.display());
        let mut add = |option: &str, value: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            command += &match value.chars().all(plain) {
                true => format!(" {option} {value}"),
                false => format!(" {option} '{}'", value.replace('\'', "'\\''")),
            };
        };
        if several {
            add("--flow", &one.flow);
        }
        if one.source != one.source_alias {
            add("--source-alias", &one.source_alias);
        }
        if one.offsets_topic != Some(usual.offsets_topic)
            || one.group.as_ref() != Some(&usual.group)
        {
            add(
                "--offsets-topic",
                one.offsets_topic
                    .as_deref()
                    .unwrap_or("OFFSET_STORAGE_TOPIC"),
            );
            add("--group", one.group.as_deref().unwrap_or("GROUP_ID"));
        }
        if let Some(connector) = &one.connector {
            add("--connector", connector);
        }
        command + "\n"
    });
    commands.collect()
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
