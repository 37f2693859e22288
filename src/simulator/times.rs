//! How vendors write times. All of it goes through seconds since the epoch; a zone is an offset where the vendor has
//! but one.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

/// The wall clock of a place `offset` seconds east of Greenwich.
pub(super) fn wall(at: i64, offset: i64) -> DateTime {
    TimeZone::UTC.to_datetime(Timestamp::from_second(at + offset).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// The day there.
pub(super) fn day(at: i64, offset: i64) -> Date {
    wall(at, offset).date()
}

/// `2026-11-20 09:05:00`
pub(super) fn stamp(at: i64, offset: i64) -> String {
    wall(at, offset).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// `09:05:00`
pub(super) fn clock(at: i64, offset: i64) -> String {
    wall(at, offset).strftime("%H:%M:%S").to_string()
}

/// Reads `2026-11-20 09:05:00`, to the letter.
pub(super) fn parse_stamp(text: &str, offset: i64) -> Option<i64> {
    let shaped = text.len() == 19;
    let wall = DateTime::strptime("%Y-%m-%d %H:%M:%S", text).ok().filter(|_| shaped)?;
    Some(wall.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second() - offset)
}

/// `00:12:34`; hours have as many digits as they need.
pub(super) fn duration(seconds: u64) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_read_back() {
        let at = parse_stamp("2026-11-20 00:00:05", 19_800).unwrap();
        assert_eq!(stamp(at, 0), "2026-11-19 18:30:05");
        assert_eq!(stamp(at, 19_800), "2026-11-20 00:00:05");
        for wrong in ["2026-11-20", "2026-11-20T00:00:05", "2026-1-20 00:00:05", "2026-13-20 00:00:05"] {
            assert_eq!(parse_stamp(wrong, 0), None, "{wrong}");
        }
        assert_eq!(duration(442_801), "123:00:01");
    }
}
