//! What the command line of later versions has: known by name, so that it is refused by name.

use clap::{
    Arg, ArgMatches, Command, Error,
    error::{ContextKind, ContextValue},
};

/// Commands, by the words that lead to them.
const COMMANDS: [&[&str]; 7] = [
    &["top"],
    &["tap"],
    &["documents", "history"],
    &["projections", "replay"],
    &["projections", "diff"],
    &["projections", "promote"],
    &["projections", "rollback"],
];

/// Makes the parser know them, without showing them.
pub fn add_to(mut command: Command) -> Command {
    for words in COMMANDS {
        command = add_command(command, words);
    }
    command
}

fn add_command(parent: Command, words: &[&'static str]) -> Command {
    match words {
        [] => parent,
        [name] => {
            let rest = Arg::new("rest").num_args(0..).trailing_var_arg(true).allow_hyphen_values(true);
            parent.subcommand(Command::new(*name).hide(true).disable_help_flag(true).arg(rest))
        }
        [name, rest @ ..] => parent.mut_subcommand(*name, |parent| add_command(parent, rest)),
    }
}

/// The command of a later version that was asked for, as the user wrote it.
pub fn asked_for(matches: &ArgMatches) -> Option<String> {
    let words = words_of(matches);
    COMMANDS.iter().any(|later| *later == words).then(|| words.join(" "))
}

/// A word that is no command is not met with the name of one that is not here yet.
pub fn without_their_tips(mut error: Error) -> Error {
    let is_later = |tip: &String| COMMANDS.iter().any(|words| words.last() == Some(&tip.as_str()));
    match error.remove(ContextKind::SuggestedSubcommand) {
        Some(ContextValue::Strings(tips)) => {
            let tips: Vec<String> = tips.into_iter().filter(|tip| !is_later(tip)).collect();
            match tips.is_empty() {
                true => error.remove(ContextKind::Suggested),
                false => error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(tips)),
            };
        }
        Some(other) => drop(error.insert(ContextKind::SuggestedSubcommand, other)),
        None => {}
    }
    error
}

fn words_of(matches: &ArgMatches) -> Vec<&str> {
    let (mut words, mut matches) = (Vec::new(), matches);
    while let Some((name, inner)) = matches.subcommand() {
        words.push(name);
        matches = inner;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;

    fn asked(line: &str) -> Option<String> {
        let words = std::iter::once("foldstream").chain(line.split(' '));
        asked_for(&Cli::full_command().try_get_matches_from(words).unwrap())
    }

    #[test]
    fn what_comes_later_is_recognised_whatever_follows_it() {
        for line in ["tap", "projections diff x --reason x", "projections replay orders --dry-run", "top -h"]
        {
            assert!(asked(line).is_some(), "{line}");
        }
        assert_eq!(asked("projections promote x").unwrap(), "projections promote");
    }

    #[test]
    fn what_is_here_is_not_taken_for_later() {
        assert_eq!(asked("validate --online"), None);
        assert_eq!(asked("projections list"), None);
    }
}
