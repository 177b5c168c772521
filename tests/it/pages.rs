//! The pages that people look at, over HTTP: who sees what, and what it says.

mod settings;
