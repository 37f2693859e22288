//! Prometheus exporter for contact centres. One street, one direction:
//!
//! schedule → poll → report ([`vendors`], through [`client`]) → [`reading`] → [`ledger`] → page → web.

pub mod amount;
pub mod catalogue;
pub mod client;
pub mod clock;
pub mod config;
pub mod failure;
pub mod health;
pub mod ledger;
pub mod reading;
pub mod simulator;
pub mod vendors;
