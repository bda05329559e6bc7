//! The house rules that a reader relies on: floors, headers, lengths, and which crates stay upstairs.
//!
//! The table of floors in `src/lib.rs` is the rule itself: this test reads it, so that the table cannot fall behind.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Longer files are split before they become a drawer.
const LINES_MAX: usize = 600;
/// What floors 0 to 3 must not know: they decide, others act.
const ACTING_CRATES: &[&str] = &["axum", "lapin", "reqwest", "sqlx", "tokio"];
/// The highest floor that only decides.
const DECIDING_FLOOR_MAX: usize = 3;
/// Who may see the configuration; every other module takes what it needs.
const READERS_OF_CONFIG: &[&str] = &["app", "cli", "config"];

/// One source file.
struct Source {
    /// From the package's top, with slashes.
    path: String,
    /// The module below the crate's root that it belongs to; `None` for `lib.rs` and `main.rs`.
    module: Option<String>,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    collect(&root.join("src"), &mut paths);
    paths.sort();
    assert!(paths.len() > 20, "the sources are not where they were: {paths:?}");
    paths.iter().map(|path| read(root, path)).collect()
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

fn read(root: &Path, path: &Path) -> Source {
    let parts: Vec<_> = path.strip_prefix(root).unwrap().iter().map(|part| part.to_str().unwrap()).collect();
    let module = match parts[1].strip_suffix(".rs") {
        Some("lib" | "main") => None,
        Some(file) => Some(file.to_owned()),
        None => Some(parts[1].to_owned()),
    };
    Source { path: parts.join("/"), module, text: std::fs::read_to_string(path).unwrap() }
}

/// The floor of every module, from the table in `src/lib.rs`.
fn floors() -> BTreeMap<String, usize> {
    let lib = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let rows = lib.lines().filter_map(|line| line.strip_prefix("//! | ")).filter_map(floors_of_row);
    rows.flatten().collect()
}

/// `| 1 | [`a`], [`b`] |` puts both on floor 1, `| 8, 9 | [`a`], [`b`] |` one on each.
fn floors_of_row(row: &str) -> Option<Vec<(String, usize)>> {
    let (floors, modules) = row.split_once(" | ")?;
    let floors: Vec<usize> = floors.split(", ").map(str::parse).collect::<Result<_, _>>().ok()?;
    let modules: Vec<String> = modules.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let floor = |position: usize| if floors.len() == 1 { floors[0] } else { floors[position] };
    Some(modules.into_iter().enumerate().map(|(position, module)| (module, floor(position))).collect())
}

/// A path into another module of this crate, and the line it begins on.
#[derive(Debug, PartialEq, Eq)]
struct Reference {
    line: usize,
    module: String,
}

/// Every `crate::module` outside comments, also inside `crate::{a, b::c}`.
fn references(text: &str) -> Vec<Reference> {
    let code = without_comments(text);
    let mut found = Vec::new();
    for (at, path) in code.match_indices("crate::") {
        let line = code[..at].matches('\n').count() + 1;
        let begins_a_path =
            !code[..at].ends_with(|before: char| before.is_alphanumeric() || "_:$".contains(before));
        if begins_a_path {
            let modules = first_segments(&code[at + path.len()..]);
            found.extend(modules.into_iter().map(|module| Reference { line, module }));
        }
    }
    found
}

/// The code with every comment line emptied; lines keep their numbers.
fn without_comments(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    for line in text.lines() {
        let kept = if line.trim_start().starts_with("//") {
            ""
        } else {
            line.split(" // ").next().unwrap_or_default()
        };
        let _ = writeln!(code, "{kept}");
    }
    code
}

/// The first segment of a path, or of each path between its braces.
fn first_segments(path: &str) -> Vec<String> {
    let segment = |text: &str| -> String {
        text.trim_start().chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
    };
    let Some(list) = path.strip_prefix('{') else { return vec![segment(path)] };
    let mut depth = 0_usize;
    let mut segments = Vec::new();
    let mut item = String::new();
    for letter in list.chars() {
        match letter {
            '}' if depth == 0 => break,
            ',' if depth == 0 => segments.push(segment(&std::mem::take(&mut item))),
            '{' => depth += 1,
            '}' => depth -= 1,
            _ if depth == 0 => item.push(letter),
            _ => {}
        }
    }
    segments.push(segment(&item));
    segments.retain(|module| !module.is_empty());
    segments
}

fn check(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_module_has_its_floor() {
    let floors = floors();
    for source in sources() {
        if let Some(module) = source.module {
            assert!(
                floors.contains_key(&module),
                "{}: {module} is not in the table of src/lib.rs",
                source.path
            );
        }
    }
}

#[test]
fn a_module_uses_only_lower_floors() {
    let floors = floors();
    let mut faults = Vec::new();
    for source in sources() {
        let Some(module) = &source.module else { continue };
        for Reference { line, module: used } in
            references(&source.text).into_iter().filter(|used| used.module != *module)
        {
            // What is no module is a macro of the crate's root, such as `crate::named!`.
            let Some(used_floor) = floors.get(&used) else { continue };
            if *used_floor >= floors[module] {
                let path = &source.path;
                faults.push(format!(
                    "{path}:{line}: {module} (floor {}) uses {used} (floor {used_floor})",
                    floors[module]
                ));
            }
        }
    }
    check(&faults);
}

#[test]
fn only_app_and_cli_see_the_configuration() {
    let mut faults = Vec::new();
    for source in sources() {
        let reader = source.module.as_deref().is_none_or(|module| READERS_OF_CONFIG.contains(&module));
        for Reference { line, .. } in
            references(&source.text).iter().filter(|used| !reader && used.module == "config")
        {
            faults.push(format!("{}:{line}: uses config; take a Config of your own", source.path));
        }
    }
    check(&faults);
}

#[test]
fn what_decides_knows_nothing_that_acts() {
    let floors = floors();
    let mut faults = Vec::new();
    for source in sources() {
        let Some(module) = &source.module else { continue };
        if floors[module] > DECIDING_FLOOR_MAX {
            continue;
        }
        for (line, code) in without_comments(&source.text).lines().enumerate() {
            for name in ACTING_CRATES.iter().filter(|name| names_crate(code, name)) {
                faults.push(format!(
                    "{}:{}: floor {} knows no {name}",
                    source.path,
                    line + 1,
                    floors[module]
                ));
            }
        }
    }
    check(&faults);
}

/// Whether a line of code uses a crate: `name::…` or `use name…`, not `other_name::…` or `path::name::…`.
fn names_crate(code: &str, name: &str) -> bool {
    let imports =
        code.trim_start().strip_prefix("use ").is_some_and(|rest| rest.trim_end_matches(';') == name);
    let uses = code.match_indices(&format!("{name}::")).any(|(at, _)| {
        !code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_')
            && (!code[..at].ends_with("::") || code[..at].ends_with(" ::"))
    });
    imports || uses
}

#[test]
fn every_file_says_what_lives_in_it_and_stays_short() {
    let mut faults = Vec::new();
    for source in sources() {
        if !source.text.starts_with("//! ") {
            faults.push(format!("{}:1: does not begin with //! and a sentence", source.path));
        }
        let lines = source.text.lines().count();
        if lines > LINES_MAX {
            faults.push(format!("{}:{lines}: has more than {LINES_MAX} lines", source.path));
        }
    }
    check(&faults);
}

#[test]
fn references_are_found_wherever_they_stand() {
    let text = "//! crate::comment\nuse crate::call::{Call, State};\nuse crate::{clock, ledger::{Ledger, batch}, limits::*};\n    \
                let x = crate::config::load(); // crate::remark\n/// [`crate::doc`]\nuse mycrate::other;\n$crate::mac!();\n\
                use crate::{\n    delay,\n    notice::Notice,\n};\n";
    let found: Vec<_> = references(text).into_iter().map(|found| (found.line, found.module)).collect();
    let expected =
        [(2, "call"), (3, "clock"), (3, "ledger"), (3, "limits"), (4, "config"), (8, "delay"), (8, "notice")];
    assert_eq!(found, expected.map(|(line, module)| (line, module.to_owned())));
}

#[test]
fn crates_are_told_from_names_that_hold_theirs() {
    for (code, uses) in [
        ("use tokio::sync::mpsc;", true),
        ("use tokio;", true),
        ("    tokio::spawn(x);", true),
        ("let x: ::tokio::Y = 1;", true),
        ("#[tokio::main]", true),
        ("use my_tokio::x;", false),
        ("use crate::tokio::x;", false),
        ("let tokio = 1;", false),
    ] {
        assert_eq!(names_crate(code, "tokio"), uses, "{code}");
    }
}

#[test]
fn the_table_of_floors_is_read_as_it_is_meant() {
    let row = |row: &str| floors_of_row(row).unwrap();
    assert_eq!(row("1 | [`a`], [`b_c`] |"), [("a".to_owned(), 1), ("b_c".to_owned(), 1)]);
    assert_eq!(row("8, 9 | [`a`], [`b`] |"), [("a".to_owned(), 8), ("b".to_owned(), 9)]);
    assert!(floors_of_row("floor | modules |").is_none() && floors_of_row("--- | --- |").is_none());
    assert_eq!(floors()["limits"], 0);
}
