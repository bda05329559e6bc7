//! The program `redial`.

use std::process::ExitCode;

fn main() -> ExitCode {
    redial::cli::main()
}
