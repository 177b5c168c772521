//! Commands of the documents that need other programs.

mod operations;
