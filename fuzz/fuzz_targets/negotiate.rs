//! Whatever a header says, the answer is one of the known formats, and its own content type asks for itself.

#![no_main]

use contact_center_exporter::page::negotiate::{accepts_gzip, negotiate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|header: &str| {
    let choice = negotiate(header);
    let again = negotiate(&choice.content_type());
    assert_eq!((again.format, again.escaping), (choice.format, choice.escaping));
    if accepts_gzip(header) {
        assert!(header.contains('*') || header.to_ascii_lowercase().contains("gzip"));
    }
});
