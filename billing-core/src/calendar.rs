//! Billing periods: where they start, where they end, and which one an instant falls into.
//!
//! Every instant is UTC and comes in as an argument; every interval is half-open, `start <= t < end`. A
//! calendar step is taken on the wall clock of a time zone and only then turned back into an instant, so a
//! monthly period keeps its local time of day through a clock change.
//!
//! Three rules hold everywhere here:
//!
//! - **From the anchor.** Boundary *k* is the anchor plus *k* intervals, never the boundary before it plus
//!   one, so the 31st gives Jan 31, Feb 29, Mar 31 and does not drift to the 29th.
//! - **The first instant at or past the wall-clock time.** A local time that a clock change skips becomes
//!   the instant of the change; one that it repeats means the earlier.
//! - **Periods tile.** No gap, no overlap, strictly growing: see [`Anchor::next_period`].
//!
//! The zone rules are those compiled in by `chrono-tz`, which list clock changes up to the end of 2099; after
//! its last listed change a zone keeps its offset. An update of these rules can move a boundary that lies in
//! the future, so a period that has begun is stored and not computed again.

use alloc::boxed::Box;
use core::fmt;
use core::num::NonZeroU16;

use chrono::{
    DateTime, Datelike, Days, MappedLocalTime, Months, NaiveDateTime, NaiveTime, Offset, TimeZone, Utc,
};
use chrono_tz::{GapInfo, Tz};

/// The calendar unit that an interval counts.
///
/// # JSON
///
/// `"day"`, `"week"`, `"month"`, `"year"`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a setting: adapters must fail to compile when one is added"
)]
pub enum IntervalUnit {
    /// A day of the zone's calendar: 23 or 25 hours long where the clock changes.
    Day,
    /// Seven such days.
    Week,
    /// A month of the zone's calendar, 28 to 31 days.
    Month,
    /// Twelve months.
    Year,
}

impl fmt::Display for IntervalUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        })
    }
}

/// How long a billing period lasts, in calendar units.
///
/// Compared as written: 12 months and 1 year make the same periods but are not equal. There is no order,
/// since the length of a month depends on the month.
///
/// # Example: as a customer reads it
///
/// ```
/// use billing_core::calendar::{Interval, IntervalUnit};
/// use core::num::NonZeroU16;
///
/// let quarterly = Interval::new(IntervalUnit::Month, NonZeroU16::new(3).unwrap());
/// assert_eq!(quarterly.to_string(), "every 3 months");
/// assert_eq!(Interval::YEARLY.to_string(), "every year");
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct Interval {
    /// The unit counted.
    pub unit: IntervalUnit,
    /// How many units make one period. Never 0, which would make every period empty.
    pub count: NonZeroU16,
}

impl Interval {
    /// Every month.
    pub const MONTHLY: Self = Self::new(IntervalUnit::Month, NonZeroU16::MIN);
    /// Every year.
    pub const YEARLY: Self = Self::new(IntervalUnit::Year, NonZeroU16::MIN);

    /// Makes an interval of `count` units.
    #[must_use]
    pub const fn new(unit: IntervalUnit, count: NonZeroU16) -> Self {
        Self { unit, count }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            NonZeroU16::MIN => write!(f, "every {}", self.unit),
            count => write!(f, "every {count} {}{}", self.unit, plural(count.get().into())),
        }
    }
}

/// Where a monthly or yearly boundary falls when the anchor is on day 29, 30 or 31.
///
/// An anchor on day 1 to 28, and an interval of days or weeks, give the same boundaries under each rule. The
/// first period always starts at the anchor itself.
///
/// # Source
///
/// DESIGN.md, section 3, row "day 29-31 anchors". The default is what Stripe documents: an anchor on January
/// 31 bills on February 28 or 29, March 31, April 30
/// (<https://docs.stripe.com/billing/subscriptions/billing-cycle>). The others let a company that moves to us
/// keep its billing days.
///
/// # JSON
///
/// `"clamp"`, `"twenty_eighth"`, `"last_day"`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a setting: adapters must fail to compile when one is added"
)]
pub enum MonthEnd {
    /// The anchor's day, or the last day of a month that is too short for it: Jan 30, Feb 28, Mar 30.
    #[default]
    Clamp,
    /// The 28th in every month after the first: Jan 30, Feb 28, Mar 28 (Paystack).
    TwentyEighth,
    /// The last day of every month after the first: Jan 30, Feb 28, Mar 31.
    LastDay,
}

