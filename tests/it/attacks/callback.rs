//! Callbacks with another user's response, cookie or browser, or with forged ones.

mod codes;
mod cookies;
mod other_users;
mod parameters;
