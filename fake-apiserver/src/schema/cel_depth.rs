//! How deep an expression goes, and a stack for it.
//!
//! The parser and the evaluation go as deep into the stack as the expression is nested, and end the program where the stack ends.
//! What goes deeper than anybody writes is refused, as `cel-go` does; what is less is given the stack it needs.

use std::thread;

/// Brackets and signs before a value, one in another: the parser here knows 96 levels, where the real one knows 250.
const LEVELS_MAX: usize = 90;
/// Operators and fields of fields, each of which is one deeper for what follows it.
const LINKS_MAX: usize = 4_000;
/// Up to so many of both any thread's stack will do.
const SHALLOW_LEVELS: usize = 12;
const SHALLOW_LINKS: usize = 40;
/// What the deepest one takes, with room to spare; only what is used of it is ever given.
const STACK_BYTES: usize = 512 << 20;

/// How deep an expression goes at most: what is in quotes counts, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Depth {
    Shallow,
    /// It needs a stack of its own.
    Deep,
    /// It is refused.
    Bottomless,
}

impl Depth {
    pub(super) fn of(expression: &str) -> Self {
        let (mut open, mut signs, mut levels, mut links) = (0_usize, 0, 0, 0);
        let mut last = ' ';
        for character in expression.chars().filter(|character| !character.is_whitespace()) {
            match character {
                '(' | '[' | '{' => open += 1,
                ')' | ']' | '}' => open = open.saturating_sub(1),
                _ => {}
            }
            signs = if matches!(character, '!' | '-') { signs + 1 } else { 0 };
            let pair = character == last && matches!(character, '&' | '|' | '=');
            links += usize::from("&|=<>+*/%?-.[".contains(character) && !pair);
            levels = levels.max(open + signs);
            last = character;
        }
        match () {
            () if levels > LEVELS_MAX || links > LINKS_MAX => Self::Bottomless,
            () if levels > SHALLOW_LEVELS || links > SHALLOW_LINKS => Self::Deep,
            () => Self::Shallow,
        }
    }

    /// Does what goes so deep where there is room for it.
    ///
    /// # Errors
    /// When the machine has no room.
    pub(super) fn run<T: Send>(self, work: impl FnOnce() -> T + Send) -> Result<T, String> {
        if self == Self::Shallow {
            return Ok(work());
        }
        thread::scope(|scope| {
            let builder = thread::Builder::new().name("expression".into()).stack_size(STACK_BYTES);
            let started = builder.spawn_scoped(scope, work).map_err(|error| error.to_string())?;
            started.join().map_err(|_| "the expression could not be evaluated".to_owned())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_that_of_brackets_signs_and_links() {
        for (expression, depth) in [
            ("self.a == 1 && self.b.all(x, x > 2)".to_owned(), Depth::Shallow),
            ("(".repeat(13), Depth::Deep),
            ("!".repeat(90), Depth::Deep),
            ("(".repeat(91), Depth::Bottomless),
            ("a.".repeat(4_000), Depth::Deep),
            ("1+".repeat(4_001), Depth::Bottomless),
        ] {
            assert_eq!(Depth::of(&expression), depth, "{expression:.20}");
        }
    }
}
