//! `bench-peers`: wrong flags, and the whole of it where its environment is there already.

use std::path::Path;
use std::process::{Command, Output};

fn bench_peers(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("bench-peers")
        .args(args)
        .output()
        .expect("the binary runs")
}

/// Asserts that `args` is refused with a message that holds every one of `words`.
#[track_caller]
fn refused(args: &[&str], words: &[&str]) {
    let output = bench_peers(args);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {message}");
    for word in words {
        assert!(message.contains(word), "{args:?}: no '{word}' in: {message}");
    }
    assert!(output.stdout.is_empty(), "{args:?} printed to standard output");
}

#[test]
fn wrong_flags() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("UTF-8").to_owned();
    let new = path("new");
    refused(
        &["--python", "/nonexistent/python", "--environment", &new],
        &["--python is /nonexistent/python", "Python 3.10"],
    );
    assert!(!Path::new(&new).exists(), "something was made without Python");
    std::fs::write(path("thesis.tex"), "text").expect("a file");
    let occupied = directory.path().to_str().expect("UTF-8");
    refused(&["--environment", occupied], &[occupied, "other files", "environment"]);
    refused(&["--groups", "step,fft"], &["--groups", "fft", "spynet"]);
    refused(&["--torch", "latest"], &["--torch", "latest", "2.9.0"]);
    refused(&["--jax=--index-url"], &["--jax", "--index-url"]);
    refused(&["--threads", "0"], &["--threads"]);
    refused(&["--repeats", "0"], &["--repeats"]);
    refused(
        &["--quick", "--groups", "vgg", "512x512"],
        &["CASE is 512x512", "32x32"],
    );
}

/// What would be written where, is looked at before an environment is made; what was measured is told even if a peer ends.
#[test]
#[cfg(unix)]
fn what_was_measured_is_not_lost() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("UTF-8").to_owned();
    let (environment, table) = (path("new"), path("table.csv"));
    for (out, words) in [
        (path("none/table.csv"), ["--out is ", "a directory that exists"]),
        (path(""), ["--out is ", "not a directory"]),
        (path("table.md"), ["--out is ", "ends in .csv"]),
    ] {
        refused(
            &["--environment", &environment, "--python", "false", "--out", &out],
            &words,
        );
    }
    // Peers that have all packages and no formulations, and end at the first question.
    let python = path("new/bin/python");
    std::fs::create_dir_all(path("new/bin")).expect("a directory");
    let script = r#"#!/bin/sh
case "$1" in
    -c) for name in 3.12.0 1 1 1; do echo "$name"; done; exit ;;
    *torch*) library=torch ;;
    *) library=jax ;;
esac
printf '{"library": "%s", "version": "1", "threads": %s, "formulations": {}}\n' $library $2
read question
echo 'out of memory' >&2
"#;
    std::fs::write(&python, script).expect("a file");
    let made = Command::new("chmod").args(["+x", &python]).status();
    assert!(made.expect("chmod runs").success());
    let quick = "--quick --threads 1 --groups step,train,step --environment";
    let args: Vec<&str> = quick.split(' ').chain([&environment[..], "--out", &table]).collect();
    let output = bench_peers(&args);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    for word in ["measured 1 of 2 cases", "torch", "out of memory"] {
        assert!(message.contains(word), "no '{word}' in: {message}");
    }
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.contains("| 12x16/32x32/2, rate 0.5 |"), "{printed}");
    let rows = std::fs::read_to_string(&table).expect("the table");
    assert_eq!(rows.lines().count(), 2, "{rows}");
}

/// Nothing is downloaded for a test: only an environment that is there already is used.
#[test]
fn every_group_agrees_with_its_peers() {
    let environment = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers");
    if !environment.join("jax.log").exists() {
        println!("skipped: no run of `cargo xtask bench-peers` has left its environment in target/peers");
        return;
    }
    let output = bench_peers(&["--quick", "rate 0.5", "8 steps", "64x64", "5 layers"]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{message}");
    let table = String::from_utf8_lossy(&output.stdout);
    for line in [
        "### Steps",
        "### Forward and backward",
        "### SpyNet",
        "### VGG",
        "| 12x16/32x32/2, rate 0.5 |",
        "| 64x64 and back |",
    ] {
        assert!(table.contains(line), "no '{line}' in: {table}");
    }
}
