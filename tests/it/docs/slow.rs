//! Commands in the documents that need other programs.

mod operations;
