//! Kubernetes quantities, as far as `resourceFieldRef` and the node's capacity need them.

/// The value in thousandths; `None` when the text is not a quantity.
pub(super) fn milli(text: &str) -> Option<i128> {
    let text = text.trim();
    let end = text.find(|c: char| !matches!(c, '0'..='9' | '.' | '+' | '-')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    // 1e3 and 1E3 are numbers with an exponent; a lone E is exa.
    if let Some(exponent) = suffix.strip_prefix(['e', 'E'])
        && let Ok(exponent) = exponent.parse::<u32>()
    {
        return decimal(number)?.checked_mul(10_i128.checked_pow(exponent)?);
    }
    let value = decimal(number)?;
    let (factor, divisor): (i128, i128) = match suffix {
        "" => (1, 1),
        "m" => (1, 1_000),
        "k" => (1_000, 1),
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
        _ => return None,
    };
    Some(value.checked_mul(factor)? / divisor)
}

/// A plain decimal number in thousandths.
fn decimal(number: &str) -> Option<i128> {
    let (sign, number) = match number.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    if !fraction.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    Some(sign * (whole.checked_mul(1_000)? + digits.parse::<i128>().ok()?))
}

/// `value / divisor`, rounded up, as `resourceFieldRef` does.
pub(super) fn divided(value: &str, divisor: &str) -> Option<String> {
    let (value, divisor) = (milli(value)?, milli(divisor).filter(|&d| d != 0)?);
    Some((value + divisor - 1).div_euclid(divisor).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_of_every_form_are_read() {
        let read = ["2", "500m", "1.5", "1Ki", "1e3", "1E", "", "x", "1.2.3"].map(milli);
        let expected = [
            Some(2_000),
            Some(500),
            Some(1_500),
            Some(1_024_000),
            Some(1_000_000),
            Some(1_000_000_000_000_000_000_000),
            None,
            None,
            None,
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn division_rounds_up() {
        assert_eq!(divided("1500m", "1").as_deref(), Some("2"));
        assert_eq!(divided("1Gi", "1Mi").as_deref(), Some("1024"));
        assert_eq!(divided("250m", "1m").as_deref(), Some("250"));
        assert_eq!(divided("1", "0"), None);
    }
}
