//! Source files as the rules look at them: the text, and the code alone, without comments, texts and unit tests.

use std::fs;
use std::path::{Path, PathBuf};

/// One source file.
pub(super) struct Source {
    /// As in `src/http/error.rs`.
    pub(super) path: String,
    pub(super) text: String,
    /// The code of the same length, line by line: comments and literals are blank, and it ends where unit tests begin.
    pub(super) code: String,
}

/// Something that a rule forbids, and where.
pub(super) type Finding = (usize, String);

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let code = blank(text);
        let end = code.find("#[cfg(test)]\nmod ").unwrap_or(code.len());
        Self { path: path.to_owned(), text: text.to_owned(), code: code[..end].to_owned() }
    }

    /// Every file of the library and of the program, sorted by path.
    pub(super) fn all() -> Vec<Self> {
        Self::below(&["src"])
    }

    /// The same with the other packages of the workspace.
    pub(super) fn workspace() -> Vec<Self> {
        Self::below(&["src", "crates"])
    }

    fn below(folders: &[&str]) -> Vec<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files = Vec::new();
        for folder in folders {
            collect(&root.join(folder), &mut files);
        }
        files.sort();
        let read = |file: &PathBuf| {
            let path = file.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            Self::new(&path, &fs::read_to_string(file).unwrap())
        };
        files.iter().map(read).collect()
    }

    /// The path of the module: `["web", "error"]`. The library's own root and the program have none.
    pub(super) fn module(&self) -> Vec<&str> {
        let path = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        if matches!(path, "lib" | "main") { Vec::new() } else { path.split('/').collect() }
    }

    /// The module of the library that the file belongs to.
    pub(super) fn layer(&self) -> &str {
        self.module().first().copied().unwrap_or(if self.path == "src/main.rs" { "main" } else { "lib" })
    }

    pub(super) fn line(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }

    /// The lines on which a word stands in the code.
    pub(super) fn lines_with(&self, word: &str) -> Vec<usize> {
        self.words(word).map(|at| self.line(at)).collect()
    }

    /// Where a word stands, and not as a part of a longer one.
    fn words<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        let free = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let starts = move |at: usize| {
            let before = !word.starts_with(is_word) || free(self.code[..at].chars().next_back());
            before && (!word.ends_with(is_word) || free(self.code[at + word.len()..].chars().next()))
        };
        self.code.match_indices(word).map(|(at, _)| at).filter(move |at| starts(*at))
    }

    /// What the code takes from other modules of the library, as `plan::Groups`, with its line.
    pub(super) fn imports(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        for at in self.words("crate::") {
            found.extend(paths(&self.code[at + "crate::".len()..]).into_iter().map(|path| (self.line(at), path)));
        }
        for at in self.words("super::").filter(|at| !self.code[..*at].ends_with("super::")) {
            let chain = &self.code[at..];
            let rest = chain.trim_start_matches("super::");
            let steps = (chain.len() - rest.len()) / "super::".len();
            // As many steps up as the module is deep lead to the library's root.
            if steps >= self.module().len() {
                found.extend(paths(rest).into_iter().map(|path| (self.line(at), path)));
            }
        }
        found.retain(|(_, path)| path.split("::").next() != Some(self.layer()));
        found
    }

    /// The lines of calls such as `sqlx::query` in the body of a loop, or in a closure that runs for each of several.
    pub(super) fn in_loops(&self, call: &str) -> Vec<usize> {
        let bodies = self.loops();
        let calls = self.words(call).filter(|at| bodies.iter().any(|(from, to)| (from..to).contains(&at)));
        calls.map(|at| self.line(at)).collect()
    }

    fn loops(&self) -> Vec<(usize, usize)> {
        let code = &self.code;
        let mut bodies = Vec::new();
        for keyword in ["for", "while", "loop"] {
            for at in self.words(keyword) {
                let line = code[..at].rfind('\n').map_or(0, |newline| newline + 1);
                let head = code[line..at].trim_start();
                let header = head.starts_with("impl") || head.starts_with("unsafe impl");
                if header || code[at + keyword.len()..].starts_with('<') {
                    continue;
                }
                bodies.extend(body(code, at, b'{', b'}'));
            }
        }
        for each in [".map(", ".for_each(", ".filter_map(", ".flat_map(", ".try_for_each(", ".then("] {
            bodies.extend(self.words(each).filter_map(|at| body(code, at, b'(', b')')));
        }
        bodies
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// From the first `open` that stands in no bracket behind `at`, to its end.
fn body(code: &str, at: usize, open: u8, close: u8) -> Option<(usize, usize)> {
    let mut brackets = 0_i32;
    let mut start = None;
    let mut depth = 0;
    for (index, byte) in code.bytes().enumerate().skip(at) {
        if start.is_none() {
            match byte {
                _ if byte == open && brackets == 0 => (start, depth) = (Some(index), 1),
                b'(' | b'[' => brackets += 1,
                b')' | b']' => brackets -= 1,
                b';' if brackets == 0 => return None,
                _ => {}
            }
        } else if byte == open {
            depth += 1;
        } else if byte == close {
            depth -= 1;
            if depth == 0 {
                return Some((start?, index));
            }
        }
    }
    None
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The paths that begin here: one, or those in braces.
fn paths(code: &str) -> Vec<String> {
    let code = code.trim_start();
    if let Some(inside) = code.strip_prefix('{') {
        let mut depth = 0;
        let end = inside.find(|c| {
            depth += match c {
                '{' => 1,
                '}' => -1,
                _ => 0,
            };
            depth < 0
        });
        let mut parts = vec![String::new()];
        for c in inside[..end.unwrap_or(inside.len())].chars() {
            depth += match c {
                '{' => 1,
                '}' => -1,
                _ => 0,
            };
            if c == ',' && depth == -1 {
                parts.push(String::new());
            } else {
                parts.last_mut().unwrap().push(c);
            }
        }
        return parts.iter().filter(|part| !part.trim().is_empty()).flat_map(|part| paths(part)).collect();
    }
    let end = code.find(|c| !is_word(c)).unwrap_or(code.len());
    let (name, rest) = code.split_at(end);
    match rest.strip_prefix("::") {
        Some(rest) if !rest.starts_with('<') => {
            let below = paths(rest).into_iter();
            below.map(|path| if path == "self" { name.to_owned() } else { format!("{name}::{path}") }).collect()
        }
        _ => vec![if name.is_empty() { "*".to_owned() } else { name.to_owned() }],
    }
}

/// The text with blanks in place of comments, texts and characters.
fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = literal(rest, code.chars().next_back()).unwrap_or(0);
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.extend(rest[..length].bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
            rest = &rest[length..];
        }
    }
    code
}

/// The length of the comment or literal that the text begins with.
fn literal(text: &str, before: Option<char>) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(text.find("*/").map_or(text.len(), |end| end + 2));
    }
    if text.starts_with('r') && !before.is_some_and(is_word) {
        let hashes = text[1..].bytes().take_while(|byte| *byte == b'#').count();
        text[1 + hashes..].starts_with('"').then_some(())?;
        let close = format!("\"{}", "#".repeat(hashes));
        return Some(text[hashes + 2..].find(&close).map_or(text.len(), |end| end + hashes + 2 + close.len()));
    }
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut escaped = false;
    for (index, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return Some(index + 1),
            // A lifetime: a character's quote closes behind one character.
            _ if quote == '\'' && !text[1..index].starts_with('\\') && index > 1 => return None,
            _ => {}
        }
    }
    None
}
