//! Prometheus exporter for contact centres. One street, one direction:
//!
//! schedule ([`poll`]) → report ([`vendors`], through [`client`]) → [`reading`] → [`ledger`] → [`page`] → [`web`].
//!
//! `docs/architecture.md` has the picture.

// Plain data that everybody speaks.
pub mod amount;
pub mod catalogue;
pub mod clock;
pub mod failure;
pub mod reading;
pub mod settings;

// The street.
pub mod client;
pub mod ledger;
pub mod page;
pub mod poll;
pub mod vendors;
pub mod web;

// Around it.
pub mod app;
pub mod cli;
pub mod config;
pub mod health;
pub mod memory;
pub mod telemetry;

// Stand-ins of the vendors.
pub mod demo;
pub mod simulator;
