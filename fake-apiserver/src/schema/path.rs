//! Where in an object a walk is; rendered only when there is something to say.

use std::fmt::Write;

/// A path as a list on the stack.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Path<'a> {
    /// The object itself.
    Root,
    /// A named field.
    Field(&'a Path<'a>, &'a str),
    /// A key of a map.
    Key(&'a Path<'a>, &'a str),
    /// An item of a list.
    Index(&'a Path<'a>, usize),
}

impl Path<'_> {
    /// As OpenAPI validation and unknown field warnings write it: `spec.labels.app`, `spec.list[0].name`.
    pub(crate) fn dotted(&self) -> String {
        self.render(false)
    }

    /// As `field.Path` writes it: map keys in brackets, `<nil>` for the object itself.
    pub(crate) fn bracketed(&self) -> String {
        match self {
            Path::Root => "<nil>".into(),
            _ => self.render(true),
        }
    }

    fn render(&self, brackets: bool) -> String {
        let mut out = String::new();
        self.write(brackets, &mut out);
        out
    }

    fn write(&self, brackets: bool, out: &mut String) {
        match self {
            Path::Root => {}
            Path::Index(parent, index) => {
                parent.write(brackets, out);
                let _ = write!(out, "[{index}]");
            }
            Path::Key(parent, key) if brackets => {
                parent.write(brackets, out);
                let _ = write!(out, "[{key}]");
            }
            Path::Field(parent, name) | Path::Key(parent, name) => {
                parent.write(brackets, out);
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(name);
            }
        }
    }
}
