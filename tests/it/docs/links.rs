//! Relative links of the documents resolve, with their anchors.

use super::markdown::{Document, documents, root};

/// The targets of links and images, with their lines.
fn links(document: &Document) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (index, line) in document.prose().lines().enumerate() {
        // Inline code can show a link without being one.
        let text: String = line.split('`').step_by(2).collect::<Vec<_>>().join(" ");
        for (begin, end) in [("](", ")"), ("src=\"", "\""), ("href=\"", "\""), ("srcset=\"", "\"")] {
            for rest in text.split(begin).skip(1) {
                let address = rest.split(end).next().unwrap_or_default();
                links.extend(address.split_whitespace().next().map(|address| (index + 1, address.to_owned())));
            }
        }
        // `[name]: address`
        if let Some((_, address)) = line.strip_prefix('[').and_then(|rest| rest.split_once("]: ")) {
            links.extend(address.split_whitespace().next().map(|address| (index + 1, address.to_owned())));
        }
    }
    links.retain(|(_, address)| !address.contains("://") && !address.starts_with("mailto:"));
    links
}

#[test]
fn relative_links_resolve() {
    let documents = documents();
    let mut dead = Vec::new();
    for document in &documents {
        for (line, address) in links(document) {
            let (path, anchor) =
                address.split_once('#').map_or((&*address, None), |(path, anchor)| (path, Some(anchor)));
            let target = match path {
                "" => document.path.clone(),
                path if path.starts_with('/') => root().join(&path[1..]),
                path => document.path.parent().unwrap().join(path),
            };
            let Ok(target) = target.canonicalize() else {
                dead.push(format!("{}:{line}: {address}: no such file", document.name));
                continue;
            };
            let known = documents.iter().find(|other| other.path.canonicalize().unwrap() == target);
            if let (Some(anchor), Some(known)) = (anchor, known)
                && !known.anchors().iter().any(|heading| heading == anchor)
            {
                dead.push(format!("{}:{line}: {address}: no such heading in {}", document.name, known.name));
            }
        }
    }
    assert!(dead.is_empty(), "links that do not resolve:\n{}", dead.join("\n"));
}