/// A half-open stretch of time, `start <= t < end`.
///
/// The fields are public, so a period written as a literal can be empty; [`Period::new`] refuses that, and so
/// does reading one from JSON.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields, try_from = "PeriodFields")
)]
pub struct Period {
    /// The first instant inside.
    pub start: DateTime<Utc>,
    /// The first instant after, which is the next period's `start`.
    pub end: DateTime<Utc>,
}

impl Period {
    /// Makes the period from `start` up to, and without, `end`.
    ///
    /// # Errors
    ///
    /// [`CalendarError::EmptyPeriod`] when `end` is not after `start`.
    pub fn new(start: DateTime<Utc>, end: DateTime<Utc>) -> Result<Self, CalendarError> {
        if start < end {
            Ok(Self { start, end })
        } else {
            Err(CalendarError::EmptyPeriod { start, end })
        }
    }

    /// Says whether `t` lies inside: `start` does, `end` does not.
    #[must_use]
    pub fn contains(&self, t: DateTime<Utc>) -> bool {
        self.start <= t && t < self.end
    }

    /// The length as elapsed time, clock changes included: the denominator of a proration by second.
    ///
    /// # Units
    ///
    /// Microseconds, the finest step that both stores keep; start and end are cut to it. A length beyond
    /// `i64`, some 292,000 years, is held at its bound.
    ///
    /// # Example: the day on which the clock goes forward
    ///
    /// ```
    /// use billing_core::calendar::Period;
    ///
    /// // March 31 in Berlin.
    /// let start = "2024-03-30T23:00:00Z".parse().unwrap();
    /// let end = "2024-03-31T22:00:00Z".parse().unwrap();
    /// assert_eq!(Period::new(start, end)?.microseconds(), 23 * 3_600 * 1_000_000);
    /// # Ok::<(), billing_core::calendar::CalendarError>(())
    /// ```
    #[must_use]
    pub fn microseconds(&self) -> i64 {
        microseconds(self.start, self.end)
    }
}

/// What [`Period`] is read from, before its check.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
struct PeriodFields {
    start: DateTime<Utc>,
    end: DateTime<Utc>,
}

#[cfg(feature = "serde")]
impl TryFrom<PeriodFields> for Period {
    type Error = CalendarError;

    fn try_from(fields: PeriodFields) -> Result<Self, CalendarError> {
        Self::new(fields.start, fields.end)
    }
}

/// What all periods of a subscription are counted from.
///
/// The interval is not part of it, so a change from monthly to yearly can keep the anchor.
///
/// # Example: the 31st is remembered through February
///
/// ```
/// use billing_core::calendar::{Anchor, Interval};
///
/// let anchor = Anchor::utc("2024-01-31T09:00:00Z".parse().unwrap());
/// let dates: Vec<_> = (0..4)
///     .map(|k| anchor.boundary(Interval::MONTHLY, k).map(|t| t.date_naive().to_string()))
///     .collect::<Result<_, _>>()?;
/// assert_eq!(dates, ["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30"]);
/// # Ok::<(), billing_core::calendar::CalendarError>(())
/// ```
///
/// # Example: a day of the zone, not of UTC
///
/// ```
/// use billing_core::calendar::{Anchor, Interval, MonthEnd, parse_zone};
///
/// // In Lagos this is already January 31.
/// let at = "2025-01-30T23:30:00Z".parse().unwrap();
/// let lagos = Anchor { at, zone: parse_zone("Africa/Lagos")?, month_end: MonthEnd::Clamp };
/// assert_eq!(lagos.boundary(Interval::MONTHLY, 3)?.to_rfc3339(), "2025-04-29T23:30:00+00:00");
/// assert_eq!(Anchor::utc(at).boundary(Interval::MONTHLY, 3)?.to_rfc3339(), "2025-04-30T23:30:00+00:00");
/// # Ok::<(), billing_core::calendar::CalendarError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct Anchor {
    /// The start of period 0, to whatever fraction of a second it has.
    pub at: DateTime<Utc>,
    /// Whose days and months are counted. In JSON its IANA name; an unknown one is refused.
    pub zone: Tz,
    /// What day 29, 30 or 31 means in other months. In JSON it may be left out for the default.
    #[cfg_attr(feature = "serde", serde(default))]
    pub month_end: MonthEnd,
}

