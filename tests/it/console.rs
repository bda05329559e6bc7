//! The console: its files, its sessions, its stream, and its pages in a real browser.

mod details;
mod files;
mod focus;
mod journeys;
mod lasting;
mod pages;
mod sessions;
mod stream;
