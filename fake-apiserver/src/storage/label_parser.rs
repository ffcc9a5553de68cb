//! The grammar of label selectors, and what is said of texts outside of it: `k8s.io/apimachinery/pkg/labels.Parser`.

use super::selector::LabelTest;

/// One word or sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Sign(&'a str),
    End,
}

impl<'a> Token<'a> {
    fn text(self) -> &'a str {
        match self {
            Self::Word(text) | Self::Sign(text) => text,
            Self::End => "",
        }
    }
}

/// The requirements of a selector.
pub(super) fn parse(text: &str) -> Result<Vec<(String, LabelTest)>, String> {
    let mut parser = Parser { tokens: tokens(text), at: 0 };
    let mut requirements = Vec::new();
    loop {
        match parser.peek() {
            Token::End => return Ok(requirements),
            Token::Word(_) | Token::Sign("!") => {}
            other @ Token::Sign(_) => {
                return Err(format!("found '{}', expected: !, identifier, or 'end of string'", other.text()));
            }
        }
        let requirement = parser.requirement();
        requirements.push(requirement.map_err(|why| format!("unable to parse requirement: {why}"))?);
        match parser.next() {
            Token::End => return Ok(requirements),
            Token::Sign(",") if matches!(parser.peek(), Token::Word(_) | Token::Sign("!")) => {}
            Token::Sign(",") => {
                return Err(format!("found '{}', expected: identifier after ','", parser.peek().text()));
            }
            other => return Err(format!("found '{}', expected: ',' or 'end of string'", other.text())),
        }
    }
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    const SIGNS: [char; 7] = ['=', '!', '(', ')', ',', '>', '<'];
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let token = if rest.starts_with(SIGNS) {
            let two = rest.get(..2).filter(|two| matches!(*two, "==" | "!="));
            // Only `=`, `!=` and `==` have a second sign; everything else is one of its own.
            Token::Sign(two.unwrap_or(&rest[..1]))
        } else {
            let end = rest.find(|c: char| c.is_whitespace() || SIGNS.contains(&c)).unwrap_or(rest.len());
            Token::Word(&rest[..end])
        };
        rest = rest[token.text().len()..].trim_start();
        tokens.push(token);
    }
    tokens
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Token<'a> {
        self.tokens.get(self.at).copied().unwrap_or(Token::End)
    }

    fn next(&mut self) -> Token<'a> {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn requirement(&mut self) -> Result<(String, LabelTest), String> {
        let absent = self.peek() == Token::Sign("!");
        if absent {
            self.next();
        }
        let key = match self.next() {
            Token::Word(key) => key,
            other => return Err(format!("found '{}', expected: identifier", other.text())),
        };
        check_key(key)?;
        let ends = matches!(self.peek(), Token::End | Token::Sign(","));
        if absent || ends {
            return Ok((key.to_owned(), if absent { LabelTest::Absent } else { LabelTest::Exists }));
        }
        let operator = self.next();
        let test = match operator.text() {
            "in" => LabelTest::In(self.values(key)?),
            "notin" => LabelTest::NotIn(self.values(key)?),
            "=" | "==" => LabelTest::Is(self.value(key)?),
            "!=" => LabelTest::IsNot(self.value(key)?),
            ">" => LabelTest::Above(number(&self.value(key)?)?),
            "<" => LabelTest::Below(number(&self.value(key)?)?),
            _ => {
                let operators = "in, notin, =, ==, !=, gt, lt";
                return Err(format!("found '{}', expected: {operators}", operator.text()));
            }
        };
        Ok((key.to_owned(), test))
    }

    /// One value, which may be empty.
    fn value(&mut self, key: &str) -> Result<String, String> {
        if matches!(self.peek(), Token::End | Token::Sign(",")) {
            return Ok(String::new());
        }
        match self.next() {
            Token::Word(value) => check_value(key, value, 0).map(|()| value.to_owned()),
            other => Err(format!("found '{}', expected: identifier", other.text())),
        }
    }

    /// Values in brackets; between commas they may be empty.
    fn values(&mut self, key: &str) -> Result<Vec<String>, String> {
        match self.next() {
            Token::Sign("(") => {}
            other => return Err(format!("found '{}' expected: '('", other.text())),
        }
        let mut values = Vec::new();
        loop {
            match self.next() {
                Token::Word(value) => {
                    values.push(value.to_owned());
                    match self.next() {
                        Token::Sign(",") => {}
                        Token::Sign(")") => return checked(key, values),
                        other => return Err(format!("found '{}', expected: ',' or ')'", other.text())),
                    }
                }
                Token::Sign(",") => values.push(String::new()),
                Token::Sign(")") => {
                    values.push(String::new());
                    return checked(key, values);
                }
                other => return Err(format!("found '{}', expected: ',', ')' or identifier", other.text())),
            }
        }
    }
}

fn number(value: &str) -> Result<i64, String> {
    value.parse().map_err(|_| {
        format!("values[0]: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the value must be an integer")
    })
}

fn check_key(key: &str) -> Result<(), String> {
    match crate::server::names::qualified_name(key).as_slice() {
        [] => Ok(()),
        faults => Err(format!("<nil>: Invalid value: {key:?}: {}", faults.join("; "))),
    }
}

fn check_value(key: &str, value: &str, index: usize) -> Result<(), String> {
    match crate::server::names::label_value(value).as_slice() {
        [] => Ok(()),
        faults => Err(format!("values[{index}][{key}]: Invalid value: {value:?}: {}", faults.join("; "))),
    }
}

/// The values of a list, which are looked at in their order once all have been read.
fn checked(key: &str, values: Vec<String>) -> Result<Vec<String>, String> {
    let mut ordered: Vec<&String> = values.iter().collect();
    ordered.sort();
    for (index, value) in ordered.into_iter().enumerate() {
        check_value(key, value, index)?;
    }
    Ok(values)
}
