//! The way back from Entra, with somebody else's answer, cookie or browser, or with one that is made up.

mod answers;
mod browsers;
mod codes;
mod cookies;
