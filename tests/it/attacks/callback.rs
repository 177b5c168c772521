//! The way back from Entra, with somebody else's answer, cookie or browser, or with one that is made up.

mod codes;
mod cookies;
mod other_users;
mod parameters;