impl Anchor {
    /// Makes an anchor that counts days and months of UTC, with the default month end.
    #[must_use]
    pub fn utc(at: DateTime<Utc>) -> Self {
        Self {
            at,
            zone: Tz::UTC,
            month_end: MonthEnd::Clamp,
        }
    }

    /// The start of period `index`: the anchor plus `index` intervals, always counted from the anchor.
    ///
    /// Boundary 0 is [`Anchor::at`] exactly, also where that is the second of two equal local times.
    /// Boundaries never go back, and two are equal only where a zone skipped a whole day; see
    /// [`Anchor::next_period`]. (Tried with daily periods around all 65,118 clock changes that `chrono-tz`
    /// 0.10.4 lists from 1846 to 2099.)
    ///
    /// # Errors
    ///
    /// [`CalendarError::OutOfRange`].
    ///
    /// # Source
    ///
    /// DESIGN.md, section 3, "Time". RFC 5545, section 3.3.5, agrees on a repeated local time but moves a
    /// skipped 02:30 to 03:30, that is, by the length of the gap. We take 03:00, the first local time that
    /// exists, so that of two anchors the one earlier on the wall clock also renews no later.
    ///
    /// # Example: a local time that the clock change skips
    ///
    /// ```
    /// use billing_core::calendar::{Anchor, Interval, MonthEnd, parse_zone};
    ///
    /// let zone = parse_zone("Europe/Berlin")?;
    /// // 02:30 on February 29; on March 31 the clock goes from 02:00 to 03:00.
    /// let at = "2024-02-29T01:30:00Z".parse().unwrap();
    /// let anchor = Anchor { at, zone, month_end: MonthEnd::LastDay };
    /// let march = anchor.boundary(Interval::MONTHLY, 1)?.with_timezone(&zone);
    /// assert_eq!(march.to_rfc3339(), "2024-03-31T03:00:00+02:00");
    /// let april = anchor.boundary(Interval::MONTHLY, 2)?.with_timezone(&zone);
    /// assert_eq!(april.to_rfc3339(), "2024-04-30T02:30:00+02:00");
    /// # Ok::<(), billing_core::calendar::CalendarError>(())
    /// ```
    pub fn boundary(&self, interval: Interval, index: u32) -> Result<DateTime<Utc>, CalendarError> {
        self.boundary_at(interval, u64::from(index))
    }

    /// Period `index`: from boundary `index` to boundary `index + 1`.
    ///
    /// # Errors
    ///
    /// In order: [`CalendarError::OutOfRange`], then [`CalendarError::EmptyPeriod`] for a daily period on a
    /// day that the zone skipped whole.
    pub fn period(&self, interval: Interval, index: u32) -> Result<Period, CalendarError> {
        let index = u64::from(index);
        Period::new(
            self.boundary_at(interval, index)?,
            self.boundary_at(interval, index.saturating_add(1))?,
        )
    }

