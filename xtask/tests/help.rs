//! The help says where a flag belongs.

use std::collections::BTreeMap;
use std::process::Command;

/// The flags below each heading.
fn headings(command: &str) -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args([command, "-h"])
        .output()
        .expect("the binary runs");
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).expect("UTF-8");
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut heading = String::new();
    for line in help.lines() {
        if let Some(name) = line.strip_suffix(':').filter(|name| !name.starts_with(' ')) {
            heading = name.to_owned();
        } else if let Some((_, flag)) = line.split_once("--").filter(|(before, _)| before.len() <= 6) {
            let flag = flag.split([' ', ',']).next().unwrap_or_default();
            found.entry(heading.clone()).or_default().push(flag.to_owned());
        }
    }
    found
}

#[test]
fn flags_are_below_their_headings() {
    for command in ["sweep", "train"] {
        let found = headings(command);
        let motion = &found["Motion as an objective (not with --flow classical)"];
        assert!(
            motion.len() == 5 && motion.iter().all(|flag| flag.starts_with("motion-")),
            "{motion:?}"
        );
        let has = |heading: &str, flag: &str| found[heading].iter().any(|found| found == flag);
        for flag in ["texture", "size", "seed", "out", "resume", "backend", "json"] {
            assert!(has("Options", flag), "{command}: {flag} in {found:?}");
        }
        for flag in ["iterations", "appearance", "vgg", "objective"] {
            assert!(has("Training", flag), "{command}: {flag} in {found:?}");
        }
        for flag in ["frames", "warmup", "measure-every"] {
            assert!(has("Measuring Ψ", flag), "{command}: {flag} in {found:?}");
        }
    }
}

/// What the presets stand for is in the long help, as the commands take it.
#[test]
fn defaults_are_told() {
    for (command, size, iterations) in [
        ("sweep", ["48", "128", "128"], "1200"),
        ("train", ["64", "128", "128"], "2000"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args([command, "--help"])
            .output()
            .expect("the binary runs");
        let help = String::from_utf8(output.stdout).expect("UTF-8");
        let (_, table) = help.split_once("Defaults:").expect("a table");
        let row = |flag: &str| -> Vec<&str> {
            let line = table.lines().find(|line| line.split_whitespace().next() == Some(flag));
            line.unwrap_or_default().split_whitespace().skip(1).collect()
        };
        assert_eq!(
            table.lines().nth(1).map(|line| line.split_whitespace().count()),
            Some(3),
            "{table}"
        );
        assert_eq!(row("--size"), size, "{table}");
        assert_eq!(row("--iterations")[0], iterations, "{table}");
        assert_eq!(row("--measure-every"), ["100", "500", "500"], "{table}");
        if command == "sweep" {
            assert_eq!(row("--channels"), ["6,8,12", "8..=128:8", "8..=128:8"], "{table}");
            assert_eq!(row("--hidden"), ["16,32,64", "16..=128:16", "16..=128:16"], "{table}");
            assert_eq!(row("--texture")[0], "chequered", "{table}");
            assert_eq!(row("--seeds"), ["1", "1", "1"], "{table}");
        }
    }
}
