//! Reads of a reconciliation run, with an app-only token: whether groups exist, their members, and the states of accounts.
//!
//! `ConsistencyLevel: eventual` is never sent: its index may lack a member that was added minutes ago.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use secrecy::SecretString;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::batch::BatchReader;
use super::{Graph, GraphError, MAX_PAGES, PAGE_SIZE, ServicePrincipal, below, check_link, wire};
use crate::domain::{GroupId, ObjectId, display_name};
use crate::entra_facts::{AccountState, GroupState, MemberList, Members};
use crate::observability::metrics::GraphRead;

/// Time limit for one kind of read of a whole run, including all retries.
pub const RUN_BUDGET: Duration = Duration::from_mins(5);

/// Type of users in lists of different types.
const USER: &str = "#microsoft.graph.user";
/// Type of groups in lists of different types.
const GROUP: &str = "#microsoft.graph.group";
/// `visibility` of a group whose members only its members and `Member.Read.Hidden` may read.
const HIDDEN: &str = "HiddenMembership";

impl Graph {
    /// Whether each group exists, and its name. `budget` limits the time for all.
    ///
    /// Needs the application permission `GroupMember.Read.All`.
    pub async fn group_states(
        &self,
        token: &SecretString,
        groups: &BTreeSet<GroupId>,
        budget: Duration,
    ) -> BTreeMap<GroupId, GroupState> {
        self.groups_until(token, groups, Instant::now() + budget)
            .await
            .into_iter()
            .map(|(id, group)| (id, group_state(group)))
            .collect()
    }

    /// The users in each group, with the states of their accounts: direct members, or with `nested` also those of groups in
    /// it. `budget` limits the time for all.
    ///
    /// Without the application permission `User.Read.All`, the states are unknown.
    ///
    /// Graph returns a list that is too short, without an error, for a group with hidden membership. So each group is
    /// read first, with `nested` also each group in it. Needs the application permission `GroupMember.Read.All`.
    pub async fn group_members(
        &self,
        token: &SecretString,
        groups: &BTreeSet<GroupId>,
        nested: bool,
        budget: Duration,
    ) -> BTreeMap<GroupId, MemberList> {
        let deadline = Instant::now() + budget;
        let mut known = self.groups_until(token, groups, deadline).await;
        let readable = |id: &&GroupId| matches!(known.get(id), Some(Ok(Some(group))) if !is_hidden(group));
        let list = if nested { "transitiveMembers" } else { "members" };
        let url = |id: &GroupId| (*id, format!("/groups/{id}/{list}?$select=id,accountEnabled&$top={PAGE_SIZE}"));
        let requests: Vec<(GroupId, String)> = groups.iter().filter(readable).map(url).collect();
        let mut lists: BTreeMap<GroupId, Result<Pages, GraphError>> = BTreeMap::new();
        self.batches(token, GraphRead::GroupMembers, deadline)
            .read(requests, |id, page: Result<wire::Page<wire::Member>, GraphError>| {
                let pages = lists.entry(id).or_insert_with(|| Ok(Pages::default()));
                let next = page.and_then(|page| pages.as_mut().map_err(|error| error.clone())?.add(page, &self.base));
                next.unwrap_or_else(|error| {
                    *pages = Err(error);
                    None
                })
            })
            .await;
        if nested {
            let inner = lists.values().flatten().flat_map(|pages| pages.groups.iter().copied());
            let new: BTreeSet<GroupId> = inner.filter(|id| !known.contains_key(id)).collect();
            known.extend(self.groups_until(token, &new, deadline).await);
        }
        groups.iter().map(|id| (*id, members(*id, &known, lists.remove(id), nested))).collect()
    }

