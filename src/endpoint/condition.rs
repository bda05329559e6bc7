//! Conditions: CEL expressions over an answer, compiled once, that may take up neither the stack nor the time of the process.
//!
//! The language's library evaluates whatever it is given, so what it is given is bounded here: the length and the depth of an
//! expression, the names and functions it may use, and the work it can make of the longest body that it may see. It also panics on
//! some inputs; neither compiling nor evaluating lets that out.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, SourceInfo, operators};
use cel::{Context, Env, IdedExpr, Program, Value};

use crate::limits::{
    CONDITION_BYTES_MAX, CONDITION_DEPTH_MAX, CONDITION_STACK_BYTES, CONDITION_WORK_MAX,
    JSON_VALUES_JUDGED_MAX,
};

/// What a condition about an answer may name.
pub const ANSWER_NAMES: &[&str] = &["status", "headers", "body", "error", "elapsed_ms"];

/// What a condition about a message of the third party may name.
pub const MESSAGE_NAMES: &[&str] = &["headers", "body"];

/// Those of them that have no parts.
const SCALAR_NAMES: &[&str] = &["status", "error", "elapsed_ms"];

/// The types that `type(…)` can be compared to.
const TYPE_NAMES: &[&str] =
    &["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];

/// The functions of the language that are left: those whose work grows no faster than what they are given.
const FUNCTIONS: &[&str] = &[
    "bool",
    "bytes",
    "contains",
    "double",
    "dyn",
    "endsWith",
    "int",
    "matches",
    "size",
    "startsWith",
    "string",
    "type",
    "uint",
];

/// The most elements that a list in a body can have. A text counts for as many: the longest takes about as long to be walked through.
const ELEMENTS_MAX: u64 = JSON_VALUES_JUDGED_MAX as u64;

/// A regular expression is compiled each time it is asked.
const WORK_OF_MATCHES: u64 = 100;

/// So many elements are compared in the time that a part of an expression takes to be evaluated.
const COMPARED_IN_A_STEP: u64 = 64;

/// The same of a text that a regular expression looks through.
const MATCHED_IN_A_STEP: u64 = 4;

/// A comprehension has one for the element and one for what it gathers.
const VARIABLES_OF_A_LOOP: usize = 2;

/// The language with its standard functions; what may be used of it is checked per condition.
static LANGUAGE: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// A compiled expression that comes to true or false.
#[derive(Clone)]
pub struct Condition {
    text: Arc<str>,
    program: Arc<Program>,
    names: Vec<&'static str>,
}

/// Why a text is no condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionFault {
    /// The line of the expression, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub sentence: String,
}

impl fmt::Display for ConditionFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 1 {
            write!(f, "line {}, column {} of the expression: {}", self.line, self.column, self.sentence)
        } else {
            write!(f, "column {} of the expression: {}", self.column, self.sentence)
        }
    }
}

impl Condition {
    /// Compiles an expression over these names.
    ///
    /// # Errors
    /// What is wrong and where: bad syntax, an unknown name or function, or more than may be used up.
    pub fn parse(text: &str, names: &'static [&'static str]) -> Result<Self, ConditionFault> {
        let at_start = |sentence: String| ConditionFault { line: 1, column: 1, sentence };
        if text.len() > CONDITION_BYTES_MAX {
            return Err(at_start(format!("an expression is at most {CONDITION_BYTES_MAX} bytes long")));
        }
        // The parser recurses as deep as the text nests, and so does dropping what it makes of it: on a stack of its own.
        std::thread::scope(|scope| {
            let builder = std::thread::Builder::new().stack_size(CONDITION_STACK_BYTES);
            let compiling = builder.spawn_scoped(scope, || compile(text, names));
            let compiling =
                compiling.map_err(|error| at_start(format!("it cannot be compiled now: {error}")))?;
            compiling
                .join()
                .unwrap_or_else(|_panic| Err(at_start("the expression cannot be read".to_owned())))
        })
    }

    /// The expression as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Which of the names it asks for.
    pub fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// A sentence: it could not be asked (a field that is not there, a wrong type), or did not come to true or false.
    pub fn holds(&self, facts: &Facts) -> Result<bool, String> {
        match catch_unwind(AssertUnwindSafe(|| self.program.execute(&facts.0))) {
            Ok(Ok(Value::Bool(holds))) => Ok(holds),
            Ok(Ok(other)) => Err(format!("it comes to {}, not to true or false", other.type_of())),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_panic) => Err("it cannot be evaluated on this answer".to_owned()),
        }
    }
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Condition {}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.text).finish()
    }
}

