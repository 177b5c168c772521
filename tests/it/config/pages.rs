//! The section `pages`: the operator's name and logo.

use entraway::config::LogoKind;

use super::secrets::Folder;
use super::*;

const SVG: &str = include_str!("../../../assets/entraway.svg");

#[test]
fn pages_name_is_one_line_of_at_most_64_characters() {
    assert_eq!(good("").pages.name, None);
    assert_eq!(good("pages: {name: ' Contoso Ltd. '}").pages.name.as_deref(), Some("Contoso Ltd."));
    let longest = "ü".repeat(64);
    assert_eq!(good(&format!("pages: {{name: {longest}}}")).pages.name, Some(longest.clone()));
    for (name, said) in [
        (longest + "x", "is too long. Write the name of your organization or service, in at most 64 characters"),
        ("''".to_owned(), "is empty"),
        ("\"a\\nb\"".to_owned(), "contains a line break"),
        ("7".to_owned(), "must be text, not a number"),
    ] {
        assert_said(&format!("pages:\n  name: {name}\n"), &format!("config.yaml:2: pages.name: {said}"));
    }
}

#[test]
fn logo_is_read_next_to_config_and_typed_by_content() {
    let folder = Folder::new("logo");
    folder.write("logo.png", SVG);
    folder.write("logo.svg", b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x01");
    for (name, kind) in [("logo.png", LogoKind::Svg), ("logo.svg", LogoKind::Png)] {
        let config = folder.load(&format!("pages: {{logo_file: {name}}}"), &least()).unwrap().config;
        let logo = config.pages.logo.as_ref().expect("a logo");
        assert_eq!(logo.kind, kind, "{name}: the content counts, not the name");
        let debug = format!("{config:?}");
        assert!(debug.contains(&format!("bytes: {}", logo.bytes.len())), "{debug}");
        assert!(!debug.contains("<svg") && !debug.contains("137, 80, 78, 71"), "the bytes are shown: {debug}");
    }
}

#[test]
fn svg_may_have_a_prolog_and_a_document_type() {
    let folder = Folder::new("svg");
    let kind = |content: &str| {
        folder.write("logo", content);
        let loaded = folder.load("pages: {logo_file: logo}", &least());
        loaded.map(|loaded| loaded.config.pages.logo.unwrap().kind).map_err(|error| error.to_string())
    };
    let svg = "<svg xmlns=\"http://www.w3.org/2000/svg\"/>";
    let entity = "<!DOCTYPE svg PUBLIC \"x\" \"y\" [ <!ENTITY ns \"http://www.w3.org/2000/svg\"> ]>";
    for text in [
        svg.to_owned(),
        format!("\u{feff}<?xml version=\"1.0\"?>\n<!-- <html> -->\n<!DOCTYPE svg>\n{svg}"),
        format!("{entity}<svg\nxmlns=\"&ns;\"></svg>"),
    ] {
        assert_eq!(kind(&text), Ok(LogoKind::Svg), "{text}");
    }
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
        assert!(kind(text).is_err_and(|message| message.contains("is neither")), "{text:?}");
    }
}

#[test]
fn unusable_logo_is_rejected_with_key_and_fix() {
    let folder = Folder::new("bad-logo");
    let padding = "x".repeat(256 * 1024 - SVG.len() - 7);
    folder.write("fits.svg", format!("{SVG}<!--{padding}-->"));
    folder.write("large.svg", format!("{SVG}<!--{padding}x-->"));
    folder.write("page.svg", "<!doctype html><html></html>");
    folder.write("plain.svg", "<svg viewBox=\"0 0 1 1\"/>");
    folder.write("photo.jpg", b"\xff\xd8\xff\xe0");
    folder.load("pages: {logo_file: fits.svg}", &least()).unwrap_or_else(|error| panic!("256 KiB fit: {error}"));
    for (name, said) in [
        ("large.svg", "is larger than 256 KiB. Use a smaller image"),
        ("page.svg", "is neither an SVG in UTF-8 nor a PNG. Give the path of an SVG or PNG file"),
        ("photo.jpg", "is neither an SVG in UTF-8 nor a PNG. Give the path of an SVG or PNG file"),
        ("plain.svg", "has no SVG namespace, so browsers would not show it. Add xmlns="),
        ("nowhere.svg", "cannot be read (entity not found). Give the path of an SVG or PNG file"),
    ] {
        let error = folder.load(&format!("pages:\n  logo_file: {name}\n"), &least()).unwrap_err();
        let [problem] = &error.problems[..] else { panic!("one problem with {name}, not {error}") };
        assert_eq!((problem.path.as_str(), problem.line), ("pages.logo_file", Some(2)), "{name}");
        let begin = format!("pages.logo_file: \"{name}\" {said}");
        assert!(problem.to_string().starts_with(&begin), "{problem} does not begin with {begin}");
    }
}
