//! `entraway users`: confirms users' rows that other programs made.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;

use super::output::{errln, outln};
use crate::config::{self, Env};
use crate::db::{AdoptionState, Store};
use crate::domain::{ObjectId, StoreKind, is_control_or_bidi};
use crate::util::clock::Clock;

/// Works on the database alone: no service has to be running.
pub(super) async fn adopt(user: ObjectId, file: Option<&Path>, env: &Env) -> anyhow::Result<ExitCode> {
    let config = config::load(file, env)?.config;
    if config.store == StoreKind::Native {
        errln!(
            "entraway: store: native has no user rows of other programs, so there is nothing to confirm. Give the \
             configuration of a service with store: litellm"
        );
        return Ok(ExitCode::FAILURE);
    }
    let store = Store::new(config.store, &config.database.url, 1)?;
    let adoption = store.adopt(user, Clock::system().now()).await.context("the user's row could not be confirmed")?;
    store.close().await;
    let Some(adoption) = adoption else {
        errln!(
            "entraway: user {user}: LiteLLM's user table has no row with this id as its user_id or sso_user_id. Check \
             the object id in the Entra admin center; a user without a row needs no confirmation"
        );
        return Ok(ExitCode::FAILURE);
    };
    // A row's key is text of other programs: it must not steer the terminal.
    let row: String = adoption.user_id.chars().filter(|c| !is_control_or_bidi(*c)).collect();
    match adoption.state {
        AdoptionState::Confirmed => {
            let made = adoption.created_at.map(|at| at.format(", created %Y-%m-%dT%H:%M:%SZ").to_string());
            let role: String =
                adoption.user_role.iter().flat_map(|role| role.chars()).filter(|c| !is_control_or_bidi(*c)).collect();
            outln!(
                "user {user}: confirmed row {row} (role {}{})",
                if role.is_empty() { "none" } else { &role },
                made.unwrap_or_default()
            )?;
            outln!("The next sign-in gives the role that Entra or access.admin_user_ids names.")?;
        }
        AdoptionState::AlreadyConfirmed(at) => {
            outln!("user {user}: row {row} was confirmed at {} already", at.format("%Y-%m-%dT%H:%M:%SZ"))?;
        }
        AdoptionState::NotNeeded => outln!("user {user}: row {row} needs no confirmation")?,
    }
    Ok(ExitCode::SUCCESS)
}
