//! Entraway signs people in with Microsoft Entra ID, turns the Entra groups that an administrator assigned to the
//! enterprise app into organizations, teams and memberships in Postgres, and only then hands the browser a session.

pub mod config;
pub mod domain;
pub mod policy;
