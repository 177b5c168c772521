//! Standard output and standard error of the subcommands. `println!` panics once the reader has closed the pipe, as in
//! `entraway check | head`; these functions return an error instead.

use std::fmt;
use std::io::{self, ErrorKind, Write as _};

/// Exit status after the reader closed the pipe: what a shell reports of a program that SIGPIPE ended (128 + 13).
pub(super) const CLOSED: u8 = 141;

/// Why a line did not reach standard output.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutputError {
    /// EPIPE. The program ends without a message, as other Unix programs do.
    #[error("standard output: closed by the reader")]
    Closed,
    #[error("standard output: cannot be written: {0}. Check the file or the disk that it is redirected to")]
    Failed(io::Error),
}

/// Writes a line to standard output.
pub(super) fn line(text: fmt::Arguments<'_>) -> Result<(), OutputError> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => OutputError::Closed,
        _ => OutputError::Failed(error),
    })
}

/// Writes a line to standard error. A failure is ignored: there is no place left to report it.
pub(super) fn error_line(text: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// `println!` that returns an `OutputError` instead of panicking.
macro_rules! outln {
    ($($text:tt)*) => { $crate::cli::output::line(format_args!($($text)*)) };
}

/// `eprintln!` that never panics.
macro_rules! errln {
    ($($text:tt)*) => { $crate::cli::output::error_line(format_args!($($text)*)) };
}

pub(super) use {errln, outln};
