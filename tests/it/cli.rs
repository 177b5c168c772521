//! The real program, started as an operator starts it: what it prints, how it ends, and what it must never say.

mod check;
mod demo;
mod help;
mod logs;
mod program;
mod serve;
mod start;
