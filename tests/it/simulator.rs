//! The Entra simulator over HTTP: sign-in, tokens, Graph's lists, every fault, and its pages.

mod client_assertion;

mod batch;

mod faults;

mod graph_reads;

mod pages;

mod sign_in;

mod support;