/// What conditions are asked about.
pub struct Facts(Context<'static, 'static>);

impl fmt::Debug for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Facts").finish_non_exhaustive()
    }
}

impl Facts {
    /// These values under these names.
    pub fn new(values: impl IntoIterator<Item = (&'static str, Value)>) -> Self {
        let mut context = Context::with_env(Arc::clone(&LANGUAGE));
        for (name, value) in values {
            context.add_variable_from_value(name, value);
        }
        Self(context)
    }
}

fn compile(text: &str, names: &'static [&'static str]) -> Result<Condition, ConditionFault> {
    let program = LANGUAGE.compile(text).map_err(|errors| first_fault(text, &errors))?;
    let mut survey =
        Survey { source: program.source_info(), text, names, asked: Vec::new(), work: 0, inner: Vec::new() };
    survey.visit(program.expression(), 1, 0)?;
    let names = survey.asked;
    Ok(Condition { text: text.into(), program: Arc::new(program), names })
}

/// The first complaint of the parser, in fewer words.
fn first_fault(text: &str, errors: &cel::ParseErrors) -> ConditionFault {
    let Some(error) = errors.errors.first() else {
        return ConditionFault { line: 1, column: 1, sentence: "the expression cannot be read".to_owned() };
    };
    let sentence = error.msg.strip_prefix("Syntax error: ").unwrap_or(&error.msg);
    let expected = sentence.find(" expecting {").unwrap_or(sentence.len());
    let sentence = sentence[..expected].trim_end().trim_end_matches(',');
    let line = usize::try_from(error.pos.0).unwrap_or(1).max(1);
    let characters = text.lines().nth(line - 1).map_or(0, |line| line.chars().count());
    let column = usize::try_from(error.pos.1).unwrap_or(1).clamp(1, characters + 1);
    ConditionFault { line, column, sentence: sentence.to_owned() }
}

/// A walk over a compiled expression that counts what it can cost and refuses what it must not use.
struct Survey<'a> {
    source: &'a SourceInfo,
    text: &'a str,
    names: &'static [&'static str],
    asked: Vec<&'static str>,
    work: u64,
    /// Variables of the comprehensions around, each with how often its body can run over all.
    inner: Vec<(&'a str, u64)>,
}

