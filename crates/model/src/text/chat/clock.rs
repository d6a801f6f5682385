//! `strftime_now`, which templates use to put the date into a prompt.

use jiff::{Timestamp, ZonedDateTime, fmt::strtime, tz::TimeZone};
use minijinja::{Error, ErrorKind};

/// Formats `time`, in seconds since 1970, in UTC, which gives the same text on every machine. If `time` is `None`,
/// formats the current local time, as transformers does.
pub(super) fn strftime(format: &str, time: Option<u64>) -> Result<String, Error> {
    let invalid = |error: jiff::Error| Error::new(ErrorKind::InvalidOperation, format!("strftime_now: {error}"));
    let time = match time {
        Some(seconds) => {
            let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
            Timestamp::from_second(seconds).map_err(invalid)?.to_zoned_datetime(TimeZone::UTC)
        }
        None => ZonedDateTime::now(),
    };
    strtime::format(format, &time).map_err(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00 Thursday 001"),
            (951_782_399, "2000-02-28 23:59:59 Monday 059"),
            (951_782_400, "2000-02-29 00:00:00 Tuesday 060"),
            (1_735_689_599, "2024-12-31 23:59:59 Tuesday 366"),
            (1_735_689_600, "2025-01-01 00:00:00 Wednesday 001"),
            (4_107_542_400, "2100-03-01 00:00:00 Monday 060"),
        ] {
            assert_eq!(strftime("%Y-%m-%d %H:%M:%S %A %j", Some(seconds)).unwrap(), expected);
        }
        assert_eq!(strftime("%d %b %Y, %I %p", Some(951_782_400)).unwrap(), "29 Feb 2000, 12 AM");
        assert_eq!(
            strftime("%y %m %e %B %a %h %F %T %Z %%", Some(0)).unwrap(),
            "70 01  1 January Thu Jan 1970-01-01 00:00:00 UTC %"
        );
        assert_eq!(strftime("%D %R %U %u %w %V %G", Some(0)).unwrap(), "01/01/70 00:00 00 4 4 01 1970");
        assert!(strftime("%!", Some(0)).is_err());
        assert!(strftime("%", Some(0)).is_err());
        assert!(strftime("%Y", Some(u64::MAX)).is_err());
    }

    #[test]
    fn now_is_the_local_time() {
        let (before, now, after) = (ZonedDateTime::now(), strftime("%F", None).unwrap(), ZonedDateTime::now());
        assert!(now == before.strftime("%F").to_string() || now == after.strftime("%F").to_string());
    }
}
