//! The section `pages`: the name and logo on the pages.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use super::reader::Item;
use super::secret::display_path;
use super::section::Section;

/// `pages`: name and logo of the pages.
#[derive(Debug, Clone, Default)]
pub struct Pages {
    /// Replaces Entraway in the header and in titles; at most 64 characters.
    pub name: Option<String>,
    pub logo: Option<Logo>,
}

/// The operator's logo. `Debug` shows only its size.
#[derive(Clone)]
pub struct Logo {
    pub kind: LogoKind,
    pub bytes: Arc<[u8]>,
}

/// The image type of a logo, detected by content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogoKind {
    /// May contain scripts, so it must be served in a way that prevents them from running.
    Svg,
    Png,
}

impl fmt::Debug for Logo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logo").field("kind", &self.kind).field("bytes", &self.bytes.len()).finish()
    }
}

/// As the settings page shows it.
impl fmt::Display for Logo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            LogoKind::Svg => "SVG",
            LogoKind::Png => "PNG",
        };
        write!(f, "{kind}, {} bytes", self.bytes.len())
    }
}

const MAX_NAME_CHARS: usize = 64;
const MAX_LOGO_BYTES: usize = 256 * 1024;

/// The PNG signature and the header of the first chunk.
const PNG_PREFIX: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR";
const SVG_NAMESPACE: &str = "http://www.w3.org/2000/svg";

const HELP: &str = "Give the path of an SVG or PNG file of at most 256 KiB";

pub(super) fn pages(root: &mut Section) -> Pages {
    let mut section = root.section("pages");
    let pages = Pages { name: section.optional("name", name), logo: section.optional("logo_file", logo) };
    section.finish();
    pages
}

fn name(item: &Item) -> Option<String> {
    let help = format!("Write the name of your organization or service, in at most {MAX_NAME_CHARS} characters");
    item.parsed(&help, |text| match text.trim() {
        "" => Err("is empty"),
        text if text.chars().count() > MAX_NAME_CHARS => Err("is too long"),
        text if text.contains(char::is_control) => Err("contains a line break or another control character"),
        text => Ok(text.to_owned()),
    })
}

fn logo(item: &Item) -> Option<Logo> {
    let name = item.text()?;
    let (message, help) = match read(&item.resolve(&name)) {
        Ok(bytes) if bytes.len() > MAX_LOGO_BYTES => ("is larger than 256 KiB".to_owned(), "Use a smaller image"),
        Ok(bytes) => match kind(&bytes) {
            Ok(kind) => return Some(Logo { kind, bytes: bytes.into() }),
            Err((message, help)) => (message.to_owned(), help),
        },
        Err(error) => (format!("cannot be read ({})", error.kind()), HELP),
    };
    item.problem(format!("{} {message}", display_path(&name)), help);
    None
}

/// Reads at most one byte over the limit.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_LOGO_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The image type by content, or message and help.
fn kind(bytes: &[u8]) -> Result<LogoKind, (&'static str, &'static str)> {
    if bytes.starts_with(PNG_PREFIX) {
        return Ok(LogoKind::Png);
    }
    let neither = ("is neither an SVG in UTF-8 nor a PNG", HELP);
    let text = std::str::from_utf8(bytes).map_err(|_| neither)?;
    if !is_svg(text.trim_start_matches('\u{feff}')) {
        return Err(neither);
    }
    if !text.contains(SVG_NAMESPACE) {
        return Err((
            "has no SVG namespace, so browsers would not show it",
            "Add xmlns=\"http://www.w3.org/2000/svg\" to its svg element",
        ));
    }
    Ok(LogoKind::Svg)
}

/// Whether the first element is `svg`. Skips comments, processing instructions and the document type.
fn is_svg(text: &str) -> bool {
    let mut rest = text.trim_start();
    loop {
        let after = if let Some(comment) = rest.strip_prefix("<!--") {
            comment.split_once("-->").map(|(_, after)| after)
        } else if let Some(instruction) = rest.strip_prefix("<?") {
            instruction.split_once("?>").map(|(_, after)| after)
        } else if let Some(doctype) = rest.strip_prefix("<!DOCTYPE") {
            after_doctype(doctype)
        } else {
            let after = rest.strip_prefix("<svg");
            return after.is_some_and(|after| after.starts_with(|c: char| c.is_whitespace() || c == '>' || c == '/'));
        };
        let Some(after) = after else { return false };
        rest = after.trim_start();
    }
}

/// The text after a document type, which may contain declarations in brackets.
fn after_doctype(text: &str) -> Option<&str> {
    let end = text.find(['[', '>'])?;
    let (open, after) = text[end..].split_at(1);
    if open == ">" { Some(after) } else { after.split_once(']')?.1.trim_start().strip_prefix('>') }
}