    /// The state of each account. `budget` limits the time for all.
    ///
    /// Needs the application permission `User.Read.All`.
    pub async fn account_states(
        &self,
        token: &SecretString,
        users: &BTreeSet<ObjectId>,
        budget: Duration,
    ) -> BTreeMap<ObjectId, AccountState> {
        let deadline = Instant::now() + budget;
        let batches = self.batches(token, GraphRead::Accounts, deadline);
        let mut states = BTreeMap::new();
        let mut missing = Vec::new();
        let requests = users.iter().map(|id| (*id, format!("/users/{id}?$select=id,accountEnabled")));
        batches
            .read(requests, |id, account: Result<wire::Account, GraphError>| {
                match account {
                    Err(GraphError::NotFound { .. }) => missing.push(id),
                    account => {
                        let enabled = account.and_then(|account| {
                            check_id(account.id, id)?;
                            account.enabled.ok_or(GraphError::LimitedInformation)
                        });
                        states.insert(
                            id,
                            match enabled {
                                Ok(true) => AccountState::Enabled,
                                Ok(false) => AccountState::Disabled,
                                Err(error) => AccountState::Unknown((&error).into()),
                            },
                        );
                    }
                }
                None
            })
            .await;
        let requests = missing.into_iter().map(|id| (id, format!("/directory/deletedItems/{id}?$select=id")));
        batches
            .read(requests, |id, item: Result<wire::Reference, GraphError>| {
                states.insert(
                    id,
                    match item.and_then(|item| check_id(item.id, id)) {
                        Ok(()) => AccountState::SoftDeleted,
                        Err(GraphError::NotFound { .. }) => AccountState::Deleted,
                        Err(error) => AccountState::Unknown((&error).into()),
                    },
                );
                None
            })
            .await;
        states
    }

