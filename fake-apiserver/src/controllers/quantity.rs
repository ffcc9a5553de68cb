//! Quantities as Kubernetes writes them (`250m`, `1.5`, `2Gi`, `1e3`), as thousandths.

/// Thousandths of the unit, rounded up as `resource.Quantity.MilliValue` does; `None` when it is no quantity.
pub(crate) fn milli(text: &str) -> Option<i128> {
    let text = text.trim();
    let digits_end =
        text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits_end);
    // Thousandths of a thousandth, so that `n` and `u` keep their digits until the rounding.
    let (numerator, denominator): (i128, i128) = match suffix {
        "" => (1_000, 1),
        "n" => (1, 1_000_000),
        "u" => (1, 1_000),
        "m" => (1, 1),
        "k" => (1_000_000, 1),
        "M" => (1_000_000_000, 1),
        "G" => (1_000_000_000_000, 1),
        "T" => (1_000_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000_000, 1),
        "Ki" => (1_000 << 10, 1),
        "Mi" => (1_000 << 20, 1),
        "Gi" => (1_000 << 30, 1),
        "Ti" => (1_000 << 40, 1),
        "Pi" => (1_000 << 50, 1),
        "Ei" => (1_000 << 60, 1),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            if !(-18..=18).contains(&exponent) {
                return None;
            }
            let power = 10_i128.pow(exponent.unsigned_abs());
            if exponent >= 0 { (1_000 * power, 1) } else { (1_000, power) }
        }
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.len() > 9 || whole.len() > 15 {
        return None;
    }
    let negative = whole.starts_with('-');
    let whole: i128 = if matches!(whole, "" | "-" | "+") { 0 } else { whole.parse().ok()? };
    let scale = 10_i128.pow(fraction.len() as u32);
    let fraction: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let scaled = whole.abs() * scale + fraction;
    let divisor = scale * denominator;
    let value = (scaled * numerator + divisor - 1) / divisor;
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::milli;

    #[test]
    fn suffixes_scale_the_number() {
        assert_eq!(milli("250m"), Some(250));
        assert_eq!(milli("1.5"), Some(1_500));
        assert_eq!(milli("2Gi"), Some(2_000 * (1 << 30)));
        assert_eq!(milli("1e3"), Some(1_000_000));
        assert_eq!(milli("100k"), Some(100_000_000));
        assert_eq!(milli(".5"), Some(500));
    }

    #[test]
    fn a_fraction_of_a_thousandth_rounds_up() {
        assert_eq!(milli("1n"), Some(1));
        assert_eq!(milli("1500u"), Some(2));
    }

    #[test]
    fn what_is_no_quantity_is_none() {
        for text in ["", "x", "1x", "1e99", "m", "--1"] {
            assert_eq!(milli(text), None, "{text}");
        }
    }
}
