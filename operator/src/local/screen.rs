//! What the person sees: lines that stay, and on a terminal a table below them that changes in place.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::time::Instant;

use super::row::Row;

/// Standard output, as a log with a table under it.
pub(super) struct Screen<W: Write = io::Stdout> {
    out: W,
    live: bool,
    begun: Instant,
    rows: Vec<Row>,
    /// Lines of the table that are on the terminal now.
    drawn: usize,
}

impl Screen {
    /// On standard output; without a terminal the table becomes one line for each change.
    pub(super) fn stdout() -> Self {
        let live = io::stdout().is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb");
        Self::on(io::stdout(), live)
    }
}

impl<W: Write> Screen<W> {
    fn on(out: W, live: bool) -> Self {
        Self { out, live, begun: Instant::now(), rows: Vec::new(), drawn: 0 }
    }

    /// A line that stays. A closed output is no reason to stop working, so errors are dropped here and below.
    pub(super) fn line(&mut self, text: &str) {
        self.erase();
        let _ = writeln!(self.out, "{text}");
        self.draw();
    }

    /// A line that stays, with the time since the beginning.
    pub(super) fn event(&mut self, text: &str) {
        let line = format!("{:>6.1}s  {text}", self.begun.elapsed().as_secs_f64());
        self.line(&line);
    }

    /// The table now.
    pub(super) fn rows(&mut self, rows: Vec<Row>) {
        if rows == self.rows {
            return;
        }
        let changes = changes(&self.rows, &rows);
        self.erase();
        self.rows = rows;
        if self.live {
            self.draw();
        } else {
            for change in changes {
                self.event(&change);
            }
        }
    }

    /// Takes the table away for good: what comes next is the end.
    pub(super) fn finish(&mut self) {
        self.erase();
        self.rows.clear();
        let _ = self.out.flush();
    }

    fn erase(&mut self) {
        if self.drawn > 0 {
            // Up so many lines, and everything from there on is cleared.
            let _ = write!(self.out, "\x1b[{}A\x1b[J", self.drawn);
            self.drawn = 0;
        }
    }

    fn draw(&mut self) {
        if self.live && !self.rows.is_empty() {
            let lines = table(&self.rows);
            self.drawn = lines.len();
            for line in lines {
                let _ = writeln!(self.out, "{line}");
            }
        }
        let _ = self.out.flush();
    }
}

/// The table's lines, the first one empty.
fn table(rows: &[Row]) -> Vec<String> {
    let width = |of: fn(&Row) -> &str| rows.iter().map(|row| of(row).chars().count()).max().unwrap_or(0);
    let (kind, name, state) = (width(|row| row.kind), width(|row| &row.name), width(|row| &row.state));
    let line = |row: &Row| {
        format!("  {:kind$}  {:name$}  {:state$}  {}", row.kind, row.name, row.state, row.detail)
            .trim_end()
            .to_owned()
    };
    std::iter::once(String::new()).chain(rows.iter().map(line)).collect()
}

/// What differs between two tables, in words.
fn changes(old: &[Row], new: &[Row]) -> Vec<String> {
    let index = |rows: &[Row]| {
        rows.iter().map(|row| ((row.kind, row.name.clone()), row.state.clone())).collect::<BTreeMap<_, _>>()
    };
    let (old, new) = (index(old), index(new));
    let mut lines = Vec::new();
    for ((kind, name), state) in &new {
        match old.get(&(*kind, name.clone())) {
            None => lines.push(format!("{kind} {name}: {state}")),
            Some(before) if before != state => lines.push(format!("{kind} {name}: {before} → {state}")),
            Some(_) => {}
        }
    }
    let gone = old.keys().filter(|key| !new.contains_key(*key));
    lines.extend(gone.map(|(kind, name)| format!("{kind} {name}: gone")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_row(name: &str, state: &str) -> Row {
        Row { kind: "pod", name: name.into(), state: state.into(), detail: String::new() }
    }

    #[test]
    fn changes_are_told_once_each() {
        let old = [mk_row("a", "Pending"), mk_row("b", "Running"), mk_row("c", "Running")];
        let new = [mk_row("a", "Running"), mk_row("b", "Running"), mk_row("d", "Pending")];
        assert_eq!(changes(&old, &new), ["pod a: Pending → Running", "pod d: Pending", "pod c: gone"]);
        assert!(changes(&new, &new).is_empty());
    }

    #[test]
    fn columns_line_up() {
        let lines = table(&[mk_row("a", "Pending"), mk_row("longer", "Running")]);
        assert_eq!(lines, ["", "  pod  a       Pending", "  pod  longer  Running"]);
    }

    #[test]
    fn a_line_goes_above_the_live_table() {
        let mut screen = Screen::on(Vec::new(), true);
        screen.rows(vec![mk_row("a", "Running")]);
        screen.line("hello");
        screen.finish();
        let table = "\n  pod  a  Running\n";
        let expected = format!("{table}\x1b[2A\x1b[Jhello\n{table}\x1b[2A\x1b[J");
        assert_eq!(String::from_utf8(screen.out).unwrap(), expected);
    }

    #[test]
    fn without_a_terminal_nothing_is_erased() {
        let mut screen = Screen::on(Vec::new(), false);
        screen.rows(vec![mk_row("a", "Pending")]);
        screen.rows(vec![mk_row("a", "Running")]);
        screen.finish();
        let text = String::from_utf8(screen.out).unwrap();
        assert!(text.contains("pod a: Pending\n") && text.contains("pod a: Pending → Running\n"), "{text}");
        assert!(!text.contains('\x1b'), "{text}");
    }
}
