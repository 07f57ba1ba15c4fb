use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use chrono::{NaiveDate, TimeDelta};
use chrono_tz::Tz::{
    Africa__Casablanca as CASABLANCA, America__New_York as NEW_YORK, America__Sao_Paulo as SAO_PAULO,
    Australia__Lord_Howe as LORD_HOWE, Europe__Berlin as BERLIN, Pacific__Apia as APIA, UTC,
};
use proptest::prelude::*;

use super::*;

const DAILY: Interval = Interval::new(IntervalUnit::Day, NonZeroU16::MIN);
const WEEKLY: Interval = Interval::new(IntervalUnit::Week, NonZeroU16::MIN);
const ZONES: [Tz; 7] = [UTC, BERLIN, NEW_YORK, SAO_PAULO, LORD_HOWE, CASABLANCA, APIA];
const RULES: [MonthEnd; 3] = [MonthEnd::Clamp, MonthEnd::TwentyEighth, MonthEnd::LastDay];

fn t(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn every(count: u16, unit: IntervalUnit) -> Interval {
    Interval::new(unit, NonZeroU16::new(count).unwrap())
}

fn anchor(at: &str, zone: Tz) -> Anchor {
    Anchor {
        at: t(at),
        zone,
        month_end: MonthEnd::Clamp,
    }
}

/// Boundaries 0, 1, 2, ... as local dates of an anchor in UTC, with a space between.
#[track_caller]
fn check_dates(at: &str, month_end: MonthEnd, interval: Interval, expected: &str) {
    let anchor = Anchor {
        month_end,
        ..Anchor::utc(t(at))
    };
    let dates: Vec<String> = (0..)
        .zip(expected.split(' '))
        .map(|(index, _)| anchor.boundary(interval, index).unwrap().date_naive().to_string())
        .collect();
    assert_eq!(dates.join(" "), expected);
}

/// Boundaries 0, 1, 2, ... as local times with their offset and a space between, which must grow strictly.
#[track_caller]
fn check_times(at: &str, zone: Tz, interval: Interval, expected: &str) {
    let anchor = anchor(at, zone);
    let starts: Vec<_> = (0..)
        .zip(expected.split(' '))
        .map(|(index, _)| anchor.boundary(interval, index).unwrap())
        .collect();
    let shown: Vec<String> = starts
        .iter()
        .map(|start| start.with_timezone(&zone).fixed_offset().to_rfc3339())
        .collect();
    assert_eq!(shown.join(" "), expected);
    assert!(
        starts.is_sorted_by(|a, b| a < b),
        "not strictly growing: {starts:?}"
    );
}

#[track_caller]
fn check_message(error: &CalendarError, expected: &str) {
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_month_end_is_clamped_and_remembered() {
    use MonthEnd::Clamp;
    check_dates(
        "2024-01-31T09:00:00Z",
        Clamp,
        Interval::MONTHLY,
        "2024-01-31 2024-02-29 2024-03-31 2024-04-30 2024-05-31 2024-06-30 2024-07-31",
    );
    check_dates(
        "2023-01-30T00:00:00Z",
        Clamp,
        Interval::MONTHLY,
        "2023-01-30 2023-02-28 2023-03-30",
    );
    check_dates(
        "2023-01-29T00:00:00Z",
        Clamp,
        Interval::MONTHLY,
        "2023-01-29 2023-02-28 2023-03-29",
    );
    check_dates(
        "2023-02-28T00:00:00Z",
        Clamp,
        Interval::MONTHLY,
        "2023-02-28 2023-03-28 2023-04-28",
    );
    let quarterly = every(3, IntervalUnit::Month);
    check_dates(
        "2023-11-30T00:00:00Z",
        Clamp,
        quarterly,
        "2023-11-30 2024-02-29 2024-05-30 2024-08-30",
    );
}

#[test]
fn the_twenty_eighth_holds_from_the_second_period_on() {
    use MonthEnd::TwentyEighth;
    for day in ["29", "30", "31"] {
        let first = format!("2024-01-{day}");
        check_dates(
            &format!("{first}T09:00:00Z"),
            TwentyEighth,
            Interval::MONTHLY,
            &format!("{first} 2024-02-28 2024-03-28 2024-04-28"),
        );
    }
    check_dates(
        "2024-01-28T09:00:00Z",
        TwentyEighth,
        Interval::MONTHLY,
        "2024-01-28 2024-02-28",
    );
    check_dates(
        "2024-01-27T09:00:00Z",
        TwentyEighth,
        Interval::MONTHLY,
        "2024-01-27 2024-02-27",
    );
    check_dates(
        "2024-01-31T09:00:00Z",
        TwentyEighth,
        Interval::YEARLY,
        "2024-01-31 2025-01-28",
    );
}

#[test]
fn the_last_day_holds_from_the_second_period_on() {
    use MonthEnd::LastDay;
    for day in ["29", "30", "31"] {
        let first = format!("2024-01-{day}");
        check_dates(
            &format!("{first}T09:00:00Z"),
            LastDay,
            Interval::MONTHLY,
            &format!("{first} 2024-02-29 2024-03-31 2024-04-30 2024-05-31"),
        );
    }
    check_dates(
        "2023-02-28T09:00:00Z",
        LastDay,
        Interval::MONTHLY,
        "2023-02-28 2023-03-28",
    );
}

#[test]
fn month_end_rules_do_not_touch_days_and_weeks() {
    for month_end in RULES {
        check_dates(
            "2024-01-30T00:00:00Z",
            month_end,
            DAILY,
            "2024-01-30 2024-01-31 2024-02-01",
        );
        check_dates(
            "2024-01-31T00:00:00Z",
            month_end,
            WEEKLY,
            "2024-01-31 2024-02-07 2024-02-14",
        );
        let fortnight = every(2, IntervalUnit::Week);
        check_dates(
            "2024-01-31T00:00:00Z",
            month_end,
            fortnight,
            "2024-01-31 2024-02-14 2024-02-28",
        );
    }
}

#[test]
fn a_leap_day_returns_every_four_years() {
    let yearly = Interval::YEARLY;
    check_dates(
        "2024-02-29T00:00:00Z",
        MonthEnd::Clamp,
        yearly,
        "2024-02-29 2025-02-28 2026-02-28 2027-02-28 2028-02-29",
    );
    check_dates(
        "2024-02-29T00:00:00Z",
        MonthEnd::TwentyEighth,
        yearly,
        "2024-02-29 2025-02-28",
    );
    check_dates(
        "2024-02-29T00:00:00Z",
        MonthEnd::TwentyEighth,
        every(4, IntervalUnit::Year),
        "2024-02-29 2028-02-28",
    );
    // A century without a leap day, and one with it.
    check_dates(
        "1896-02-29T00:00:00Z",
        MonthEnd::LastDay,
        every(4, IntervalUnit::Year),
        "1896-02-29 1900-02-28",
    );
    check_dates(
        "1996-02-29T00:00:00Z",
        MonthEnd::LastDay,
        every(4, IntervalUnit::Year),
        "1996-02-29 2000-02-29",
    );
}

#[test]
fn the_day_of_the_month_is_the_zones() {
    // January 31 in Berlin, January 30 in UTC.
    check_times(
        "2024-01-30T23:30:00Z",
        BERLIN,
        Interval::MONTHLY,
        "2024-01-31T00:30:00+01:00 2024-02-29T00:30:00+01:00 2024-03-31T00:30:00+01:00",
    );
}

#[test]
fn a_skipped_local_time_moves_to_the_change() {
    check_times(
        "2024-03-30T01:30:00Z",
        BERLIN,
        DAILY,
        "2024-03-30T02:30:00+01:00 2024-03-31T03:00:00+02:00 2024-04-01T02:30:00+02:00",
    );
    // The first and the last local second that are skipped, and the neighbors that are not.
    for (at, moved) in [
        ("2024-03-30T00:59:59.999Z", "2024-03-31T01:59:59.999+01:00"),
        ("2024-03-30T01:00:00Z", "2024-03-31T03:00:00+02:00"),
        ("2024-03-30T01:59:59.999Z", "2024-03-31T03:00:00+02:00"),
        ("2024-03-30T02:00:00Z", "2024-03-31T03:00:00+02:00"),
    ] {
        let first = t(at).with_timezone(&BERLIN).fixed_offset().to_rfc3339();
        check_times(at, BERLIN, DAILY, &format!("{first} {moved}"));
    }
    check_times(
        "2024-02-10T07:15:00Z",
        NEW_YORK,
        Interval::MONTHLY,
        "2024-02-10T02:15:00-05:00 2024-03-10T03:00:00-04:00 2024-04-10T02:15:00-04:00",
    );
    // Midnight itself is skipped.
    check_times(
        "2018-11-03T03:00:00Z",
        SAO_PAULO,
        DAILY,
        "2018-11-03T00:00:00-03:00 2018-11-04T01:00:00-02:00 2018-11-05T00:00:00-02:00",
    );
    // Half an hour.
    check_times(
        "2024-10-04T15:40:00Z",
        LORD_HOWE,
        DAILY,
        "2024-10-05T02:10:00+10:30 2024-10-06T02:30:00+11:00 2024-10-07T02:10:00+11:00",
    );
    // After Ramadan.
    check_times(
        "2024-04-13T02:30:00Z",
        CASABLANCA,
        DAILY,
        "2024-04-13T02:30:00+00:00 2024-04-14T03:00:00+01:00 2024-04-15T02:30:00+01:00",
    );
}

#[test]
fn a_repeated_local_time_means_the_earlier() {
    check_times(
        "2024-10-26T00:30:00Z",
        BERLIN,
        DAILY,
        "2024-10-26T02:30:00+02:00 2024-10-27T02:30:00+02:00 2024-10-28T02:30:00+01:00",
    );
    check_times(
        "2024-10-03T05:30:00Z",
        NEW_YORK,
        Interval::MONTHLY,
        "2024-10-03T01:30:00-04:00 2024-11-03T01:30:00-04:00 2024-12-03T01:30:00-05:00",
    );
    // The repeated hour is the last of the day before.
    check_times(
        "2018-02-16T01:30:00Z",
        SAO_PAULO,
        DAILY,
        "2018-02-15T23:30:00-02:00 2018-02-16T23:30:00-02:00 2018-02-17T23:30:00-02:00",
    );
    check_times(
        "2024-04-05T14:45:00Z",
        LORD_HOWE,
        DAILY,
        "2024-04-06T01:45:00+11:00 2024-04-07T01:45:00+11:00 2024-04-08T01:45:00+10:30",
    );
    // Before Ramadan.
    check_times(
        "2024-03-09T01:30:00Z",
        CASABLANCA,
        DAILY,
        "2024-03-09T02:30:00+01:00 2024-03-10T02:30:00+01:00 2024-03-11T02:30:00+00:00",
    );
}

#[test]
fn an_anchor_at_the_second_of_two_equal_local_times_stays_there() {
    // A round trip through local time would start an hour early.
    check_times(
        "2024-11-03T06:30:00Z",
        NEW_YORK,
        DAILY,
        "2024-11-03T01:30:00-05:00 2024-11-04T01:30:00-05:00",
    );
    check_times(
        "2024-10-27T01:30:00.000000001Z",
        BERLIN,
        Interval::MONTHLY,
        "2024-10-27T02:30:00.000000001+01:00 2024-11-27T02:30:00.000000001+01:00",
    );
    // A year and a month later the same local time repeats again: the earlier one.
    check_times(
        "2020-11-01T06:30:00Z",
        NEW_YORK,
        every(6, IntervalUnit::Year),
        "2020-11-01T01:30:00-05:00 2026-11-01T01:30:00-04:00",
    );
    assert_eq!(
        add_days(t("2024-11-03T06:30:00Z"), 0, NEW_YORK),
        Ok(t("2024-11-03T06:30:00Z"))
    );
}

#[test]
fn a_skipped_day_is_an_empty_period_and_left_out() {
    let anchor = anchor("2011-12-27T10:00:00Z", APIA);
    let midnight_31 = t("2011-12-30T10:00:00Z");
    assert_eq!(
        anchor.period(DAILY, 3),
        Err(CalendarError::EmptyPeriod {
            start: midnight_31,
            end: midnight_31
        })
    );
    let mut taken = Vec::new();
    let (mut index, mut period) = (0, anchor.period(DAILY, 0).unwrap());
    for _ in 0..5 {
        let (next, following) = anchor.next_period(DAILY, index).unwrap();
        assert_eq!(following.start, period.end);
        taken.push(next);
        (index, period) = (next, following);
    }
    assert_eq!(taken, [1, 2, 4, 5, 6]);
    assert_eq!(anchor.next_period(DAILY, 3), anchor.next_period(DAILY, 2));
    assert_eq!(anchor.index_at(DAILY, midnight_31), Ok(4));
    assert_eq!(
        anchor.index_at(DAILY, midnight_31 - TimeDelta::nanoseconds(1)),
        Ok(2)
    );
    assert_eq!(add_days(anchor.at, 3, APIA), Ok(midnight_31));
    assert_eq!(add_days(anchor.at, 4, APIA), Ok(midnight_31));
}

#[test]
fn off_midnight_a_skipped_day_makes_a_short_period() {
    check_times(
        "2011-12-29T03:00:00Z",
        APIA,
        DAILY,
        "2011-12-28T17:00:00-10:00 2011-12-29T17:00:00-10:00 2011-12-31T00:00:00+14:00",
    );
    check_times(
        "2011-11-30T19:00:00Z",
        APIA,
        Interval::MONTHLY,
        "2011-11-30T09:00:00-10:00 2011-12-31T00:00:00+14:00 2012-01-30T09:00:00+14:00",
    );
}

#[test]
fn an_index_is_found_on_and_around_its_boundaries() {
    let anchor = anchor("2024-01-31T08:00:00.25Z", BERLIN);
    for (at, expected) in [
        ("2024-01-31T08:00:00.25Z", 0),
        ("2024-02-29T08:00:00.249999999Z", 0),
        ("2024-02-29T08:00:00.25Z", 1),
        ("2024-03-31T07:00:00.249Z", 1),
        ("2024-03-31T07:00:00.25Z", 2),
        ("2044-01-31T08:00:00.25Z", 240),
    ] {
        assert_eq!(anchor.index_at(Interval::MONTHLY, t(at)), Ok(expected), "{at}");
    }
}

#[test]
fn an_index_before_the_anchor_is_refused_first() {
    let anchor = Anchor::utc(DateTime::<Utc>::MAX_UTC);
    let instant = t("2024-01-31T08:00:00Z");
    assert_eq!(
        anchor.index_at(Interval::MONTHLY, instant),
        Err(CalendarError::BeforeAnchor {
            instant,
            anchor: anchor.at
        })
    );
    // It contains itself, but its period has no end.
    let no_end = CalendarError::OutOfRange {
        from: anchor.at,
        count: 1,
        unit: IntervalUnit::Month,
    };
    assert_eq!(anchor.index_at(Interval::MONTHLY, anchor.at), Err(no_end));
}

#[test]
fn dates_out_of_range_are_errors() {
    let ends = [
        DateTime::<Utc>::MIN_UTC,
        DateTime::<Utc>::MAX_UTC,
        t("2024-01-31T08:00:00Z"),
    ];
    let units = [
        IntervalUnit::Day,
        IntervalUnit::Week,
        IntervalUnit::Month,
        IntervalUnit::Year,
    ];
    for at in ends {
        for zone in ZONES {
            for month_end in RULES {
                for (unit, count) in units.into_iter().flat_map(|unit| [(unit, 1), (unit, u16::MAX)]) {
                    let (anchor, interval) = (Anchor { at, zone, month_end }, every(count, unit));
                    let out_of_range = |steps: u64| {
                        let count = steps * u64::from(count);
                        Err(CalendarError::OutOfRange {
                            from: at,
                            count,
                            unit,
                        })
                    };
                    assert_eq!(anchor.boundary(interval, 0), Ok(at));
                    assert_eq!(
                        anchor.boundary(interval, u32::MAX),
                        out_of_range(u64::from(u32::MAX))
                    );
                    assert!(anchor.period(interval, u32::MAX).is_err());
                    assert!(anchor.next_period(interval, u32::MAX).is_err());
                    for instant in ends {
                        // Not a panic, and not forever.
                        let _ = anchor.index_at(interval, instant);
                        let _ = days_left(at, instant);
                    }
                }
            }
            assert!(add_days(at, u32::MAX, zone).is_err());
        }
    }
    let year_262142 = Anchor::utc(DateTime::<Utc>::MAX_UTC - TimeDelta::days(400));
    assert!(year_262142.boundary(Interval::YEARLY, 1).is_ok());
    assert!(year_262142.boundary(Interval::YEARLY, 2).is_err());
}

#[test]
fn a_period_is_half_open_and_never_empty() {
    let (start, end) = (t("2024-01-01T00:00:00Z"), t("2024-01-01T00:00:00.000001Z"));
    let period = Period::new(start, end).unwrap();
    assert!(period.contains(start) && !period.contains(end));
    assert!(!period.contains(start - TimeDelta::nanoseconds(1)));
    assert!(period.contains(end - TimeDelta::nanoseconds(1)));
    assert_eq!(period.microseconds(), 1);
    assert_eq!(
        Period::new(start, start),
        Err(CalendarError::EmptyPeriod { start, end: start })
    );
    assert_eq!(
        Period::new(end, start),
        Err(CalendarError::EmptyPeriod {
            start: end,
            end: start
        })
    );

    let all = Period {
        start: DateTime::<Utc>::MIN_UTC,
        end: DateTime::<Utc>::MAX_UTC,
    };
    assert_eq!(all.microseconds(), i64::MAX);
    assert_eq!(
        Period {
            start: all.end,
            end: all.start
        }
        .microseconds(),
        i64::MIN
    );
}

#[test]
fn days_are_added_on_the_local_clock() {
    #[track_caller]
    fn check(at: &str, days: u32, zone: Tz, expected: &str) {
        assert_eq!(add_days(t(at), days, zone).unwrap(), t(expected));
    }
    check("2024-03-30T12:00:00Z", 1, UTC, "2024-03-31T12:00:00Z");
    check("2024-03-30T12:00:00Z", 1, BERLIN, "2024-03-31T11:00:00Z");
    check("2024-10-26T12:00:00Z", 1, BERLIN, "2024-10-27T13:00:00Z");
    check("2024-03-30T01:30:00Z", 1, BERLIN, "2024-03-31T01:00:00Z");
    check("2024-10-26T00:30:00Z", 1, BERLIN, "2024-10-27T00:30:00Z");
    check("2024-02-28T12:00:00Z", 2, NEW_YORK, "2024-03-01T12:00:00Z");
}

#[test]
fn a_started_day_is_left_as_a_whole() {
    let end = t("2024-05-10T00:00:00Z");
    let day = TimeDelta::days(1);
    let tick = TimeDelta::nanoseconds(1);
    for (left, expected) in [
        (-day, 0),
        (-tick, 0),
        (TimeDelta::zero(), 0),
        (tick, 1),
        (day - tick, 1),
        (day, 1),
        (day + tick, 2),
        (day * 14, 14),
        (day * 14 + tick, 15),
    ] {
        assert_eq!(days_left(end - left, end), expected, "{left}");
    }
    assert_eq!(
        days_left(DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC),
        191_491_529
    );
}

#[test]
fn intervals_read_as_a_customer_says_them() {
    assert_eq!(Interval::MONTHLY.to_string(), "every month");
    assert_eq!(Interval::YEARLY.to_string(), "every year");
    assert_eq!(DAILY.to_string(), "every day");
    assert_eq!(every(2, IntervalUnit::Week).to_string(), "every 2 weeks");
}

#[test]
fn unknown_zones_are_errors() {
    for name in [
        "",
        "utc",
        "Berlin",
        "europe/berlin",
        " UTC",
        "UTC ",
        "+02:00",
        "Europe/Berlin\0",
    ] {
        assert_eq!(
            parse_zone(name),
            Err(CalendarError::UnknownZone { zone: name.into() }),
            "{name}"
        );
    }
    for zone in chrono_tz::TZ_VARIANTS {
        assert_eq!(parse_zone(zone.name()), Ok(zone));
    }
}

#[test]
fn messages_say_what_came_and_what_was_expected() {
    check_message(
        &parse_zone("UTC\nforged line").unwrap_err(),
        r"unknown time zone `UTC\nforged line`: expected a name of the IANA database, with its upper and lower case, such as `Europe/Berlin` or `UTC`",
    );
    let at = t("2024-01-31T08:00:00Z");
    check_message(
        &CalendarError::BeforeAnchor {
            instant: t("2023-01-01T00:00:00Z"),
            anchor: at,
        },
        "2023-01-01T00:00:00Z is before the billing anchor 2024-01-31T08:00:00Z, so no period contains it",
    );
    check_message(
        &CalendarError::EmptyPeriod { start: at, end: at },
        "the period from 2024-01-31T08:00:00Z to 2024-01-31T08:00:00Z is empty: its end must be after its start",
    );
    check_message(
        &add_days(at, u32::MAX, UTC).unwrap_err(),
        "4294967295 days from 2024-01-31T08:00:00Z is out of range: years go from -262143 to 262142",
    );
    check_message(
        &Anchor::utc(DateTime::<Utc>::MAX_UTC)
            .boundary(Interval::MONTHLY, 1)
            .unwrap_err(),
        "1 month from +262142-12-31T23:59:59.999999999Z is out of range: years go from -262143 to 262142",
    );
}

/// The length of a month, not by way of chrono.
fn month_length(year: i32, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The rule, slowly and from UTC to local only: the first instant whose wall clock shows `local` or later.
fn first_instant(local: NaiveDateTime, zone: Tz) -> DateTime<Utc> {
    let shown = |at: DateTime<Utc>| at.with_timezone(&zone).naive_local();
    let near = local.and_utc();
    // Quarters of an hour in which the clock could first have shown it, since some zones repeat half an hour; offsets go from
    // -26 to +26 hours at the most.
    let quarter = |count: i64| near + TimeDelta::minutes(15 * count);
    let first = (-27 * 4..=27 * 4)
        .find(|count| shown(quarter(*count)) >= local)
        .unwrap();
    let (mut before, mut at) = (quarter(first - 1), quarter(first));
    while at - before > TimeDelta::nanoseconds(1) {
        let middle = before + (at - before) / 2;
        if shown(middle) >= local {
            at = middle
        } else {
            before = middle
        }
    }
    at
}

/// Every anchor day, 480 months, every zone and rule: the day is the rule's, and the periods tile.
#[test]
fn periods_tile_and_the_month_end_never_drifts() {
    for zone in ZONES {
        for month_end in RULES {
            for day in 1..=31 {
                // 02:30 exists twice or not at all on some of these days in most of the zones.
                let first = NaiveDate::from_ymd_opt(1992, 1, day)
                    .unwrap()
                    .and_hms_milli_opt(2, 30, 0, 7);
                let local = first.unwrap();
                let anchor = Anchor {
                    at: first_instant(local, zone),
                    zone,
                    month_end,
                };
                let mut start = anchor.at;
                for index in 1..=480 {
                    let end = anchor.boundary(Interval::MONTHLY, index).unwrap();
                    assert!(start < end, "{anchor:?} {index}");
                    start = end;

                    let months = i32::try_from(index).unwrap();
                    let (year, month) = (1992 + months / 12, index % 12 + 1);
                    let last = month_length(year, month);
                    let expected = match month_end {
                        MonthEnd::TwentyEighth if day > 28 => 28,
                        MonthEnd::LastDay if day > 28 => last,
                        MonthEnd::Clamp | MonthEnd::TwentyEighth | MonthEnd::LastDay => day.min(last),
                    };
                    let found = end.with_timezone(&zone).naive_local();
                    let wanted = NaiveDate::from_ymd_opt(year, month, expected)
                        .unwrap()
                        .and_time(local.time());
                    // Equal, unless the clock skips it: then the first that it shows.
                    assert!(
                        found == wanted || (found > wanted && end == first_instant(wanted, zone)),
                        "{anchor:?} {index}: {found}"
                    );
                    // The earlier of two: these zones turn the clock back by an hour, or half of one.
                    for minutes in [30, 60] {
                        let earlier = (end - TimeDelta::minutes(minutes)).with_timezone(&zone);
                        assert!(
                            earlier.naive_local() != wanted,
                            "{anchor:?} {index}: not the first"
                        );
                    }
                }
            }
        }
    }
}

/// An instant between 1900 and 2100, often close to a clock change of `zone`, to the nanosecond.
fn instants(zone: Tz) -> impl Strategy<Value = DateTime<Utc>> {
    let seconds = -2_208_988_800_i64..4_102_444_800;
    (
        seconds,
        0_u32..1_000_000_000,
        prop::bool::ANY,
        -3_i64..=1,
        -5_400_i64..5_400,
    )
        .prop_map(move |(second, nanosecond, close, days, seconds)| {
            let offset = |second: i64| {
                let at = DateTime::from_timestamp(second, 0).unwrap();
                at.with_timezone(&zone).offset().fix().local_minus_utc()
            };
            let mut near = second;
            if close {
                // The change within the next half year, if there is one.
                let (mut before, mut after) = (second, second + 180 * 86_400);
                while offset(before) != offset(after) && after - before > 1 {
                    let middle = before + (after - before) / 2;
                    if offset(middle) == offset(before) {
                        before = middle
                    } else {
                        after = middle
                    }
                }
                // Whole days before it too, so that a later boundary is the one close to it.
                near = after + days * 86_400 + seconds;
            }
            DateTime::from_timestamp(near, nanosecond).unwrap()
        })
}

fn anchors() -> impl Strategy<Value = Anchor> {
    (
        prop::sample::select(&chrono_tz::TZ_VARIANTS[..]),
        prop::sample::select(&RULES[..]),
    )
        .prop_flat_map(|(zone, month_end)| instants(zone).prop_map(move |at| Anchor { at, zone, month_end }))
}

/// Few, so that a clock change close to the anchor is close to the result too, or many.
fn some_days() -> impl Strategy<Value = u32> {
    prop_oneof![1_u32..=3, 4_u32..400]
}

fn intervals() -> impl Strategy<Value = Interval> {
    let units = [
        IntervalUnit::Day,
        IntervalUnit::Week,
        IntervalUnit::Month,
        IntervalUnit::Year,
    ];
    (prop::sample::select(units.to_vec()), 1_u16..=13).prop_map(|(unit, count)| every(count, unit))
}

proptest! {
    /// Any zone, close to clock changes: a boundary is the first instant that shows its local time.
    #[test]
    fn a_boundary_is_the_first_instant_at_its_local_time(anchor in anchors(), days in some_days()) {
        let wanted = anchor.at.with_timezone(&anchor.zone).naive_local() + TimeDelta::days(days.into());
        prop_assert_eq!(anchor.boundary(DAILY, days), Ok(first_instant(wanted, anchor.zone)));
    }

    /// Taken one from the other, periods tile; each contains its ends' instants and nothing of the next.
    #[test]
    fn what_next_period_yields_tiles(anchor in anchors(), interval in intervals(), skip in 0_u32..100) {
        let (mut index, mut period) = anchor.next_period(interval, skip).unwrap();
        for _ in 0..12 {
            prop_assert_eq!(anchor.period(interval, index), Ok(period));
            prop_assert!(period.start < period.end);
            prop_assert_eq!(anchor.index_at(interval, period.start), Ok(index));
            let last = period.end - TimeDelta::nanoseconds(1);
            prop_assert_eq!(anchor.index_at(interval, last), Ok(index));
            let (next, following) = anchor.next_period(interval, index).unwrap();
            prop_assert!(next > index);
            prop_assert_eq!(following.start, period.end);
            (index, period) = (next, following);
        }
    }

    /// Whatever the instant, the period at its index contains it.
    #[test]
    fn the_period_at_an_index_contains_the_instant(
        anchor in anchors(),
        interval in intervals(),
        later in 0_i64..4_000_000_000_000_000,
    ) {
        let instant = anchor.at + TimeDelta::microseconds(later);
        let index = anchor.index_at(interval, instant).unwrap();
        prop_assert!(anchor.period(interval, index).unwrap().contains(instant));
    }

    /// The later of two instants is never the earlier after the same number of days.
    #[test]
    fn adding_days_keeps_the_order(anchor in anchors(), apart in 1_i64..200_000, days in some_days()) {
        let (early, late) = (anchor.at, anchor.at + TimeDelta::seconds(apart));
        let wall = |at: DateTime<Utc>| at.with_timezone(&anchor.zone).naive_local();
        // Where the clock goes back between the two, the later instant has the earlier wall-clock time.
        prop_assume!(wall(early) <= wall(late));
        let later = |at| add_days(at, days, anchor.zone).unwrap();
        prop_assert!(early < later(early) && later(early) <= later(late));
    }

    #[test]
    fn days_left_is_the_smallest_number_of_days_that_reaches(later in 1_i64..4_000_000_000_000_000) {
        let now = t("2024-05-10T00:00:00Z");
        let end = now + TimeDelta::microseconds(later);
        let days = TimeDelta::days(days_left(now, end).into());
        prop_assert!(now + days >= end && now + days - TimeDelta::days(1) < end);
    }
}

#[cfg(feature = "serde")]
mod json {
    use super::*;

    #[track_caller]
    fn check<T>(value: T, json: &str)
    where
        T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + fmt::Debug,
    {
        assert_eq!(serde_json::to_string(&value).unwrap(), json);
        assert_eq!(serde_json::from_str::<T>(json).unwrap(), value);
    }

    #[track_caller]
    fn check_refused<T: serde::de::DeserializeOwned + fmt::Debug>(json: &str, because: &str) {
        let message = serde_json::from_str::<T>(json).unwrap_err().to_string();
        assert!(message.contains(because), "{message}");
    }

    #[test]
    fn shapes_are_frozen() {
        check(every(3, IntervalUnit::Month), r#"{"unit":"month","count":3}"#);
        check(
            Period::new(t("2024-01-01T00:00:00Z"), t("2024-02-01T00:00:00.5Z")).unwrap(),
            r#"{"start":"2024-01-01T00:00:00Z","end":"2024-02-01T00:00:00.500Z"}"#,
        );
        check(
            Anchor {
                at: t("2024-01-31T09:00:00Z"),
                zone: LORD_HOWE,
                month_end: MonthEnd::TwentyEighth,
            },
            r#"{"at":"2024-01-31T09:00:00Z","zone":"Australia/Lord_Howe","month_end":"twenty_eighth"}"#,
        );
        for (unit, json) in [
            (IntervalUnit::Day, r#""day""#),
            (IntervalUnit::Week, r#""week""#),
            (IntervalUnit::Month, r#""month""#),
            (IntervalUnit::Year, r#""year""#),
        ] {
            check(unit, json);
        }
        check(MonthEnd::Clamp, r#""clamp""#);
        check(MonthEnd::LastDay, r#""last_day""#);
    }

    #[test]
    fn a_left_out_month_end_is_the_default() {
        let anchor: Anchor =
            serde_json::from_str(r#"{"at":"2024-01-31T10:00:00+01:00","zone":"UTC"}"#).unwrap();
        assert_eq!(anchor, Anchor::utc(t("2024-01-31T09:00:00Z")));
        assert_eq!(anchor.month_end, MonthEnd::default());
    }

    #[test]
    fn wrong_input_is_refused() {
        check_refused::<Interval>(r#"{"unit":"month","count":0}"#, "nonzero");
        check_refused::<Interval>(r#"{"unit":"month","count":1,"x":1}"#, "unknown field `x`");
        check_refused::<Anchor>(
            r#"{"at":"2024-01-31T09:00:00Z","zone":"Mars/Olympus"}"#,
            "Mars/Olympus",
        );
        check_refused::<Anchor>(r#"{"at":"2024-01-31T09:00:00Z"}"#, "missing field `zone`");
        check_refused::<Anchor>(
            r#"{"at":"2024-01-31T09:00:00Z","zone":"UTC","x":1}"#,
            "unknown field `x`",
        );
        let twice = r#""2024-01-01T00:00:00Z""#;
        check_refused::<Period>(
            &format!(r#"{{"start":{twice},"end":{twice}}}"#),
            "its end must be after its start",
        );
        check_refused::<Period>(
            &format!(r#"{{"start":{twice},"end":{twice},"x":1}}"#),
            "unknown field `x`",
        );
    }

    proptest! {
        #[test]
        fn values_come_back_as_they_went(anchor in anchors(), interval in intervals(), index in 0_u32..100) {
            let json = serde_json::to_string(&anchor).unwrap();
            prop_assert_eq!(serde_json::from_str::<Anchor>(&json).unwrap(), anchor);
            let json = serde_json::to_string(&interval).unwrap();
            prop_assert_eq!(serde_json::from_str::<Interval>(&json).unwrap(), interval);
            let (_, period) = anchor.next_period(interval, index).unwrap();
            let json = serde_json::to_string(&period).unwrap();
            prop_assert_eq!(serde_json::from_str::<Period>(&json).unwrap(), period);
        }
    }
}
