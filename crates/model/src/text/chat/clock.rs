//! `strftime_now`, which templates use to put the date into a prompt.

use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::{Error, ErrorKind};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

/// Formats `time` (seconds since 1970), or the current time, in UTC: transformers uses the local time, which the standard
/// library does not know.
pub(super) fn strftime(format: &str, time: Option<u64>) -> Result<String, Error> {
    let seconds = match time {
        Some(seconds) => seconds,
        None => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs()),
    };
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let (year, month, day) = civil(days);
    let hour12 = if hour % 12 == 0 { 12 } else { hour % 12 };
    let month_name = index(&MONTHS, month - 1);
    let day_name = index(&DAYS, days % 7);
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let piece = match chars.next() {
            Some('Y') => year.to_string(),
            Some('y') => format!("{:02}", year % 100),
            Some('m') => format!("{month:02}"),
            Some('d') => format!("{day:02}"),
            Some('e') => format!("{day:2}"),
            Some('B') => month_name.to_owned(),
            Some('b' | 'h') => month_name.chars().take(3).collect(),
            Some('A') => day_name.to_owned(),
            Some('a') => day_name.chars().take(3).collect(),
            Some('H') => format!("{hour:02}"),
            Some('I') => format!("{hour12:02}"),
            Some('M') => format!("{minute:02}"),
            Some('S') => format!("{second:02}"),
            Some('p') => (if hour < 12 { "AM" } else { "PM" }).to_owned(),
            Some('F') => format!("{year}-{month:02}-{day:02}"),
            Some('T') => format!("{hour:02}:{minute:02}:{second:02}"),
            Some('j') => format!("{:03}", days - days_before(year) + 1),
            Some('Z') => "UTC".to_owned(),
            Some('%') => "%".to_owned(),
            other => {
                let directive: String = other.into_iter().collect();
                return Err(Error::new(
                    ErrorKind::InvalidOperation,
                    format!("strftime_now: %{directive} is not supported"),
                ));
            }
        };
        out.push_str(&piece);
    }
    Ok(out)
}

fn index(names: &[&'static str], index: u64) -> &'static str {
    usize::try_from(index).ok().and_then(|index| names.get(index)).copied().unwrap_or_default()
}

/// Days from 1970 to the start of a year.
fn days_before(year: u64) -> u64 {
    let past = year - 1;
    365 * (year - 1970) + (past / 4 - past / 100 + past / 400) - (1969 / 4 - 1969 / 100 + 1969 / 400)
}

/// Year, month and day of a day since 1970, in the proleptic Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    let mut year = 1970 + days / 366;
    while days_before(year + 1) <= days {
        year += 1;
    }
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut day = days - days_before(year);
    let mut month = 1;
    for length in [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    (year, month, day + 1)
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
        assert!(strftime("%Q", Some(0)).is_err());
        assert!(strftime("%", Some(0)).is_err());
    }
}
