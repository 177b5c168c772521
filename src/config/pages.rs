//! The section `pages`: the name and logo on the pages.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::reader::{Item, Reader};
use super::secret::display_path;
use super::section::Section;
use super::{Logo, LogoKind, Pages};

const MAX_NAME_CHARS: usize = 64;
const MAX_LOGO_BYTES: usize = 256 * 1024;

/// The PNG signature and the header of the first chunk.
const PNG_PREFIX: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR";
const SVG_NAMESPACE: &str = "http://www.w3.org/2000/svg";

const HELP: &str = "Give the path of an SVG or PNG file of at most 256 KiB";

/// Reads `pages`. An invalid value is a problem, so the default returned for it is never used.
pub(super) fn pages<'a>(root: &mut Section<'a>, reader: &mut Reader<'a>) -> Pages {
    let mut section = root.section("pages", reader);
    let name = section.take("name");
    let logo = section.take("logo_file");
    section.finish(reader);

    let name = name.and_then(|item| {
        let help = format!("Write the name of your organization or service, in at most {MAX_NAME_CHARS} characters");
        reader.parsed(&item, &help, |text| match text.trim() {
            "" => Err("is empty"),
            text if text.chars().count() > MAX_NAME_CHARS => Err("is too long"),
            text if text.contains(char::is_control) => Err("contains a line break or another control character"),
            text => Ok(text.to_owned()),
        })
    });
    Pages { name, logo: logo.and_then(|item| read_logo(&item, reader)) }
}

fn read_logo<'a>(item: &Item<'a>, reader: &mut Reader<'a>) -> Option<Logo> {
    let name = reader.text(item)?;
    let shown = display_path(&name);
    match read(&reader.dir.join(&name)) {
        Ok(bytes) if bytes.len() > MAX_LOGO_BYTES => {
            reader.problem(item, format!("{shown} is larger than 256 KiB"), "Use a smaller image");
        }
        Ok(bytes) => match kind(&bytes) {
            Ok(kind) => return Some(Logo { kind, bytes: bytes.into() }),
            Err((message, help)) => reader.problem(item, format!("{shown} {message}"), help),
        },
        Err(error) => reader.problem(item, format!("{shown} cannot be read ({})", error.kind()), HELP),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_is_detected_by_content() {
        let svg = "<svg xmlns=\"http://www.w3.org/2000/svg\"/>";
        let entity = "<!DOCTYPE svg PUBLIC \"x\" \"y\" [ <!ENTITY ns \"http://www.w3.org/2000/svg\"> ]>";
        for text in [
            svg.to_owned(),
            format!("\u{feff}<?xml version=\"1.0\"?>\n<!-- <html> -->\n<!DOCTYPE svg>\n{svg}"),
            format!("{entity}<svg\nxmlns=\"&ns;\"></svg>"),
        ] {
            assert_eq!(kind(text.as_bytes()), Ok(LogoKind::Svg), "{text}");
        }
        let png = [PNG_PREFIX, b"\0\0\0\x01"].concat();
        assert_eq!(kind(&png), Ok(LogoKind::Png));
    }

    #[test]
    fn kind_rejects_other_content() {
        for text in [
            "",
            "<",
            "<html><svg xmlns=\"http://www.w3.org/2000/svg\"/></html>",
            "<svgx xmlns=\"http://www.w3.org/2000/svg\"/>",
            "<!-- <svg xmlns=\"http://www.w3.org/2000/svg\"/>",
            "<!DOCTYPE svg [ <svg xmlns=\"http://www.w3.org/2000/svg\"/>",
            "<?xml",
            "\u{89}PNG\r\n\u{1a}\n",
        ] {
            assert!(kind(text.as_bytes()).is_err_and(|(message, _)| message.starts_with("is neither")), "{text:?}");
        }
        assert!(kind(&PNG_PREFIX[..12]).is_err(), "a truncated PNG");
        assert!(kind(b"\xff\xd8\xff\xe0").is_err(), "a JPEG");
        assert!(kind(b"<svg/>").is_err_and(|(message, _)| message.contains("no SVG namespace")));
    }
}
