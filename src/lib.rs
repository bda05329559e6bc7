//! Redial takes failed calls to third parties over and makes them again until they succeed or a person decides.
//!
//! Modules stand on floors; a module uses only lower ones (`ARCHITECTURE.md` has the table, `tests/it/tidy.rs` holds it):
//!
//! | floor | modules |
//! | --- | --- |
//! | 0 | [`limits`], [`clock`], [`telemetry`] |
//! | 1 | [`call`], [`script`] |
//! | 2 | [`endpoint`], [`document`], [`tally`] |
//! | 3 | [`policy`], [`gate`] |
//! | 4 | [`ledger`], [`broker`], [`invoker`] |
//! | 5 | [`delay`], [`notice`], [`upkeep`] |
//! | 6 | [`worker`], [`callback`] |
//! | 7 | [`intake`], [`sweeper`], [`review`], [`bulk`] |
//! | 8 | [`api`], [`console`], [`simulator`] |
//! | 9, 10, 11 | [`config`], [`app`], [`cli`] |

pub mod api;
pub mod app;
pub mod broker;
pub mod bulk;
pub mod call;
pub mod callback;
pub mod cli;
pub mod clock;
pub mod config;
pub mod console;
pub mod delay;
pub mod document;
pub mod endpoint;
pub mod gate;
pub mod intake;
pub mod invoker;
pub mod ledger;
pub mod limits;
pub mod notice;
pub mod policy;
pub mod review;
pub mod script;
pub mod simulator;
pub mod sweeper;
pub mod tally;
pub mod telemetry;
pub mod upkeep;
pub mod worker;
