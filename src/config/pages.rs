//! The section `pages`: whose pages these are, as people see it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::reader::{Item, Reader};
use super::secret::shown_path;
use super::section::Section;
use super::{Logo, LogoKind, Pages};

const LONGEST_NAME: usize = 64;
const LARGEST_LOGO: usize = 256 * 1024;

/// What a PNG begins with, up to the name of its first chunk.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR";
const SVG_NAMESPACE: &str = "http://www.w3.org/2000/svg";

const REMEDY: &str = "give the path of an SVG or PNG file of at most 256 KiB";

/// Reads `pages`. For a value that was refused the default stands: the problem is told, and nothing is loaded.
pub(super) fn pages<'a>(root: &mut Section<'a>, reader: &mut Reader<'a>) -> Pages {
    let mut section = root.section("pages", reader);
    let name = section.take("name");
    let logo = section.take("logo_file");
    section.finish(reader);

    let name = name.and_then(|item| {
        let remedy = format!("write the name that people know you by, in at most {LONGEST_NAME} characters");
        reader.parsed(&item, &remedy, |text| match text.trim() {
            "" => Err("is empty"),
            text if text.chars().count() > LONGEST_NAME => Err("is too long"),
            text if text.contains(char::is_control) => Err("holds a line break or another control character"),
            text => Ok(text.to_owned()),
        })
    });
    Pages { name, logo: logo.and_then(|item| logo_of(&item, reader)) }
}

fn logo_of<'a>(item: &Item<'a>, reader: &mut Reader<'a>) -> Option<Logo> {
    let name = reader.text(item)?;
    let shown = shown_path(&name);
    match read(&reader.dir.join(&name)) {
        Ok(bytes) if bytes.len() > LARGEST_LOGO => {
            reader.problem(item, format!("{shown} is larger than 256 KiB"), "make the picture smaller");
        }
        Ok(bytes) => match kind(&bytes) {
            Ok(kind) => return Some(Logo { kind, bytes: bytes.into() }),
            Err((said, remedy)) => reader.problem(item, format!("{shown} {said}"), remedy),
        },
        Err(error) => reader.problem(item, format!("{shown} cannot be read ({})", error.kind()), REMEDY),
    }
    None
}

/// No more than shows that it is too much.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST_LOGO as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What the file is, by its content: a name says nothing. Else what is wrong, and the remedy.
fn kind(bytes: &[u8]) -> Result<LogoKind, (&'static str, &'static str)> {
    if bytes.starts_with(PNG) {
        return Ok(LogoKind::Png);
    }
    let neither = ("is neither an SVG in UTF-8 nor a PNG", REMEDY);
    let text = std::str::from_utf8(bytes).map_err(|_| neither)?;
    if !is_svg(text.trim_start_matches('\u{feff}')) {
        return Err(neither);
    }
    if !text.contains(SVG_NAMESPACE) {
        return Err((
            "names no namespace, and browsers would not show it",
            "write xmlns=\"http://www.w3.org/2000/svg\" in its svg element",
        ));
    }
    Ok(LogoKind::Svg)
}

/// Whether the first element is `svg`. What may stand before it is passed over.
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

/// What follows a document type, which may hold declarations in brackets.
fn after_doctype(text: &str) -> Option<&str> {
    let end = text.find(['[', '>'])?;
    let (open, after) = text[end..].split_at(1);
    if open == ">" { Some(after) } else { after.split_once(']')?.1.trim_start().strip_prefix('>') }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logo_is_known_by_its_content() {
        let svg = "<svg xmlns=\"http://www.w3.org/2000/svg\"/>";
        let entity = "<!DOCTYPE svg PUBLIC \"x\" \"y\" [ <!ENTITY ns \"http://www.w3.org/2000/svg\"> ]>";
        for text in [
            svg.to_owned(),
            format!("\u{feff}<?xml version=\"1.0\"?>\n<!-- <html> -->\n<!DOCTYPE svg>\n{svg}"),
            format!("{entity}<svg\nxmlns=\"&ns;\"></svg>"),
        ] {
            assert_eq!(kind(text.as_bytes()), Ok(LogoKind::Svg), "{text}");
        }
        let png = [PNG, b"\0\0\0\x01"].concat();
        assert_eq!(kind(&png), Ok(LogoKind::Png));
    }

    #[test]
    fn what_is_no_picture_is_none_whatever_it_begins_with() {
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
            assert!(kind(text.as_bytes()).is_err_and(|(said, _)| said.starts_with("is neither")), "{text:?}");
        }
        assert!(kind(&PNG[..12]).is_err(), "a PNG that was cut");
        assert!(kind(b"\xff\xd8\xff\xe0").is_err(), "a JPEG");
        assert!(kind(b"<svg/>").is_err_and(|(said, _)| said.contains("no namespace")), "no namespace");
    }
}
