//! The Entra simulator over HTTP: sign-in, tokens, Graph's lists, every fault, and its pages.

mod client_assertion;

mod faults;

mod pages;

mod sign_in;

mod support;