impl<'a> Survey<'a> {
    /// Visits an expression that is evaluated `times` times.
    fn visit(&mut self, expression: &'a IdedExpr, times: u64, depth: usize) -> Result<(), ConditionFault> {
        if depth > CONDITION_DEPTH_MAX {
            return Err(self.fault(expression, format!("it nests deeper than {CONDITION_DEPTH_MAX}")));
        }
        self.count(expression, times)?;
        let below = depth + 1;
        match &expression.expr {
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.name(expression, name),
            Expr::Select(select) => self.visit(&select.operand, times, below),
            Expr::List(list) => {
                list.elements.iter().try_for_each(|element| self.visit(element, times, below))
            }
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.visit(&entry.key, times, below)?;
                    self.visit(&entry.value, times, below)
                }
                EntryExpr::StructField(field) => self.visit(&field.value, times, below),
            }),
            Expr::Call(call) => {
                self.function(expression, call, times)?;
                let parts = call.target.as_deref().into_iter().chain(&call.args);
                parts.into_iter().try_for_each(|part| self.visit(part, times, below))
            }
            Expr::Comprehension(comprehension) => self.comprehension(comprehension, times, below),
            Expr::Struct(_) | Expr::Unspecified => {
                Err(self.fault(expression, "there are no message types here".to_owned()))
            }
        }
    }

    fn comprehension(
        &mut self,
        all: &'a ComprehensionExpr,
        times: u64,
        depth: usize,
    ) -> Result<(), ConditionFault> {
        self.visit(&all.iter_range, times, depth)?;
        self.visit(&all.accu_init, times, depth)?;
        let runs = self.runs(&all.iter_range, times);
        self.inner.push((&all.iter_var, runs));
        self.inner.push((&all.accu_var, runs));
        self.visit(&all.loop_cond, runs, depth)?;
        self.visit(&all.loop_step, runs, depth)?;
        self.visit(&all.result, times, depth)?;
        self.inner.truncate(self.inner.len() - VARIABLES_OF_A_LOOP);
        Ok(())
    }

    /// How often the body of a comprehension over this range can run, if the comprehension is evaluated `times` times. Parts of the
    /// elements of a list are no more than there is in the whole.
    fn runs(&self, range: &IdedExpr, times: u64) -> u64 {
        if let Expr::List(list) = &range.expr {
            return times.saturating_mul(list.elements.len() as u64);
        }
        match root(range).and_then(|name| self.inner.iter().rev().find(|(inner, _)| *inner == name)) {
            Some((_, outer)) => (*outer).max(ELEMENTS_MAX),
            None => times.saturating_mul(ELEMENTS_MAX),
        }
    }

    fn count(&mut self, expression: &IdedExpr, times: u64) -> Result<(), ConditionFault> {
        self.work = self.work.saturating_add(times);
        if self.work <= CONDITION_WORK_MAX {
            return Ok(());
        }
        let sentence =
            "it could take too long on a long body: what is asked of every element must be shorter";
        Err(self.fault(expression, sentence.to_owned()))
    }

    fn name(&mut self, expression: &IdedExpr, name: &'a str) -> Result<(), ConditionFault> {
        if self.is_part(name) || TYPE_NAMES.contains(&name) {
            return Ok(());
        }
        let Some(known) = self.names.iter().find(|known| **known == name) else {
            let sentence =
                format!("{name:?} is nothing that a rule knows; there are {}", self.names.join(", "));
            return Err(self.fault(expression, sentence));
        };
        if !self.asked.contains(known) {
            self.asked.push(known);
        }
        Ok(())
    }

    fn function(
        &mut self,
        expression: &IdedExpr,
        call: &'a CallExpr,
        times: u64,
    ) -> Result<(), ConditionFault> {
        let name = call.func_name.as_str();
        if is_operator(name) {
            return self.count(expression, times.saturating_mul(self.work_of_operator(name, &call.args)));
        }
        if !FUNCTIONS.contains(&name) {
            let sentence = format!("there is no function {name:?}; there are {}", FUNCTIONS.join(", "));
            return Err(self.fault(expression, sentence));
        }
        if name == "matches" {
            self.pattern(expression, call.args.last())?;
        }
        self.count(expression, times.saturating_mul(self.work_of_function(name, call)))
    }

    /// How much more than a step a function can take that looks through a text, or copies it.
    fn work_of_function(&self, name: &str, call: &CallExpr) -> u64 {
        let Some(text) = call.target.as_deref().or(call.args.first()) else { return 0 };
        let extent = self.extent_of_text(text);
        match name {
            "matches" => WORK_OF_MATCHES + extent / MATCHED_IN_A_STEP,
            "contains" | "size" | "string" => extent / COMPARED_IN_A_STEP,
            "bytes" => extent,
            _ => 0,
        }
    }

    /// As [`Self::extent`]. A part of an outer loop is looked through again for each element of the inner one, so it is no part there.
    fn extent_of_text(&self, expression: &IdedExpr) -> u64 {
        let outer = &self.inner[..self.inner.len().saturating_sub(VARIABLES_OF_A_LOOP)];
        match root(expression) {
            Some(name) if outer.iter().any(|(part, _)| *part == name) => ELEMENTS_MAX,
            Some(_) | None => self.extent(expression),
        }
    }

    /// How much more than a step an operator can take: some walk through all of what they are given, and a sum of lists is a new list.
    fn work_of_operator(&self, name: &str, operands: &[IdedExpr]) -> u64 {
        let [left, right] = operands else { return 0 };
        match name {
            operators::ADD => self.length(left).saturating_add(self.length(right)),
            operators::EQUALS | operators::NOT_EQUALS => {
                self.extent(left).min(self.extent(right)) / COMPARED_IN_A_STEP
            }
            operators::IN => self.extent(right) / COMPARED_IN_A_STEP,
            _ => 0,
        }
    }

    /// How many elements the value of an expression can have.
    #[expect(clippy::wildcard_enum_match_arm, reason = "another crate's enum, of which only this is meant")]
    fn length(&self, expression: &IdedExpr) -> u64 {
        match &expression.expr {
            Expr::List(list) => list.elements.len() as u64,
            _ => self.extent(expression),
        }
    }

    /// How many elements the value of an expression can have, those of its elements included. Parts of the elements of a list are taken
    /// for one each: over the whole list they are no more than there is in it.
    fn extent(&self, expression: &IdedExpr) -> u64 {
        let all =
            |parts: &[IdedExpr]| parts.iter().map(|part| self.extent(part)).fold(1, u64::saturating_add);
        match &expression.expr {
            Expr::List(list) => all(&list.elements),
            Expr::Call(call)
                if call.func_name == operators::CONDITIONAL || call.func_name == operators::ADD =>
            {
                all(&call.args)
            }
            Expr::Call(call) if call.func_name == "dyn" => all(&call.args),
            Expr::Ident(_) | Expr::Select(_) | Expr::Call(_) => match root(expression) {
                Some(name) if !self.is_part(name) && !SCALAR_NAMES.contains(&name) => ELEMENTS_MAX,
                Some(_) | None => 1,
            },
            Expr::Comprehension(_) | Expr::Map(_) => ELEMENTS_MAX,
            Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => 1,
        }
    }

    fn is_part(&self, name: &str) -> bool {
        self.inner.iter().any(|(inner, _)| *inner == name)
    }

    /// A pattern is written out: one that came with an answer could be as costly as its sender likes.
    fn pattern(&self, call: &IdedExpr, pattern: Option<&IdedExpr>) -> Result<(), ConditionFault> {
        let Some(Expr::Literal(LiteralValue::String(pattern))) = pattern.map(|pattern| &pattern.expr) else {
            return Err(self.fault(call, "the pattern of matches must be written out in quotes".to_owned()));
        };
        regex::RegexBuilder::new(pattern.inner()).size_limit(64 * 1024).build().map(drop).map_err(|error| {
            let error = error.to_string();
            let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            self.fault(call, format!("the pattern is no regular expression that can be used: {reason}"))
        })
    }

    fn fault(&self, expression: &IdedExpr, sentence: String) -> ConditionFault {
        let offset = self.source.offset_for(expression.id).map_or(0, |(start, _)| start as usize);
        let (mut line, mut column) = (1, 1);
        for character in self.text.get(..offset).unwrap_or_default().chars() {
            if character == '\n' {
                (line, column) = (line + 1, 1);
            } else {
                column += 1;
            }
        }
        ConditionFault { line, column, sentence }
    }
}

