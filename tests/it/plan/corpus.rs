//! The seeds of the fuzz target `plan`.

use std::fs;
use std::path::Path;

use super::from_bytes::plan_and_apply;

#[test]
fn fuzz_seed_plans_are_idempotent_and_remove_nothing() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/plan");
    let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(!files.is_empty(), "{} contains no seed", folder.display());
    for file in files {
        println!("{}", file.display());
        plan_and_apply(&fs::read(&file).unwrap());
    }
}
