/// Answers the value of an environment variable, if it is set.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A text after substitution.
pub(super) struct Substituted {
    pub text: String,
    /// Whether anything of it comes from the environment: it must then appear in no message.
    pub from_environment: bool,
}

pub(super) struct Problem {
    pub message: String,
    pub help: String,
}

/// Replaces `${NAME}` and `${NAME:-default}`, the default standing also for a variable that is empty, as in a shell.
/// `$${` stands for the characters `${`.
pub(super) fn substitute(text: &str, environment: Environment<'_>) -> Result<Substituted, Problem> {
    let mut done = String::with_capacity(text.len());
    let mut from_environment = false;
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, reference) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            done.push_str(before);
            done.push_str("${");
            rest = reference.get(2..).unwrap_or_default();
            continue;
        }
        done.push_str(before);
        let Some((inside, after)) = reference.get(2..).and_then(|inside| inside.split_once('}')) else {
            return Err(Problem {
                message: "`${` is not closed".to_owned(),
                help: "write `${NAME}` or `${NAME:-default}`, or `$${` for the two characters themselves"
                    .to_owned(),
            });
        };
        done.push_str(&value_of(inside, environment)?);
        from_environment = true;
        rest = after;
    }
    done.push_str(rest);
    Ok(Substituted { text: done, from_environment })
}

fn value_of(inside: &str, environment: Environment<'_>) -> Result<String, Problem> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(legal) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(Problem {
            message: format!("`{name}` is no name of an environment variable"),
            help: "write `${NAME}` or `${NAME:-default}`, or `$${` for the two characters themselves"
                .to_owned(),
        });
    }
    match (environment(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Problem {
            message: format!("the environment variable {name} is not set"),
            help: format!("set it, or give a default: `${{{name}:-default}}`"),
        }),
    }
}
