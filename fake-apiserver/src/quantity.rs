//! Kubernetes quantities (`250m`, `1.5`, `2Gi`, `1e3`) as thousandths, exact for all that a quota compares.

/// Parses a quantity into thousandths, rounding up as `resource.Quantity` does; `None` for what is no quantity.
pub(crate) fn milli(text: &str) -> Option<i128> {
    let text = text.trim();
    let end =
        text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (numerator, denominator) = factor(suffix)?;
    let (sign, digits) = match number.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let digits_only = whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() || fraction.len() > 18 || !digits_only {
        return None;
    }
    let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
    let units: i128 = format!("{whole}{fraction}").parse().ok()?;
    let scaled = units.checked_mul(numerator)?.checked_mul(1000)?;
    let divisor = scale * denominator;
    Some(sign * (scaled + divisor - 1).div_euclid(divisor))
}

/// `value / divisor`, rounded up, as `resourceFieldRef` does; `None` where either is no quantity or the divisor is 0.
#[cfg_attr(not(feature = "processes"), allow(dead_code))]
pub(crate) fn divided(value: &str, divisor: &str) -> Option<String> {
    let (value, divisor) = (milli(value)?, milli(divisor).filter(|&d| d != 0)?);
    Some((value + divisor - 1).div_euclid(divisor).to_string())
}

/// Writes thousandths in decimal form, for CPU and counts.
pub(crate) fn decimal(thousandths: i128) -> String {
    if thousandths % 1000 == 0 { (thousandths / 1000).to_string() } else { format!("{thousandths}m") }
}

/// Writes thousandths of bytes in the largest binary unit that divides them.
pub(crate) fn binary(thousandths: i128) -> String {
    if thousandths % 1000 != 0 {
        return format!("{thousandths}m");
    }
    let mut value = thousandths / 1000;
    let mut unit = "";
    for next in ["Ki", "Mi", "Gi", "Ti", "Pi"] {
        if value == 0 || value % 1024 != 0 {
            break;
        }
        (value, unit) = (value / 1024, next);
    }
    format!("{value}{unit}")
}

/// A quantity in the unit the real server writes: binary stays binary, the rest in the largest SI unit that divides it.
pub(crate) fn canonical(text: &str) -> Option<String> {
    let amount = milli(text)?;
    if text.ends_with('i') {
        return Some(binary(amount));
    }
    let units: [(i128, &str); 5] = [
        (1_000_000_000_000_000, "T"),
        (1_000_000_000_000, "G"),
        (1_000_000_000, "M"),
        (1_000_000, "k"),
        (1000, ""),
    ];
    let unit = units.iter().find(|(unit, _)| amount != 0 && amount % unit == 0);
    Some(match unit {
        Some((unit, name)) => format!("{}{name}", amount / unit),
        None => decimal(amount),
    })
}

fn factor(suffix: &str) -> Option<(i128, i128)> {
    Some(match suffix {
        "" => (1, 1),
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1000),
        "k" => (1000, 1),
        "M" => (1_000_000, 1),
        "G" => (1_000_000_000, 1),
        "T" => (1_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let factor = 10_i128.checked_pow(power.unsigned_abs())?;
            if power < 0 { (1, factor) } else { (factor, 1) }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_written_in_their_canonical_unit() {
        for (text, canon) in [
            ("0.5", "500m"),
            ("1000m", "1"),
            ("1024Mi", "1Gi"),
            ("2000", "2k"),
            ("0", "0"),
            ("1.5Gi", "1536Mi"),
        ] {
            assert_eq!(canonical(text).as_deref(), Some(canon), "{text}");
        }
    }

    #[test]
    fn quantities_are_read_and_written() {
        for (text, thousandths) in [
            ("250m", 250),
            ("1", 1000),
            ("0.5", 500),
            ("2Gi", 2 * 1024 * 1024 * 1024 * 1000),
            ("1k", 1_000_000),
            ("1e3", 1_000_000),
            (".5", 500),
            ("1E", 1_000_000_000_000_000_000_000),
            // A fraction of a thousandth rounds up.
            ("1n", 1),
            ("1500u", 2),
        ] {
            assert_eq!(milli(text), Some(thousandths), "{text}");
        }
        for text in ["", "x", "1x", "1e99", "m", "--1", "1.5.2"] {
            assert_eq!(milli(text), None, "{text}");
        }
        assert_eq!((decimal(250), decimal(3000)), ("250m".to_owned(), "3".to_owned()));
        assert_eq!(
            (binary(milli("2Gi").unwrap()), binary(milli("1000").unwrap())),
            ("2Gi".into(), "1000".into())
        );
    }

    #[test]
    fn division_rounds_up() {
        assert_eq!(divided("1500m", "1").as_deref(), Some("2"));
        assert_eq!(divided("1Gi", "1Mi").as_deref(), Some("1024"));
        assert_eq!(divided("250m", "1m").as_deref(), Some("250"));
        assert_eq!(divided("1", "0"), None);
    }
}