    /// The index and the period that follow period `after`: the next that is not empty.
    ///
    /// It starts exactly where period `after` ends, so periods taken one from the other tile.
    ///
    /// # Errors
    ///
    /// [`CalendarError::OutOfRange`]. Never [`CalendarError::EmptyPeriod`].
    ///
    /// # Example: Samoa had no December 30 in 2011
    ///
    /// Nor had Fakaofo; Kiritimati and Kanton skipped a day in 1994, Kwajalein in 1993. Only an anchor at
    /// local midnight finds the day empty. At any other time of day, the period that would start on it starts
    /// with the day after and is shorter.
    ///
    /// ```
    /// use billing_core::calendar::{Anchor, CalendarError, Interval, IntervalUnit, MonthEnd, parse_zone};
    /// use core::num::NonZeroU16;
    ///
    /// let daily = Interval::new(IntervalUnit::Day, NonZeroU16::MIN);
    /// let zone = parse_zone("Pacific/Apia")?;
    /// // Midnight of December 29; a day later the clock went straight to midnight of the 31st.
    /// let anchor = Anchor { at: "2011-12-29T10:00:00Z".parse().unwrap(), zone, month_end: MonthEnd::Clamp };
    ///
    /// assert!(matches!(anchor.period(daily, 1), Err(CalendarError::EmptyPeriod { .. })));
    /// let (index, period) = anchor.next_period(daily, 0)?;
    /// assert_eq!(index, 2);
    /// assert_eq!(period.start, anchor.period(daily, 0)?.end);
    /// assert_eq!(period.start.with_timezone(&zone).to_rfc3339(), "2011-12-31T00:00:00+14:00");
    /// # Ok::<(), billing_core::calendar::CalendarError>(())
    /// ```
    pub fn next_period(&self, interval: Interval, after: u32) -> Result<(u32, Period), CalendarError> {
        let mut index = after;
        let mut start = self.boundary_at(interval, u64::from(after).saturating_add(1))?;
        loop {
            // Even daily periods leave the range of dates long before `u32` ends.
            index = index
                .checked_add(1)
                .ok_or_else(|| self.out_of_range(interval, u64::from(index)))?;
            let end = self.boundary_at(interval, u64::from(index).saturating_add(1))?;
            if start < end {
                return Ok((index, Period { start, end }));
            }
            start = end;
        }
    }

    /// The index of the period that contains `t`.
    ///
    /// # Errors
    ///
    /// In order: [`CalendarError::BeforeAnchor`], then [`CalendarError::OutOfRange`] when that period has no
    /// end that a date can say.
    ///
    /// # Example: a boundary belongs to the period that it opens
    ///
    /// ```
    /// use billing_core::calendar::{Anchor, Interval};
    ///
    /// let anchor = Anchor::utc("2024-01-31T09:00:00Z".parse().unwrap());
    /// assert_eq!(anchor.index_at(Interval::MONTHLY, "2024-02-29T08:59:59Z".parse().unwrap())?, 0);
    /// assert_eq!(anchor.index_at(Interval::MONTHLY, "2024-02-29T09:00:00Z".parse().unwrap())?, 1);
    /// # Ok::<(), billing_core::calendar::CalendarError>(())
    /// ```
    pub fn index_at(&self, interval: Interval, t: DateTime<Utc>) -> Result<u32, CalendarError> {
        if t < self.at {
            return Err(CalendarError::BeforeAnchor {
                instant: t,
                anchor: self.at,
            });
        }
        if to_local(self.at, self.zone).is_none() {
            // No boundary after this anchor has a date, so the first loop would walk all the way down.
            return Err(self.out_of_range(interval, 1));
        }
        let begun = |index| matches!(self.boundary_at(interval, index), Ok(start) if start <= t);
        // The estimate counts dates only, so time of day, zone and month end can put it off by one or two;
        // the loops walk that distance. Period 0 has begun, so the first one ends.
        let mut index = self.estimate(interval, t);
        while index > 0 && !begun(index) {
            index = index.saturating_sub(1);
        }
        // Past an empty period too: the one that contains `t` is the last that has begun.
        while self.boundary_at(interval, index.saturating_add(1))? <= t {
            index = index.saturating_add(1);
        }
        u32::try_from(index).map_err(|_| self.out_of_range(interval, index))
    }

