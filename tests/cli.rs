//! The command as scripts see it: exit codes, what goes to which stream, and no secret anywhere.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

fn strait(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_strait"))
        .args(arguments)
        .env("STRAIT_TEST_SECRET", "hunter2")
        .env_remove("RUST_LOG")
        .output()
        .unwrap()
}

fn error(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A file in a folder that lives as long as the test.
fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("strait.toml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

/// A valid file whose clusters are at ports that nobody listens on.
fn unreachable_clusters(east: &str) -> String {
    // Free while they are held, and a moment after.
    let ports = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let [east_port, west_port] = ports.map(|port| port.local_addr().unwrap().port());
    format!(
        "[clusters.east]\nbootstrap.servers = \"127.0.0.1:{east_port}\"\n{east}\n\
         [clusters.west]\nbootstrap.servers = \"127.0.0.1:{west_port}\"\n\
         [[flows]]\nsource = \"east\"\ntarget = \"west\"\ntopics = [\"orders\"]\n"
    )
}

#[test]
fn bad_usage_ends_with_2() {
    for arguments in [
        &[][..],
        &["no-such-command"],
        &["check"],
        &["run"],
        &["status"],
        &["status", "--url", "localhost:9465"],
        &["check", "/no/such/file.toml"],
        &["checkpoint"],
        &["checkpoint", "set", "strait.toml", "--topic", "t"],
        &[
            "checkpoint",
            "set",
            "strait.toml",
            "--topic",
            "t",
            "--to",
            "soon",
        ],
        &["checkpoint", "reset", "strait.toml"],
        &["checkpoint", "list", "/no/such/file.toml"],
        &["check", "--log", "x=loud", "/no/such/file.toml"],
        &["import-mm2"],
        &["import-mm2", "/no/such/mm2.properties"],
        &["import-mm2", "Cargo.toml"],
    ] {
        assert_eq!(strait(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn help_is_no_failure() {
    for arguments in [&["--help"][..], &["check", "--help"], &["--version"]] {
        let output = strait(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(output.stderr.is_empty() && !output.stdout.is_empty());
    }
}

#[test]
fn a_bad_file_ends_with_2_and_names_the_line() {
    let (_folder, path) = file("[limits]\nmemmory = \"1GiB\"\n");
    let output = strait(&["check", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let error = error(&output);
    let wanted = format!("{}:2: limits.memmory: unknown key", path.display());
    assert!(
        error.contains(&wanted) && error.contains("\"memory\""),
        "{error}"
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn what_cannot_be_reached_is_not_ready() {
    let (_folder, path) = file(&unreachable_clusters(
        "security.protocol = \"SASL_PLAINTEXT\"\nsasl.mechanism = \"PLAIN\"\nsasl.username = \"ann\"\n\
         sasl.password = \"${STRAIT_TEST_SECRET}\"",
    ));
    let path = path.to_str().unwrap();
    let output = strait(&["check", "--json", "--log", "trace", path]);
    assert_eq!(output.status.code(), Some(4), "{}", error(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ready"], false);
    let problems = report["flows"][0]["problems"].as_array().unwrap();
    let codes: Vec<_> = problems.iter().map(|problem| &problem["code"]).collect();
    assert_eq!(codes, ["unreachable", "unreachable"]);
    assert!(
        problems[1]["message"]
            .as_str()
            .unwrap()
            .contains("cluster west")
    );
    let all = error(&output) + &String::from_utf8(output.stdout).unwrap();
    assert!(!all.contains("hunter2"), "{all}");

    let output = strait(&["status", path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        error(&output).contains("cluster east"),
        "{}",
        error(&output)
    );
}

#[test]
fn checkpoints_of_what_is_not_there_are_told_apart() {
    let (_folder, path) = file(&(unreachable_clusters("") + "[http]\nlisten = \"\"\n"));
    let path = path.to_str().unwrap();
    let set = ["checkpoint", "set", path, "--topic", "orders", "--to", "5"];
    let output = strait(&[&set[..], &["--flow", "other"]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(
        error(&output).contains("east-to-west"),
        "{}",
        error(&output)
    );
    let output = strait(&set);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        error(&output).contains("cluster east"),
        "{}",
        error(&output)
    );
    let output = strait(&[&set[..], &["--url", "http://127.0.0.1:1"]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(error(&output).contains("127.0.0.1:1"), "{}", error(&output));
}

#[test]
fn a_secret_shows_in_no_refusal() {
    for line in [
        "socket.timeout.ms = \"${STRAIT_TEST_SECRET}\"",
        "sasl.password = \"hunter2",
        "sasl.jaas.config = \"x required password=hunter2;\"",
        "sasl.pasword = \"hunter2\"",
    ] {
        let (_folder, path) = file(&unreachable_clusters(line));
        let output = strait(&["check", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(!error(&output).contains("hunter2"), "{}", error(&output));
    }
}

/// The TOML and nothing else goes to standard output, the report to standard error, and no file is lost.
#[test]
fn an_import_makes_a_file_that_loads() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (mm2, toml) = (path("mm2.properties"), path("strait.toml"));
    let write = |lines: &str| {
        let text = "clusters = A, B\nA.bootstrap.servers = 127.0.0.1:1\nB.bootstrap.servers = 127.0.0.1:2\nA->B.enabled = true\n\
                    A.security.protocol = SASL_PLAINTEXT\nA.sasl.mechanism = PLAIN\nA.sasl.jaas.config = \
                    x.PlainLoginModule required username=ann password=hunter2;\n";
        std::fs::write(&mm2, format!("{text}{lines}\n")).unwrap();
    };
    write("");
    let output = strait(&["import-mm2", &mm2]);
    assert_eq!(output.status.code(), Some(0), "{}", error(&output));
    let shown = error(&output);
    for part in [
        "renamed:",
        "sasl.password",
        "${A_SASL_PASSWORD}",
        "docs/COMING_FROM_MM2.md",
    ] {
        assert!(shown.contains(part), "{part} not in\n{shown}");
    }
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!(text.clone() + &shown).contains("hunter2"));

    let output = strait(&["import-mm2", &mm2, "--output", &toml]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0));
    assert_eq!(std::fs::read_to_string(&toml).unwrap(), text);
    let again = strait(&["import-mm2", &mm2, "--output", &toml]);
    assert_eq!(again.status.code(), Some(2));
    assert!(error(&again).contains("--force"), "{}", error(&again));
    assert_eq!(
        strait(&["import-mm2", &mm2, "--output", &toml, "--force"])
            .status
            .code(),
        Some(0)
    );
    // As far as it loads without its variable.
    assert!(error(&strait(&["check", &toml])).contains("A_SASL_PASSWORD is not set"));

    write("forwarding.admin.class = com.example.OurAdmin");
    let output = strait(&["import-mm2", &mm2, "--json"]);
    assert_eq!(output.status.code(), Some(4));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["report"]["keys"][7]["verdict"], "not_supported");
    assert!(json["toml"].as_str().unwrap().contains("[[flows]]"));

    write("topics = (?!x).*");
    let output = strait(&["import-mm2", &mm2, "--output", &path("other.toml")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(error(&output).contains("lookahead") && !folder.path().join("other.toml").exists());
}

/// The example of docs/COMING_FROM_MM2.md is what comes out.
#[test]
fn the_example_of_the_import_is_true() {
    let doc = include_str!("../docs/COMING_FROM_MM2.md");
    let block = |kind: &str| {
        let (_, after) = doc.split_once(&format!("```{kind}\n")).unwrap();
        after.split_once("```").unwrap().0
    };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mm2.properties"), block("properties")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_strait"))
        .args(["import-mm2", "mm2.properties"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(String::from_utf8_lossy(&output.stdout), block("toml"));
    assert_eq!(error(&output), block("text"));
}

/// Either side may be down at start: that is waited for, and a stop meanwhile is a clean one.
#[test]
fn a_stop_while_waiting_ends_with_0() {
    let text = unreachable_clusters("") + "[http]\nlisten = \"\"\n";
    let (_folder, path) = file(&text);
    let mut strait = Command::new(env!("CARGO_BIN_EXE_strait"))
        .args(["run", "--log-format", "json", path.to_str().unwrap()])
        .env_remove("RUST_LOG")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(strait.stderr.take().unwrap()).lines();
    let waits = lines.find(|line| line.as_ref().unwrap().contains("Connection refused"));
    let line: serde_json::Value = serde_json::from_str(&waits.unwrap().unwrap()).unwrap();
    assert!(line["level"] == "WARN", "{line}");
    let kill = Command::new("kill").arg(strait.id().to_string()).status();
    assert!(kill.unwrap().success());
    let rest: Vec<_> = lines.map_while(Result::ok).collect();
    assert_eq!(strait.wait().unwrap().code(), Some(0), "{rest:?}");
}

#[test]
fn an_import_says_how_to_take_over_and_does_not_before_its_variables_are_set() {
    let folder = tempfile::tempdir().unwrap();
    let (mirror, output) = (
        folder.path().join("mm2.properties"),
        folder.path().join("strait.toml"),
    );
    let (mirror, output) = (mirror.to_str().unwrap(), output.to_str().unwrap());
    let text = "clusters = A+b, B\nA+b.bootstrap.servers = a:1\nA+b.ssl.truststore.password = x\nA+b.security.protocol = SASL_PLAINTEXT\n\
                A+b.sasl.mechanism = PLAIN\n\
                A+b.sasl.jaas.config = x.PlainLoginModule required username=\"u\" password=\"hunter2\";\n\
                B.bootstrap.servers = b:1\nA+b->B.enabled = true\nA+b->B.topics = t\n";
    std::fs::write(mirror, text).unwrap();
    let command = format!("strait checkpoint takeover {output} --source-alias 'A+b'\n");
    let import = strait(&["import-mm2", mirror, "--output", output]);
    assert!(error(&import).contains(&command), "{}", error(&import));
    let import = strait(&[
        "import-mm2",
        mirror,
        "--output",
        output,
        "--force",
        "--takeover",
    ]);
    assert_eq!(import.status.code(), Some(4));
    let told = error(&import);
    assert!(
        told.contains("nothing was taken over yet: set A_B_SASL_PASSWORD first"),
        "{told}"
    );
    assert!(
        told.contains(&command) && !told.contains("hunter2"),
        "{told}"
    );
    // There is no file to go by.
    let import = strait(&["import-mm2", mirror, "--takeover"]);
    assert_eq!(import.status.code(), Some(2));
}
