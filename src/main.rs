//! The program `redial`.

fn main() {}