    /// [`Anchor::boundary`], with room for the end of the last period that a `u32` can name.
    fn boundary_at(&self, interval: Interval, index: u64) -> Result<DateTime<Utc>, CalendarError> {
        if index == 0 {
            // Not through local time and back, which would turn the second of two equal ones into the first.
            return Ok(self.at);
        }
        self.step(interval, index)
            .ok_or_else(|| self.out_of_range(interval, index))
    }

    /// The anchor plus `index` intervals; nothing when no date can say it.
    fn step(&self, interval: Interval, index: u64) -> Option<DateTime<Utc>> {
        let units = index.checked_mul(u64::from(interval.count.get()))?;
        let local = to_local(self.at, self.zone)?;
        let stepped = match interval.unit {
            IntervalUnit::Day => local.checked_add_days(Days::new(units))?,
            IntervalUnit::Week => local.checked_add_days(Days::new(units.checked_mul(7)?))?,
            IntervalUnit::Month => self.month_step(local, units)?,
            IntervalUnit::Year => self.month_step(local, units.checked_mul(12)?)?,
        };
        first_at_or_past(stepped, self.zone)
    }

    /// `local` plus `months`, on the day that the month-end rule names.
    fn month_step(&self, local: NaiveDateTime, months: u64) -> Option<NaiveDateTime> {
        // Clamps to the last day of a short month by itself.
        let clamped = local.checked_add_months(Months::new(u32::try_from(months).ok()?))?;
        if local.day() <= 28 {
            return Some(clamped);
        }
        match self.month_end {
            MonthEnd::Clamp => Some(clamped),
            MonthEnd::TwentyEighth => clamped.with_day(28),
            MonthEnd::LastDay => clamped.with_day(u32::from(clamped.num_days_in_month())),
        }
    }

    /// About the index of the period that contains `t`, from the UTC dates alone.
    fn estimate(&self, interval: Interval, t: DateTime<Utc>) -> u64 {
        let (from, to) = (self.at.date_naive(), t.date_naive());
        let days = to.signed_duration_since(from).num_days();
        let years = i64::from(to.year()).saturating_sub(i64::from(from.year()));
        let months = years
            .saturating_mul(12)
            .saturating_add(i64::from(to.month()))
            .saturating_sub(i64::from(from.month()));
        let (units, unit_size) = match interval.unit {
            IntervalUnit::Day => (days, 1_u64),
            IntervalUnit::Week => (days, 7),
            IntervalUnit::Month => (months, 1),
            IntervalUnit::Year => (months, 12),
        };
        let size = u64::from(interval.count.get()).saturating_mul(unit_size);
        // `t` is not before the anchor, so nothing here is negative; and `size` is not 0.
        units.unsigned_abs().checked_div(size).unwrap_or(0)
    }

    fn out_of_range(&self, interval: Interval, index: u64) -> CalendarError {
        let count = index.saturating_mul(u64::from(interval.count.get()));
        CalendarError::OutOfRange {
            from: self.at,
            count,
            unit: interval.unit,
        }
    }
}

/// Adds whole days of `zone`'s calendar to `t`, keeping the local time: the end of a trial or of grace.
///
/// A day on which the clock changes counts as one, so the result can be an hour more or less than `days`
/// times 24 hours. Adding 0 days gives `t`; adding more gives a later instant than `t`.
///
/// # Errors
///
/// [`CalendarError::OutOfRange`].
///
/// # Example: a trial over a clock change
///
/// ```
/// use billing_core::calendar::{add_days, parse_zone};
///
/// let zone = parse_zone("America/New_York")?;
/// let started_at = "2024-03-08T17:00:00Z".parse().unwrap(); // noon; the clock goes forward on the 10th
/// assert_eq!(add_days(started_at, 14, zone)?.to_rfc3339(), "2024-03-22T16:00:00+00:00");
/// # Ok::<(), billing_core::calendar::CalendarError>(())
/// ```
pub fn add_days(t: DateTime<Utc>, days: u32, zone: Tz) -> Result<DateTime<Utc>, CalendarError> {
    let anchor = Anchor {
        at: t,
        zone,
        month_end: MonthEnd::Clamp,
    };
    anchor.boundary(Interval::new(IntervalUnit::Day, NonZeroU16::MIN), days)
}

