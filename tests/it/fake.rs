//! The simulator over HTTP: sign-in, tokens, Graph's lists, every fault, the pages.

mod faults;

mod pages;

mod sign_in;

mod support;
