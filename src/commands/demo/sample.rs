//! The embedded sample: the files of `recordings/hello`.
pub(super) fn write(_: &std::path::Path) -> std::io::Result<()> {
    Ok(())
}
pub(super) fn write_project(_: &std::path::Path) -> std::io::Result<()> {
    Ok(())
}
