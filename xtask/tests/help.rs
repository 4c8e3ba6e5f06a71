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