/// The stretch of `zone`'s own calendar that contains `t`: its day, its week from Monday, its month, its year, or so many
/// of them, counted from the beginning of 1970 (weeks from January 5, a Monday).
///
/// # Errors
///
/// In order: [`CalendarError::BeforeAnchor`] for what lies before 1970, [`CalendarError::OutOfRange`], then
/// [`CalendarError::EmptyPeriod`] as [`Anchor::period`].
///
/// # Example: a month of Lagos begins an hour before that of UTC
///
/// ```
/// use billing_core::calendar::{Interval, calendar_period, parse_zone};
///
/// let zone = parse_zone("Africa/Lagos")?;
/// let march = calendar_period(Interval::MONTHLY, zone, "2026-02-28T23:30:00Z".parse().unwrap())?;
/// assert_eq!(march.start.to_rfc3339(), "2026-02-28T23:00:00+00:00");
/// assert_eq!(march.end.to_rfc3339(), "2026-03-31T23:00:00+00:00");
/// # Ok::<(), billing_core::calendar::CalendarError>(())
/// ```
pub fn calendar_period(interval: Interval, zone: Tz, t: DateTime<Utc>) -> Result<Period, CalendarError> {
    let days = match interval.unit {
        IntervalUnit::Week => 4,
        IntervalUnit::Day | IntervalUnit::Month | IntervalUnit::Year => 0,
    };
    let at = DateTime::UNIX_EPOCH
        .naive_utc()
        .checked_add_days(Days::new(days))
        .and_then(|local| first_at_or_past(local, zone))
        .unwrap_or(DateTime::UNIX_EPOCH);
    let anchor = Anchor {
        at,
        zone,
        month_end: MonthEnd::Clamp,
    };
    anchor.period(interval, anchor.index_at(interval, t)?)
}

/// Counts the days that are left until `end`, a started one as whole; 0 at `end` and after it.
///
/// For display ("3 days left"). Days of 24 hours, not of a calendar, so that the number falls by one every 24
/// hours whatever the zone; on the day of a clock change it can differ by one from what [`add_days`] added.
///
/// # Example: one second is a started day
///
/// ```
/// use billing_core::calendar::days_left;
///
/// let end = "2024-05-10T00:00:00Z".parse().unwrap();
/// assert_eq!(days_left("2024-05-08T00:00:00Z".parse().unwrap(), end), 2);
/// assert_eq!(days_left("2024-05-08T00:00:01Z".parse().unwrap(), end), 2);
/// assert_eq!(days_left("2024-05-09T23:59:59Z".parse().unwrap(), end), 1);
/// assert_eq!(days_left(end, end), 0);
/// # Ok::<(), billing_core::calendar::CalendarError>(())
/// ```
#[must_use]
pub fn days_left(now: DateTime<Utc>, end: DateTime<Utc>) -> u32 {
    if end <= now {
        return 0;
    }
    let left = end.signed_duration_since(now);
    let started_second = u64::from(left.subsec_nanos() > 0);
    let seconds = left.num_seconds().unsigned_abs().saturating_add(started_second);
    // The whole range of dates is below 2^28 days.
    u32::try_from(seconds.div_ceil(SECONDS_PER_DAY)).unwrap_or(u32::MAX)
}

/// Reads the name of a time zone as the IANA database writes it, such as `Europe/Berlin` or `UTC`.
///
/// Nothing is trimmed, guessed or replaced: `utc`, `Berlin` and `+02:00` are errors, not UTC.
///
/// # Errors
///
/// [`CalendarError::UnknownZone`].
///
/// # Example: a name that is nearly right
///
/// ```
/// use billing_core::calendar::parse_zone;
///
/// let message = parse_zone("europe/berlin").unwrap_err().to_string();
/// assert_eq!(
///     message,
///     "unknown time zone `europe/berlin`: expected a name of the IANA database, with its upper and lower \
///      case, such as `Europe/Berlin` or `UTC`"
/// );
/// ```
pub fn parse_zone(name: &str) -> Result<Tz, CalendarError> {
    name.parse()
        .map_err(|_| CalendarError::UnknownZone { zone: name.into() })
}