    /// Whether the enterprise app's service principal exists. One that was replaced (404) is not one without
    /// assignments.
    ///
    /// An app may always read its own service principal.
    pub async fn service_principal_exists(
        &self,
        token: &SecretString,
        service_principal: &ServicePrincipal,
    ) -> Result<bool, GraphError> {
        let mut url = self.at(&service_principal.path());
        url.query_pairs_mut().append_pair("$select", "id");
        match self.one::<wire::Reference>(GraphRead::ServicePrincipal, &url, token).await {
            Ok(_) => Ok(true),
            Err(GraphError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Tries the application permission `GroupMember.Read.All` with one member of a group, for `check`.
    pub async fn try_group_members(&self, token: &SecretString, group: GroupId) -> Result<(), GraphError> {
        let path = format!("groups/{group}/members");
        let _: wire::Page<wire::Member> = self.first_of(GraphRead::GroupMembers, &path, "id", token).await?;
        Ok(())
    }

    /// Tries the application permission `User.Read.All` with one account, for `check`.
    pub async fn try_accounts(&self, token: &SecretString) -> Result<(), GraphError> {
        let page: wire::Page<wire::Account> =
            self.first_of(GraphRead::Accounts, "users", "id,accountEnabled", token).await?;
        let limited = page.value.iter().any(|account| account.enabled.is_none());
        if limited { Err(GraphError::LimitedInformation) } else { Ok(()) }
    }

    /// Reads a page with the first item of a list.
    async fn first_of<T: DeserializeOwned>(
        &self,
        read: GraphRead,
        path: &str,
        select: &str,
        token: &SecretString,
    ) -> Result<T, GraphError> {
        let mut url = self.at(path);
        url.query_pairs_mut().append_pair("$select", select).append_pair("$top", "1");
        self.one(read, &url, token).await
    }

    /// Reads one object or page, within the budget.
    async fn one<T: DeserializeOwned>(
        &self,
        read: GraphRead,
        url: &Url,
        token: &SecretString,
    ) -> Result<T, GraphError> {
        let deadline = Instant::now() + self.budget;
        let read = self.read_with_retries(read, url, token, deadline);
        timeout_at(deadline, read).await.map_err(|_| GraphError::Timeout)?
    }

    fn batches<'a>(&'a self, token: &'a SecretString, read: GraphRead, deadline: Instant) -> BatchReader<'a> {
        BatchReader { graph: self, token, read, deadline }
    }

    /// Reads each group; `None` for one that does not exist.
    async fn groups_until(
        &self,
        token: &SecretString,
        groups: &BTreeSet<GroupId>,
        deadline: Instant,
    ) -> BTreeMap<GroupId, Found> {
        let mut found = BTreeMap::new();
        let requests = groups.iter().map(|id| (*id, format!("/groups/{id}?$select=id,displayName,visibility")));
        self.batches(token, GraphRead::Groups, deadline)
            .read(requests, |id, group: Result<wire::GroupObject, GraphError>| {
                let checked = group.and_then(|group| check_id(group.id, id).map(|()| group));
                found.insert(
                    id,
                    match checked {
                        Ok(group) => Ok(Some(group)),
                        Err(GraphError::NotFound { .. }) => Ok(None),
                        Err(error) => Err(error),
                    },
                );
                None
            })
            .await;
        found
    }
}

/// A group, or `None` if it does not exist.
type Found = Result<Option<wire::GroupObject>, GraphError>;

fn group_state(found: Found) -> GroupState {
    match found {
        Ok(Some(group)) => GroupState::Exists {
            hidden_membership: is_hidden(&group),
            name: group.display_name.as_deref().and_then(display_name),
        },
        Ok(None) => GroupState::Gone,
        Err(error) => GroupState::Unknown((&error).into()),
    }
}

/// The pages of one member list that were read.
#[derive(Default)]
struct Pages {
    users: Vec<ObjectId>,
    disabled: Vec<ObjectId>,
    /// Users whose account state the app may not read.
    hidden: Vec<ObjectId>,
    groups: Vec<GroupId>,
    links: BTreeSet<String>,
}

impl Pages {
    /// Adds a page. Returns the URL of the next one, relative to the version.
    fn add(&mut self, page: wire::Page<wire::Member>, base: &Url) -> Result<Option<String>, GraphError> {
        for member in page.value {
            match member.kind.as_str() {
                USER => {
                    self.users.push(member.id);
                    match member.enabled {
                        Some(true) => {}
                        Some(false) => self.disabled.push(member.id),
                        None => self.hidden.push(member.id),
                    }
                }
                GROUP => self.groups.push(member.id.as_uuid().into()),
                _ => {}
            }
        }
        let Some(link) = page.next_link else { return Ok(None) };
        let url = check_link(base, &link)?;
        let path = below(base, &url).ok_or(GraphError::ForeignLink)?;
        let next = url.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
        if !self.links.insert(next.clone()) || self.links.len() >= MAX_PAGES {
            return Err(GraphError::PageLoop);
        }
        Ok(Some(next))
    }
}

/// The member list of one group. `known` has the group, and with `nested` the groups in it.
fn members(
    id: GroupId,
    known: &BTreeMap<GroupId, Found>,
    pages: Option<Result<Pages, GraphError>>,
    nested: bool,
) -> MemberList {
    match known.get(&id) {
        Some(Ok(None)) => return MemberList::Gone,
        Some(Ok(Some(group))) if is_hidden(group) => return unknown(&GraphError::HiddenMembership),
        Some(Ok(Some(_))) => {}
        Some(Err(error)) => return unknown(error),
        None => return unknown(&GraphError::MissingItem),
    }
    let pages = match pages {
        Some(Ok(pages)) => pages,
        // The group exists, so this is not a deleted group.
        Some(Err(GraphError::NotFound { .. })) => return unknown(&GraphError::Inconsistent),
        Some(Err(error)) => return unknown(&error),
        None => return unknown(&GraphError::MissingItem),
    };
    let inner = if nested { &pages.groups[..] } else { &[] };
    let incomplete = inner.iter().find_map(|group| match known.get(group) {
        Some(Ok(Some(group))) => is_hidden(group).then_some(GraphError::HiddenMembership),
        Some(Ok(None)) => Some(GraphError::Inconsistent),
        Some(Err(error)) => Some(error.clone()),
        None => Some(GraphError::MissingItem),
    });
    match incomplete {
        Some(error) => unknown(&error),
        None => MemberList::Complete(Members::new(pages.users, pages.disabled, pages.hidden)),
    }
}

fn unknown(error: &GraphError) -> MemberList {
    MemberList::Unknown(error.into())
}

fn is_hidden(group: &wire::GroupObject) -> bool {
    group.visibility.as_deref().is_some_and(|visibility| visibility.eq_ignore_ascii_case(HIDDEN))
}

/// Rejects an answer about another object than the requested one.
fn check_id<T: Copy + PartialEq>(received: T, requested: T) -> Result<(), GraphError> {
    if received == requested { Ok(()) } else { Err(GraphError::Malformed) }
}