/// The name that a chain of fields and indices begins with.
#[expect(clippy::wildcard_enum_match_arm, reason = "another crate's enum, of which only these are meant")]
fn root(expression: &IdedExpr) -> Option<&str> {
    let mut part = expression;
    loop {
        part = match &part.expr {
            Expr::Ident(name) => return Some(name),
            Expr::Select(select) => &select.operand,
            Expr::Call(call) if call.func_name == operators::INDEX => call.args.first()?,
            _ => return None,
        };
    }
}

fn is_operator(name: &str) -> bool {
    // Those of optional values are not among them: they have no meaning over JSON.
    [
        operators::CONDITIONAL,
        operators::LOGICAL_AND,
        operators::LOGICAL_OR,
        operators::LOGICAL_NOT,
        operators::SUBSTRACT,
        operators::ADD,
        operators::MULTIPLY,
        operators::DIVIDE,
        operators::MODULO,
        operators::EQUALS,
        operators::NOT_EQUALS,
        operators::GREATER_EQUALS,
        operators::LESS_EQUALS,
        operators::GREATER,
        operators::LESS,
        operators::NEGATE,
        operators::INDEX,
        operators::IN,
        operators::NOT_STRICTLY_FALSE,
    ]
    .contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Condition, ConditionFault> {
        Condition::parse(text, ANSWER_NAMES)
    }

    #[test]
    fn a_bad_expression_is_refused_with_its_position() {
        for (text, line, column, part) in [
            ("status == ", 1, 11, "mismatched input"),
            ("status == 200 && boddy.code == 1", 1, 18, "\"boddy\""),
            ("status == 200 &&\n  bdy.code == 1", 2, 3, "\"bdy\""),
            ("'ä' == body.x || bdy == 1", 1, 18, "\"bdy\""),
            ("body.x.foo()", 1, 11, "\"foo\""),
            ("timestamp(body.x) == timestamp('x')", 1, 10, "\"timestamp\""),
            ("body.x.matches(body.y)", 1, 15, "written out"),
            ("body.x.matches('(')", 1, 15, "regular expression"),
            ("body.x.matches('(a{1000}){1000}')", 1, 15, "regular expression"),
            ("Foo{a: 1} == 1", 1, 4, "message types"),
            ("status = 200", 1, 8, "token recognition"),
            ("", 1, 1, "mismatched input"),
        ] {
            let fault = parse(text).unwrap_err();
            assert_eq!((fault.line, fault.column), (line, column), "{text:?}: {fault}");
            assert!(fault.sentence.contains(part), "{text:?}: {fault}");
        }
    }

    #[test]
    fn what_an_expression_could_take_up_is_bounded() {
        let deep_parentheses = format!("{}status{} == 1", "(".repeat(2_000), ")".repeat(2_000));
        let deep_lists = format!("{}1{} == body", "[".repeat(2_000), "]".repeat(2_000));
        let deep_fields = format!("body{} == 1", ".a".repeat(2_000));
        let deep_index = format!("body{} == 1", "[0]".repeat(1_200));
        let long_sum = format!("{}1 == 1", "1+".repeat(2_000));
        let long_question = "true?".repeat(800) + &"1:1".repeat(10);
        let too_long = "status == 200 || ".repeat(1_000) + "true";
        let squared = "body.all(a, body.all(b, body.all(c, a == b)))";
        let wide = format!("body.all(a, {} true)", "a == 1 && a != 2 && ".repeat(100));
        let regex = "body.all(a, body.x.matches('x') && body.y.matches('y') && a.matches('y'))";
        for text in [
            &deep_parentheses,
            &deep_lists,
            &deep_fields,
            &deep_index,
            &long_sum,
            &long_question,
            &too_long,
            squared,
            &wide,
            regex,
            // Each takes a step to be asked for and thousands to be answered, again for every element.
            "body.map(a, body + body).size() > 0",
            "body.all(a, size(body.x + [1]) > 0)",
            "body.all(a, body == body && a in body && [body] != [body])",
            "body.list.all(a, body.text.matches('x'))",
            "body.list.all(a, body.text.contains('x') && body.text.contains('y'))",
            "body.list.map(a, bytes(body.text)).size() > 0",
            "body.list.all(a, a.parts.all(b, a.text.matches('x')))",
        ] {
            assert!(parse(text).is_err(), "{}", &text[..40]);
        }
        for text in [
            "body.items.all(item, item.parts.exists(part, part.code == 7 && part.ok))",
            "body.errors.exists(e, e.code in [1, 2, 3, 4, 5] && e.text.contains('x'))",
            "body.errors.exists(e, e.code == body.code || e.code in body.known)",
            "body.errors.exists(e, e.text.matches('^a') || body.text.contains(e.text))",
            "body.items.all(item, item.parts.all(part, part.text.matches('x')))",
            "body.text.matches('^a') && body.text.contains('b') && size(body.text) > 3",
            "body.items.map(item, item.price + item.tax + int(body.fee)) == [1, 2]",
            "body.a + body.b == body.c",
            &format!("body.code in [{} 1]", "4001, ".repeat(600)),
            &format!("{} true", "status == 200 && ".repeat(200)),
        ] {
            assert_eq!(parse(text).map(drop), Ok(()), "{text}");
        }
    }
}
