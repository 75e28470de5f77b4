//! A person's word before the first write. Whoever is asked may also end the command: a signal is an answer.

use std::io::{self, IsTerminal};

use tokio_util::sync::CancellationToken;

use super::Context;
use super::output::{Failure, note};
use crate::sync::ports::PortError;

/// Asks a person to agree. `instead` is what spares the question where nobody can be asked, `otherwise` what is so without
/// a yes.
pub(super) async fn ask(context: &Context, instead: &str, otherwise: &str) -> Result<(), Failure> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Err(Failure::new(format!("nobody is there to be asked: {instead}; {otherwise}")));
    }
    if confirmed(context).await? { Ok(()) } else { Err(Failure::new(format!("not confirmed; {otherwise}"))) }
}

/// Whether a person at the terminal says yes.
pub(super) async fn confirmed(context: &Context) -> Result<bool, Failure> {
    note("go on? [y/N]");
    answered(|line| io::stdin().read_line(line), &context.stop).await
}

/// Whether the line that `read` brings is a yes. What is still being read when a signal comes is not waited for.
async fn answered(
    read: impl FnOnce(&mut String) -> io::Result<usize> + Send + 'static,
    stop: &CancellationToken,
) -> Result<bool, Failure> {
    let line = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        read(&mut line).map(|_| line)
    });
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(PortError::Interrupted.into()),
        line = line => {
            let line = line.map_err(io::Error::from)??;
            Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write, pipe};
    use std::time::Duration;

    use super::*;

    /// What is made of an answer that is being typed, and whether the signal came before its end.
    async fn asked(typed: &str, signalled: bool) -> Result<bool, Failure> {
        let (reader, mut writer) = pipe().unwrap();
        writer.write_all(typed.as_bytes()).unwrap();
        let stop = CancellationToken::new();
        if signalled {
            stop.cancel();
        }
        let result = answered(move |line| BufReader::new(reader).read_line(line), &stop).await;
        drop(writer);
        result
    }

    #[tokio::test]
    async fn a_person_says_yes_or_ends_the_command_without_an_answer() {
        for (typed, yes) in [("y\n", true), ("Yes \n", true), ("n\n", false), ("\n", false), ("yo\n", false)] {
            assert_eq!(asked(typed, false).await.unwrap(), yes, "{typed:?}");
        }
        let asked = tokio::time::timeout(Duration::from_secs(10), asked("", true)).await;
        let failure = asked.expect("it waits for an answer").unwrap_err();
        assert_eq!(failure.code(), super::super::output::INTERRUPTED, "{failure}");
    }
}
