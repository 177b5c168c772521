//! Size and function of the container image: the output of `script/image-test`.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use tokio::process::Command;

pub(crate) async fn run() -> anyhow::Result<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("script/image-test");
    let output = Command::new(&script).stderr(Stdio::inherit()).output().await?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "script/image-test failed with {}:\n{said}", output.status);
    let size = |what: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(": "));
        line.with_context(|| format!("script/image-test does not print the size of {what}:\n{said}"))
    };
    Ok(format!(
        "Measured by `script/image-test`: the program without the demo, stripped, and the whole image. In a folder with only the image's\n\
         files, without write access and as user 65532, it migrated the tables, served, answered its health check and signed a user in.\n\n\
         | what | size |\n|---|---|\n| the program | {} |\n| the image | {} |\n",
        size("the program")?,
        size("the image")?
    ))
}
