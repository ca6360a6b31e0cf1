//! The date as HTTP writes it (IMF-fixdate, RFC 9110, 5.6.7).

use std::io::Write as _;

const DAY_NAMES: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
/// All months but the last, with their days outside of leap years.
const MONTHS: [(&str, u64); 11] = [
    ("Jan", 31),
    ("Feb", 28),
    ("Mar", 31),
    ("Apr", 30),
    ("May", 31),
    ("Jun", 30),
    ("Jul", 31),
    ("Aug", 31),
    ("Sep", 30),
    ("Oct", 31),
    ("Nov", 30),
];

/// Days of 400 years, after which the calendar repeats.
const ERA_DAYS: u64 = 400 * 365 + 97;
/// The last second of the year 9999, the last that four digits can tell.
const UNIX_S_MAX: u64 = 253_402_300_799;

/// Appends the date of `unix_ms`, milliseconds since the start of 1970 in UTC. What lies beyond the year 9999 is its
/// last second.
pub(super) fn write(out: &mut Vec<u8>, unix_ms: u64) {
    let unix_s = (unix_ms / 1000).min(UNIX_S_MAX);
    let (days, second) = (unix_s / 86_400, unix_s % 86_400);
    let (year, month, day) = civil(days);
    let day_name = usize::try_from(days % 7)
        .ok()
        .and_then(|index| DAY_NAMES.get(index));
    let day_name = day_name.copied().unwrap_or_default();
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    // Writing to a Vec cannot fail.
    let _ = write!(
        out,
        "{day_name}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT"
    );
}

/// Year, month and day of the month of a day counted from the start of 1970.
fn civil(days: u64) -> (u64, &'static str, u64) {
    let mut year = 1970 + days / ERA_DAYS * 400;
    let mut left = days % ERA_DAYS;
    while left >= 365 + leap_day(year) {
        left -= 365 + leap_day(year);
        year += 1;
    }
    for (month, length) in MONTHS {
        let length = if month == "Feb" {
            length + leap_day(year)
        } else {
            length
        };
        if left < length {
            return (year, month, left + 1);
        }
        left -= length;
    }
    (year, "Dec", left + 1)
}

/// 1 in a leap year, else 0.
fn leap_day(year: u64) -> u64 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    u64::from(is_leap)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(unix_ms: u64) -> String {
        let mut out = Vec::new();
        write(&mut out, unix_ms);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn dates_are_written_as_http_wants_them() {
        for (unix_ms, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (999, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777_000, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400_000, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_799_999, "Tue, 29 Feb 2000 23:59:59 GMT"),
            (951_868_800_000, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_709_164_800_000, "Thu, 29 Feb 2024 00:00:00 GMT"),
            (1_798_761_599_000, "Thu, 31 Dec 2026 23:59:59 GMT"),
            (4_107_542_400_000, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (13_574_563_200_000, "Tue, 29 Feb 2400 00:00:00 GMT"),
            (253_402_300_799_000, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (253_402_300_800_000, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(date(unix_ms), expected);
        }
    }

    #[test]
    fn each_day_follows_the_one_before() {
        let (mut year, mut month, mut day) = (1970, 0, 1);
        for days in 0..2 * ERA_DAYS {
            let (name, length) = MONTHS.get(month).copied().unwrap_or(("Dec", 31));
            assert_eq!(civil(days), (year, name, day));
            let length = if month == 1 {
                length + leap_day(year)
            } else {
                length
            };
            (year, month, day) = match (month, day) {
                (11, 31) => (year + 1, 0, 1),
                _ if day == length => (year, month + 1, 1),
                _ => (year, month, day + 1),
            };
        }
        assert_eq!((year, month, day), (2770, 0, 1));
    }
}
