//! The documents, and what tests look for in them.

use std::fs;
use std::path::{Path, PathBuf};

/// One document.
pub(crate) struct Document {
    /// As in `docs/operations.md`.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// A fenced block of code.
pub(crate) struct Block {
    /// As in `yaml`; empty where the fence names none.
    pub(crate) language: String,
    /// Of the fence.
    pub(crate) line: usize,
    pub(crate) text: String,
    /// The headings above it, the nearest last.
    pub(crate) headings: Vec<String>,
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// README.md and all of docs/.
#[track_caller]
pub(crate) fn documents() -> Vec<Document> {
    let mut paths = vec![root().join("README.md")];
    assert!(paths[0].exists(), "there is no README.md: it is the first thing that people look for");
    collect(&root().join("docs"), &mut paths);
    paths.into_iter().map(Document::read).collect()
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
    fn read(path: PathBuf) -> Self {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        Self { name, text: fs::read_to_string(&path).unwrap(), path }
    }

    /// The fenced blocks, also those that are indented below a list.
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
        assert!(open.is_none(), "{}: the last block of code is not closed", self.name);
        blocks
    }

    /// The text without its blocks of code; the lines stay where they are.
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

    /// What a link's `#` may name: the headings, as GitHub writes them, and explicit anchors.
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

fn heading(line: &str) -> Option<(usize, &str)> {
    let text = line.trim_start_matches('#');
    let level = line.len() - text.len();
    (1..=6).contains(&level).then_some(())?;
    Some((level, text.strip_prefix(' ')?.trim()))
}
