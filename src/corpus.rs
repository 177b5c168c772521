//! Replays the seeds of the fuzz targets in the test run. Inputs that the fuzzer finds are added to the seeds after the fix.

use std::fs;
use std::path::Path;

/// Checks a property with every file of `fuzz/corpus/TARGET`. Fails if there is none.
pub(crate) fn replay(target: &str, property: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = fs::read_dir(&folder).map(|files| files.filter_map(Result::ok).collect::<Vec<_>>()).unwrap_or_default();
    assert!(!files.is_empty(), "{} contains no seeds", folder.display());
    for file in files {
        let data = fs::read(file.path());
        // Printed only if the test fails.
        println!("{}", file.path().display());
        assert!(data.is_ok(), "{} cannot be read", file.path().display());
        property(&data.unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn fuzz_targets_and_seeds_match() {
        let names = |folder: &str| -> BTreeSet<String> {
            let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap();
            files.map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(names("fuzz/targets"), names("fuzz/corpus"), "left: fuzz/targets; right: fuzz/corpus");
    }
}
