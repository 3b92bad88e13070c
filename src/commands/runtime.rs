//! The runtime that verbs run their tasks on.

use anyhow::Context as _;

/// All traffic runs on one thread: no exchange crosses another, which is what costs.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.context("cannot start")
}

/// Runs a task on a runtime of its own; a name that is still being looked up keeps nobody waiting.
pub(crate) fn block_on<T>(task: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = runtime()?;
    let outcome = runtime.block_on(task);
    runtime.shutdown_background();
    Ok(outcome)
}
