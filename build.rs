//! Tells the binary what it was built from, for `exporter_build_info` and `--version`.

use std::process::Command;

fn main() {
    let output = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
    };
    let revision = std::env::var("REVISION").ok().or_else(|| output("git", &["rev-parse", "--short=12", "HEAD"]));
    println!("cargo::rustc-env=REVISION={}", revision.unwrap_or_else(|| "unknown".to_owned()));
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let version = output(&rustc, &["--version"]).unwrap_or_default();
    println!("cargo::rustc-env=RUST_VERSION={}", version.split(' ').nth(1).unwrap_or("unknown"));
    println!("cargo::rerun-if-env-changed=REVISION");
    println!("cargo::rerun-if-changed=.git/HEAD");
    println!("cargo::rerun-if-changed=.git/logs/HEAD");
}
