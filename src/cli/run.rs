//! `deskferry run`: the service.

use std::sync::Arc;

use super::Context;
use super::output::{DONE, Failure, INTERRUPTED, LEFT_OVER, note};
use crate::daemon::{Ending, Log, Service, ServiceError};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command. A stop that was asked for is no failure: exit code 0. What no restart mends is 2, what may pass is 1;
/// whoever starts the service again goes by that.
pub async fn run(_args: Args, context: &Context) -> Result<u8, Failure> {
    end_at_a_panic();
    match serve(context).await {
        Err(failure) if failure.is_passing() => {
            note(format_args!("error: {failure}"));
            Ok(LEFT_OVER)
        }
        ended => ended,
    }
}

async fn serve(context: &Context) -> Result<u8, Failure> {
    let loaded = context.load_to_connect()?;
    let store = context.open_state(&loaded.settings, "run, the service").await?;
    let around = context.surroundings(Arc::new(Log::default()));
    let service = Service::new(loaded, store, around).await?;
    Ok(match service.run().await {
        Ok(Ending::Clean) => DONE,
        Ok(Ending::CutOff) => INTERRUPTED,
        Err(error @ ServiceError::Misfit(_)) => return Err(error.into()),
        Err(error) => {
            note(format_args!("error: {}", Failure::chain(&error)));
            LEFT_OVER
        }
    })
}

/// A task that panicked would leave a service that looks alive and is not whole. The state is made for a sudden end, and
/// whoever started the service starts it again.
fn end_at_a_panic() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        std::process::abort();
    }));
}

impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::App(error) => error.into(),
            ServiceError::Store(error) => error.into(),
            other => Self::chain(&other),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;
    use std::time::Duration;

    use super::end_at_a_panic;

    /// Set for the process that is to end.
    const PLANTED: &str = "DESKFERRY_TEST_PLANTED_PANIC";

    #[test]
    fn a_panic_in_a_task_that_nobody_waits_for_ends_the_process_and_not_as_a_success() {
        if std::env::var_os(PLANTED).is_some() {
            end_at_a_panic();
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let mut tasks = tokio::task::JoinSet::new();
                tasks.spawn(async { panic!("planted") });
                // The rest of the process would work on.
                tokio::time::sleep(Duration::from_secs(20)).await;
            });
            return;
        }
        let name = "cli::run::tests::a_panic_in_a_task_that_nobody_waits_for_ends_the_process_and_not_as_a_success";
        let ended = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(PLANTED, "1")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&ended.stderr);
        assert_eq!((ended.status.code(), ended.status.signal()), (None, Some(6)), "{told}");
        assert!(told.contains("planted"), "{told}");
    }
}
