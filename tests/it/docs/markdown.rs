//! The documents and their parts.

use std::fs;
use std::path::{Path, PathBuf};

/// One document.
pub(crate) struct Document {
    /// Such as `docs/how-to/deploy.md`.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// A fenced block of code.
pub(crate) struct Block {
    /// Such as `yaml`; empty if the fence names none.
    pub(crate) language: String,
    /// Line of the fence.
    pub(crate) line: usize,
    pub(crate) text: String,
    /// The headings above it, the nearest last.
    pub(crate) headings: Vec<String>,
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// README.md and the other documents in the root, and all of docs/.
#[track_caller]
pub(crate) fn documents() -> Vec<Document> {
    let mut paths =
        ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"].map(|name| root().join(name)).to_vec();
    collect(&root().join("docs"), &mut paths);
    paths.into_iter().map(Document::read).collect()
}

/// One document, by its path in the repository.
#[track_caller]
pub(crate) fn document(name: &str) -> Document {
    Document::read(root().join(name))
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    let mut found: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    for path in found {
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            paths.push(path);
        }
    }
}

impl Document {
    #[track_caller]
    fn read(path: PathBuf) -> Self {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { name, path, text }
    }

    /// The fenced blocks, including those that are indented below a list.
    pub(crate) fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<(Block, usize, &str)> = None;
        let mut headings: Vec<String> = Vec::new();
        for (index, line) in self.text.lines().enumerate() {
            let text = line.trim_start();
            let indent = line.len() - text.len();
            match &mut open {
                Some((_, _, fence)) if text.starts_with(*fence) && text.trim() == *fence => {
                    blocks.extend(open.take().map(|(block, ..)| block));
                }
                Some((block, indent, _)) => {
                    let blank = line.len() - line.trim_start().len();
                    block.text.push_str(&line[blank.min(*indent)..]);
                    block.text.push('\n');
                }
                None if text.starts_with("```") => {
                    let (fence, language) = text.split_at(text.len() - text.trim_start_matches('`').len());
                    let language = language.split_whitespace().next().unwrap_or_default().to_owned();
                    let (line, headings) = (index + 1, headings.clone());
                    open = Some((Block { language, line, text: String::new(), headings }, indent, fence));
                }
                None => {
                    if let Some((level, heading)) = heading(line) {
                        headings.truncate(level - 1);
                        headings.push(heading.to_owned());
                    }
                }
            }
        }
        assert!(open.is_none(), "{}: the last code block is not closed", self.name);
        blocks
    }

    /// The text without its code blocks, with the same line numbers.
    pub(in crate::docs) fn prose(&self) -> String {
        let mut prose = String::new();
        let mut fence: Option<&str> = None;
        for line in self.text.lines() {
            let text = line.trim();
            match fence {
                Some(open) => fence = Some(open).filter(|open| text != *open),
                None if text.starts_with("```") => {
                    fence = Some(&text[..text.len() - text.trim_start_matches('`').len()]);
                }
                None => prose.push_str(line),
            }
            prose.push('\n');
        }
        prose
    }

    /// The possible anchors of links: headings, as GitHub converts them, and explicit anchors.
    pub(crate) fn anchors(&self) -> Vec<String> {
        let prose = self.prose();
        let mut anchors: Vec<String> = Vec::new();
        for (_, heading) in prose.lines().filter_map(heading) {
            let plain = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
            let slug: String = heading.to_lowercase().chars().filter(plain).collect();
            let slug = slug.replace(' ', "-");
            let same = anchors.iter().filter(|anchor| **anchor == slug).count();
            anchors.push(if same == 0 { slug } else { format!("{slug}-{same}") });
        }
        for mark in ["id=\"", "name=\""] {
            anchors.extend(prose.split(mark).skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
        }
        anchors
    }
}

/// Compares the rows of a table in a document with `expected`, or writes them if `UPDATE_DOCS` is set. The rows are
/// consecutive, and each begins with `prefix`.
#[track_caller]
pub(crate) fn assert_rows(name: &str, prefix: &str, expected: &[String]) {
    let document = document(name);
    let has_prefix = |line: &&str| line.starts_with(prefix);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let before = document.text.lines().take_while(|line| !has_prefix(line));
        let after = document.text.lines().skip_while(|line| !has_prefix(line)).skip_while(has_prefix);
        let lines: Vec<&str> = before.chain(expected.iter().map(String::as_str)).chain(after).collect();
        return fs::write(&document.path, lines.join("\n") + "\n").unwrap();
    }
    let rows: Vec<&str> = document.text.lines().filter(has_prefix).collect();
    assert_eq!(rows, expected, "left: {name}; right: the code. UPDATE_DOCS=1 writes the document");
}

fn heading(line: &str) -> Option<(usize, &str)> {
    let text = line.trim_start_matches('#');
    let level = line.len() - text.len();
    (1..=6).contains(&level).then_some(())?;
    Some((level, text.strip_prefix(' ')?.trim()))
}
