//! The difference of two values as `k8s.io/apimachinery/pkg/util/diff` shows it: a unified diff of indented JSON.

use std::fmt::Write as _;

use serde_json::Value;

/// Lines around a change.
const CONTEXT: usize = 3;

/// A value in which the order of members is that of a Go type.
pub(super) enum Shown {
    Value(Value),
    Struct(Vec<(&'static str, Shown)>),
}

/// The difference of two values of the same type.
pub(super) fn unified(old: &Shown, new: &Shown) -> String {
    let lines = |shown: &Shown| {
        let mut lines = vec![String::new()];
        write(shown, 0, &mut lines);
        lines
    };
    let (old, new) = (lines(old), lines(new));
    let (mut text, changes) = (String::new(), changes(&old, &new));
    let mut from = 0;
    while let Some(first) = changes[from..].iter().position(|change| change.kind != ' ') {
        let first = from + first;
        // Changes that are near each other share a hunk.
        let mut last = first;
        while let Some(next) =
            changes[last + 1..].iter().position(|c| c.kind != ' ').filter(|n| *n <= 2 * CONTEXT)
        {
            last += next + 1;
        }
        let (begin, end) = (first.saturating_sub(CONTEXT).max(from), (last + CONTEXT + 1).min(changes.len()));
        let hunk = &changes[begin..end];
        let range = |side: char, start: usize| {
            let length = hunk.iter().filter(|change| change.kind != side).count();
            match length {
                0 => format!("{start},0"),
                1 => format!("{}", start + 1),
                _ => format!("{},{length}", start + 1),
            }
        };
        let _ = writeln!(text, "@@ -{} +{} @@", range('+', hunk[0].old), range('-', hunk[0].new));
        for change in hunk {
            let _ = writeln!(text, "{}{}", change.kind, change.line);
        }
        from = end;
    }
    text
}

/// A line that stays (` `), goes (`-`) or comes (`+`), and how many lines of either side stand before it.
struct Change<'a> {
    kind: char,
    line: &'a str,
    old: usize,
    new: usize,
}

/// The shortest way from one text to the other; what goes stands before what comes.
fn changes<'a>(old: &'a [String], new: &'a [String]) -> Vec<Change<'a>> {
    // Length of the longest common rest of both texts from each pair of lines on.
    let mut common = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = if old[i] == new[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut all) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        let (kind, line) = if i < old.len() && j < new.len() && old[i] == new[j] {
            (' ', &old[i])
        } else if i < old.len() && (j == new.len() || common[i + 1][j] >= common[i][j + 1]) {
            ('-', &old[i])
        } else {
            ('+', &new[j])
        };
        all.push(Change { kind, line, old: i, new: j });
        i += usize::from(kind != '+');
        j += usize::from(kind != '-');
    }
    all
}

/// Writes a value as `json.MarshalIndent` with one blank does.
fn write(shown: &Shown, depth: usize, lines: &mut Vec<String>) {
    match shown {
        Shown::Struct(fields) => {
            let fields = fields.iter().map(|(name, value)| (Some((*name).to_owned()), value));
            block('{', '}', fields, depth, lines, &mut |value, lines| write(value, depth + 1, lines));
        }
        Shown::Value(value) => write_value(value, depth, lines),
    }
}

fn write_value(value: &Value, depth: usize, lines: &mut Vec<String>) {
    let inner = |value: &&Value, lines: &mut Vec<String>| write_value(value, depth + 1, lines);
    match value {
        Value::Object(map) => {
            let fields = map.iter().map(|(name, value)| (Some(name.clone()), value));
            block('{', '}', fields, depth, lines, &mut |value, lines| inner(&value, lines));
        }
        Value::Array(items) => {
            let items = items.iter().map(|value| (None, value));
            block('[', ']', items, depth, lines, &mut |value, lines| inner(&value, lines));
        }
        other => append(&other.to_string(), lines),
    }
}

fn append(text: &str, lines: &mut [String]) {
    if let Some(line) = lines.last_mut() {
        line.push_str(text);
    }
}

fn block<'a, T: 'a>(
    open: char,
    close: char,
    members: impl ExactSizeIterator<Item = (Option<String>, &'a T)>,
    depth: usize,
    lines: &mut Vec<String>,
    inner: &mut dyn FnMut(&'a T, &mut Vec<String>),
) {
    append(&open.to_string(), lines);
    let count = members.len();
    for (index, (name, value)) in members.enumerate() {
        let name = name.map(|name| format!("{}: ", Value::from(name))).unwrap_or_default();
        lines.push(format!("{}{name}", " ".repeat(depth + 1)));
        inner(value, lines);
        if index + 1 < count {
            append(",", lines);
        }
    }
    if count > 0 {
        lines.push(" ".repeat(depth));
    }
    append(&close.to_string(), lines);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_hunk_has_three_lines_around_each_change() {
        let list = |numbers: &[u32]| Shown::Struct(vec![("Numbers", Shown::Value(json!(numbers)))]);
        assert_eq!(
            unified(&list(&[1, 2, 3, 4, 5, 6]), &list(&[1, 2, 3, 4, 7, 6])),
            "@@ -4,7 +4,7 @@\n   2,\n   3,\n   4,\n-  5,\n+  7,\n   6\n  ]\n }\n"
        );
        assert_eq!(unified(&list(&[1]), &list(&[1])), "");
    }
}
