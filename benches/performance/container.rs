//! How large the image is, and whether it works: what `script/image-test` says.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use tokio::process::Command;

pub(crate) async fn run() -> anyhow::Result<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("script/image-test");
    let output = Command::new(&script).stderr(Stdio::inherit()).output().await?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "script/image-test ended with {}:\n{said}", output.status);
    let size = |what: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(": "));
        line.with_context(|| format!("script/image-test does not say how large {what} is:\n{said}"))
    };
    Ok(format!(
        "As `script/image-test` finds them: the program without the demo, stripped, and all that the image holds. In a folder with nothing\n\
         else, which it cannot write to, as user 65532, it brought tables up to date, served, answered its own health check and signed\n\
         somebody in.\n\n\
         | what | how large |\n|---|---|\n| the program | {} |\n| the image | {} |\n",
        size("the program")?,
        size("the image")?
    ))
}
