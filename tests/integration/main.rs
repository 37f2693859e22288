//! The program from outside, one module per door.

#![expect(clippy::unwrap_used, reason = "every line here is a test")]
#![expect(clippy::print_stdout, reason = "some of them measure")]

// Helpers.
mod exposition;
mod process;
mod representations;
mod site;
mod support;
mod vendor;

mod attacks;
mod attacks_tls;
mod canary;
mod catalogue;
mod command_line;
mod config;
mod discipline_huawei;
mod discipline_ozonetel;
mod discipline_voximplant;
mod discipline_wolkvox;
mod golden;
mod hooks;
mod hooks_beside;
mod hooks_flood;
mod hostile;
mod hostile_wolkvox;
mod isolation;
mod landing;
mod page;
mod reload;
mod schema;
mod starved;
mod transport;
mod truth_huawei;
mod truth_ozonetel;
mod truth_voximplant;
mod truth_wolkvox;
mod web;
mod web_config;
mod web_tls;
