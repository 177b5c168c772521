//! The seeds of the fuzz targets, tried in the test run. What the fuzzer finds is added there, once it is mended.

use std::fs;
use std::path::Path;

/// Tries a property with every file of `fuzz/corpus/TARGET`. Fails where there is none.
pub(crate) fn replay(target: &str, property: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = fs::read_dir(&folder).map(|files| files.filter_map(Result::ok).collect::<Vec<_>>()).unwrap_or_default();
    assert!(!files.is_empty(), "{} holds no seed", folder.display());
    for file in files {
        let data = fs::read(file.path());
        // Printed only where the test fails.
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
    fn every_fuzz_target_has_seeds_and_all_seeds_have_a_target() {
        let names = |folder: &str| -> BTreeSet<String> {
            let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap();
            files.map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(names("fuzz/targets"), names("fuzz/corpus"), "left: fuzz/targets; right: fuzz/corpus");
    }
}
