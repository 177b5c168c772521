//! Property of every response from Graph, for the fuzz target and the test run.

use std::collections::BTreeSet;

use serde_json::Value;
use url::Url;

use super::wire::{AppRoleAssignment, DirectoryObject, Page};
use super::{check_link, parse};
use crate::plan::Groups;

/// Parses any bytes as a page of either list. The result is an error, or it has every group of the page and the link to
/// the next one, which is on Graph's own host. It is never a shorter list.
pub fn graph_page(data: &[u8]) {
    let page = parse(data).map(|page: Page<DirectoryObject>| (page.value, page.next_link));
    if let Ok((objects, next)) = page {
        let groups = objects.into_iter().filter_map(DirectoryObject::into_group).collect();
        assert_complete(data, &groups, next.as_deref(), ["@odata.type", "#microsoft.graph.group", "id"]);
    }
    let page = parse(data).map(|page: Page<AppRoleAssignment>| (page.value, page.next_link));
    if let Ok((assignments, next)) = page {
        let groups = assignments.into_iter().filter_map(AppRoleAssignment::into_group).collect();
        assert_complete(data, &groups, next.as_deref(), ["principalType", "Group", "principalId"]);
    }
}

fn assert_complete(data: &[u8], groups: &Groups, next: Option<&str>, [kind, group, id]: [&str; 3]) {
    // An ignored field may hold what a `Value` cannot: a number out of range, half a surrogate pair.
    let Ok(json) = serde_json::from_slice::<Value>(data) else { return };
    let entries = json.get("value").and_then(Value::as_array);
    assert!(entries.is_some(), "parsed as a list, but is none: {json}");
    let entries = entries.into_iter().flatten().filter(|entry| entry.get(kind).is_some_and(|kind| kind == group));
    let sent: BTreeSet<String> = entries.filter_map(|entry| Some(entry.get(id)?.as_str()?.to_lowercase())).collect();
    let read: BTreeSet<String> = groups.keys().map(ToString::to_string).collect();
    // Not equal: serde also parses an entry that is an array, by the order of its fields.
    assert!(sent.is_subset(&read), "{read:?} lacks groups of {json}");

    let link = json.get("@odata.nextLink").filter(|link| !link.is_null());
    assert_eq!(link.map(Value::as_str), next.map(Some), "left: the next page of {json}");
    let base = Url::parse("https://graph.example/v1.0");
    if let (Some(next), Ok(base)) = (next, base)
        && let Ok(url) = check_link(&base, next)
    {
        assert!(url.as_str().starts_with("https://graph.example/"), "{next:?} sends the token to {url}");
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_seed_page_is_an_error_or_complete() {
        crate::corpus::replay("graph_page", super::graph_page);
    }
}
