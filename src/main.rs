//! The program `redial`.

use std::process::ExitCode;

/// A quarter of the time went into the system's allocator: many small strings, and every call's are freed on another thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    redial::cli::main()
}
