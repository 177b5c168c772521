//! What holds for every answer of Graph, as a property of any bytes, for the target in `fuzz/` and the test run.

use std::collections::BTreeSet;

use http::{HeaderMap, StatusCode};
use serde_json::Value;
use url::Url;

use super::wire::{AppRoleAssignment, DirectoryObject};
use super::{Answer, own_link, read_page};
use crate::plan::Groups;

/// The body of a page. Read as a list of either kind it is an error, or holds every group that is in it and the way to
/// the next page, which is on Graph's own host: never a shorter list.
pub fn graph_page(data: &[u8]) {
    let answer = Answer { status: StatusCode::OK, headers: HeaderMap::new(), body: data.to_vec() };
    let page = read_page(&answer).map(|page| (page.value, page.next_link));
    if let Ok((objects, next)) = page {
        let groups = objects.into_iter().filter_map(DirectoryObject::into_group).collect();
        whole(data, &groups, next.as_deref(), ["@odata.type", "#microsoft.graph.group", "id"]);
    }
    let page = read_page(&answer).map(|page| (page.value, page.next_link));
    if let Ok((assignments, next)) = page {
        let groups = assignments.into_iter().filter_map(AppRoleAssignment::into_group).collect();
        whole(data, &groups, next.as_deref(), ["principalType", "Group", "principalId"]);
    }
}

fn whole(data: &[u8], groups: &Groups, next: Option<&str>, [kind, group, id]: [&str; 3]) {
    // A field that nobody reads may hold what no `Value` does: a number beyond all bounds, half a surrogate pair.
    let Ok(json) = serde_json::from_slice::<Value>(data) else { return };
    let entries = json.get("value").and_then(Value::as_array);
    assert!(entries.is_some(), "read as a list, and is none: {json}");
    let entries = entries.into_iter().flatten().filter(|entry| entry.get(kind).is_some_and(|kind| kind == group));
    let sent: BTreeSet<String> = entries.filter_map(|entry| Some(entry.get(id)?.as_str()?.to_lowercase())).collect();
    let read: BTreeSet<String> = groups.keys().map(ToString::to_string).collect();
    // Not equal: an entry that is an array is read by the order of its fields.
    assert!(sent.is_subset(&read), "{read:?} is less than there is in {json}");

    let link = json.get("@odata.nextLink").filter(|link| !link.is_null());
    assert_eq!(link.map(Value::as_str), next.map(Some), "left: the next page of {json}");
    let base = Url::parse("https://graph.example/v1.0");
    if let (Some(next), Ok(base)) = (next, base)
        && let Ok(url) = own_link(&base, next)
    {
        let written = url.as_str();
        assert!(written.starts_with("https://graph.example/"), "{next:?} takes the token to {written}");
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_seed_of_a_page_is_an_error_or_a_whole_list() {
        crate::corpus::replay("graph_page", super::graph_page);
    }
}