/// Why a date or a period could not be computed. None passes by itself; the same call gives the same error.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CalendarError {
    /// The instant lies before the first period.
    #[error("{instant:?} is before the billing anchor {anchor:?}, so no period contains it")]
    BeforeAnchor {
        /// The instant asked about.
        instant: DateTime<Utc>,
        /// Where period 0 starts, the earliest instant that has a period.
        anchor: DateTime<Utc>,
    },
    /// A calendar step leads out of the dates that can be represented.
    #[error(
        "{count} {unit}{} from {from:?} is out of range: years go from -262143 to 262142",
        plural(*count)
    )]
    OutOfRange {
        /// Where the step was to start.
        from: DateTime<Utc>,
        /// How many units it was to take.
        count: u64,
        /// The unit.
        unit: IntervalUnit,
    },
    /// The period holds no instant: its end is not after its start.
    #[error("the period from {start:?} to {end:?} is empty: its end must be after its start")]
    EmptyPeriod {
        /// Where it would start.
        start: DateTime<Utc>,
        /// Where it would end, at `start` or before.
        end: DateTime<Utc>,
    },
    /// No time zone has this name.
    #[error(
        "unknown time zone `{}`: expected a name of the IANA database, with its upper and lower case, \
         such as `Europe/Berlin` or `UTC`",
        zone.escape_debug()
    )]
    UnknownZone {
        /// The name as it came.
        zone: Box<str>,
    },
}

/// The wall-clock time in `zone`; nothing at the very ends of the range of dates.
fn to_local(t: DateTime<Utc>, zone: Tz) -> Option<NaiveDateTime> {
    let utc = t.naive_utc();
    if zone == Tz::UTC {
        return Some(utc);
    }
    utc.checked_add_offset(zone.offset_from_utc_datetime(&utc).fix())
}

/// The first instant at which `zone`'s wall clock shows `local` or later.
fn first_at_or_past(local: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    if zone == Tz::UTC {
        return Some(local.and_utc());
    }
    let utc = match zone.offset_from_local_datetime(&local) {
        // Of two equal local times the earlier instant.
        MappedLocalTime::Single(offset) | MappedLocalTime::Ambiguous(offset, _) => {
            local.checked_sub_offset(offset.fix())?
        }
        // The change itself, exact to the second: where the gap begins, on the clock before it. `end` of the
        // gap would read better, but is missing where another change repeats that local time.
        MappedLocalTime::None => {
            let (gap_start, offset_before) = GapInfo::new(&local, &zone)?.begin?;
            gap_start.checked_sub_offset(offset_before.fix())?
        }
    };
    Some(utc.and_utc())
}

/// How many midnights of `zone` lie after `start` and at or before `end`: how many days later the calendar shows.
pub(crate) fn midnights(start: DateTime<Utc>, end: DateTime<Utc>, zone: Tz) -> i64 {
    let date = |t: DateTime<Utc>| to_local(t, zone).unwrap_or_else(|| t.naive_utc()).date();
    date(end).signed_duration_since(date(start)).num_days()
}

/// The first instant of the next day of `zone`; `t` itself at the very end of the range of dates.
pub(crate) fn next_midnight(t: DateTime<Utc>, zone: Tz) -> DateTime<Utc> {
    let next = || {
        let day = to_local(t, zone)?.date().checked_add_days(Days::new(1))?;
        first_at_or_past(day.and_time(NaiveTime::MIN), zone)
    };
    next().unwrap_or(t)
}

/// From `start` to `end`, each cut to whole microseconds, so that what follows each other adds up.
pub(crate) const fn microseconds(start: DateTime<Utc>, end: DateTime<Utc>) -> i64 {
    end.timestamp_micros().saturating_sub(start.timestamp_micros())
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

const SECONDS_PER_DAY: u64 = 86_400;

#[cfg(test)]
mod tests;
