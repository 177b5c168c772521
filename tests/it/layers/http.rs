//! Imports inside `src/http` go only to the groups above in `src/http.rs`, and contain no cycles.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

type Modules = BTreeSet<String>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http")
}

/// The modules of `src/http.rs` in groups, which blank lines separate.
fn groups() -> Vec<Modules> {
    let text = fs::read_to_string(root().with_extension("rs")).unwrap();
    let module = |line: &str| Some(line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';')?.to_owned());
    let groups = text.split("\n\n").map(|group| group.lines().filter_map(module).collect::<Modules>());
    groups.filter(|group| !group.is_empty() && !group.contains("fuzzing")).collect()
}

/// The first names behind a path such as `crate::http::`: `a` for `a::B`, and `a` and `b` for `{a, b::{C, D}}`.
fn names(rest: &str) -> Vec<String> {
    let rest = rest.split(';').next().unwrap();
    let mut depth = 0;
    let list: String = match rest.strip_prefix('{') {
        None => rest.to_owned(),
        Some(inside) => inside
            .chars()
            .filter(|c| {
                depth += i32::from(*c == '{') - i32::from(*c == '}');
                depth == 0
            })
            .collect(),
    };
    let first = |part: &str| part.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap().to_owned();
    list.split(',').map(first).collect()
}

/// The modules of `http` that each module uses.
fn imports(modules: &Modules) -> BTreeMap<String, Modules> {
    let mut imports: BTreeMap<String, Modules> = BTreeMap::new();
    let mut paths = vec![root()];
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            paths.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let inside = path.strip_prefix(root()).unwrap().with_extension("");
        let module = inside.iter().next().unwrap().to_str().unwrap().to_owned();
        let up = "super::".repeat(inside.iter().count());
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
        let used = ["crate::http::", &up].into_iter().flat_map(|prefix| code.split(prefix).skip(1).flat_map(names));
        // `src/http.rs` re-exports both.
        let used = used.map(|name| if name == "App" || name == "StartError" { "state".to_owned() } else { name });
        let used: Modules = used.filter(|name| modules.contains(name) && *name != module).collect();
        imports.entry(module).or_default().extend(used);
    }
    imports
}

#[test]
fn imports_inside_http_go_one_way() {
    let groups = groups();
    assert!(groups.len() > 5, "{groups:?}");
    let mut below = Modules::new();
    let all = groups.iter().flatten().cloned().collect();
    let mut imports = imports(&all);
    imports.retain(|module, _| all.contains(module));
    assert!(imports["middleware"].contains("error") && imports["pages"].contains("state"), "{imports:#?}");
    for mut group in groups {
        // Takes each module of the group after those that it uses.
        while let Some(next) = group.iter().find(|module| imports[*module].is_subset(&below)).cloned() {
            group.remove(&next);
            below.insert(next);
        }
        let upward = |module: &String| imports[module].difference(&below).cloned().collect::<Vec<_>>();
        let left: Vec<_> = group.iter().map(|module| (module, upward(module))).collect();
        assert!(left.is_empty(), "modules that use a group below them in src/http.rs, or each other: {left:#?}");
    }
}
