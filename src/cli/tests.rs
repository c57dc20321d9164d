use super::*;

/// The words of a command as a shell splits them; what a shell does with its output is left out.
fn words(command: &str) -> Vec<&str> {
    command.split_whitespace().take_while(|word| !["|", ">", ">>"].contains(word)).collect()
}

#[test]
fn flags_are_consistent() {
    Cli::described().debug_assert();
}

#[test]
fn every_subcommand_teaches_by_examples_that_parse() {
    let mut command = Cli::described();
    command.build();
    for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
        let name = subcommand.get_name();
        let help = subcommand.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples: Vec<&str> =
            help.lines().map(str::trim).filter(|line| line.starts_with(&format!("privynet {name}"))).collect();
        assert!(help.starts_with("Examples:") && !examples.is_empty(), "{name}: {help}");
        for example in examples {
            if let Err(error) = Cli::try_parse_from(words(example)) {
                panic!("{example}: {error}");
            }
        }
    }
}

#[test]
fn every_subcommand_speaks_json_and_can_be_quiet() {
    let mut command = Cli::described();
    command.build();
    for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
        for flag in ["json", "quiet", "color"] {
            let found = subcommand.get_arguments().find(|argument| argument.get_id() == flag);
            let heading = found.and_then(|argument| argument.get_help_heading());
            assert_eq!(heading, Some("Output"), "{}: --{flag}", subcommand.get_name());
        }
    }
    assert!(Cli::try_parse_from(["privynet", "show", "x", "--json", "--csv"]).is_err());
    assert!(Cli::try_parse_from(["privynet", "check", "x", "--json", "--quiet"]).is_err());
}

#[test]
fn what_is_misspelt_is_answered_with_what_was_meant() {
    for (words, meant) in [
        (&["privynet", "optimise", "b.yaml"][..], "'optimize'"),
        (&["privynet", "optimize", "b.yaml", "--frsh"], "'--fresh'"),
        (
            &["privynet", "measure", "--space", "s", "--split", "a", "--depth", "4", "--protocol", "referense"],
            "'reference'",
        ),
        (&["privynet", "measure", "--space", "s", "--split", "a", "--depth", "4", "--selection", "fishr"], "`fisher`"),
        (&["privynet", "schema", "bugdet"], "'budget'"),
    ] {
        let error = Cli::try_parse_from(words).unwrap_err().to_string();
        assert!(error.contains(meant), "{words:?}: {error}");
    }
}
