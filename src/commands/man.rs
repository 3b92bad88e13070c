//! `modtape man`: the manual pages, made of the command line's own words.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_mangen::Man;

use super::files::write_file;
use super::terminal::{plain, say, to_stdout};
use super::words::count;
use crate::cli::{Cli, Global, ManArgs};

/// Prints modtape(1), or writes a page for each command.
pub(super) fn run(args: &ManArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let pages = pages()?;
    let Some(dir) = &args.dir else {
        to_stdout(|out| Ok(out.write_all(&pages[0].text)?))?;
        return Ok(ExitCode::SUCCESS);
    };
    write_pages(&pages, dir)?;
    let dir = dir.display().to_string();
    let pages = count(pages.len() as u64, "page");
    say(global, format!("{pages} written to {}", plain(&dir)));
    Ok(ExitCode::SUCCESS)
}

struct Page {
    /// `modtape-record.1`
    file: String,
    text: Vec<u8>,
}

/// A page for each command; that of modtape itself first.
fn pages() -> anyhow::Result<Vec<Page>> {
    let mut modtape = Cli::command().disable_help_subcommand(true);
    modtape.build();
    let mut pages = Vec::new();
    let mut pending = vec![modtape];
    while let Some(command) = pending.pop() {
        let visible = command
            .get_subcommands()
            .filter(|command| !command.is_hide_set());
        pending.extend(visible.cloned());
        let page = Man::new(command);
        let (file, mut text) = (page.get_filename(), Vec::new());
        page.render(&mut text)?;
        pages.push(Page { file, text });
    }
    Ok(pages)
}

fn write_pages(pages: &[Page], dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    for page in pages {
        write_file(
            &dir.join(&page.file),
            |file| Ok(file.write_all(&page.text)?),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_of_its_own() {
        let pages = pages().unwrap();
        assert_eq!(pages[0].file, "modtape.1");
        let mut files: Vec<_> = pages.iter().map(|page| page.file.as_str()).collect();
        for file in [
            "modtape-record.1",
            "modtape-recordings-info.1",
            "modtape-ls.1",
        ] {
            assert!(files.contains(&file), "{file}: {files:?}");
        }
        files.sort_unstable();
        files.dedup();
        assert_eq!(files.len(), pages.len());
        for page in &pages {
            assert!(page.text.starts_with(b".ie"), "{}", page.file);
        }
    }
}
