//! `modtape serve --from`: a recording, or a tree of files, in the place of every upstream.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};

use crate::child;
use crate::cli::Global;
use crate::commands::answers;
use crate::commands::failure::{Advise as _, Failure, USAGE};
use crate::commands::runtime::Stop;
use crate::commands::selection::{defects, resolve};
use crate::diagnose::rerun::{self, COLD, Rerun};
use crate::gomod::GoProxy;
use crate::recording::reader::Status;
use crate::recording::{Recording, folder};
use crate::replay::{Options, Replay};
use crate::serve::Tree;
use crate::shell;
use crate::terminal::{Look, plain, say, summary, warn};

/// What answers, with nobody behind it.
#[derive(Clone)]
pub(super) enum Held {
    Recording(Recorded),
    Tree { path: PathBuf, tree: Tree },
}

/// A recording that answers.
#[derive(Clone)]
pub(super) struct Recorded {
    pub(super) replay: Arc<Replay>,
    /// GOPROXY of the recorded command.
    pub(super) goproxy: String,
    /// Its GOSUMDB.
    pub(super) gosumdb: String,
    /// The command line that records what is missing.
    recorder: String,
}

impl Held {
    /// What `--from` names: a recording, else a folder.
    pub(super) fn open(name: &str, global: &Global) -> Result<Self, Failure> {
        let path = Path::new(name);
        match resolve(name, global) {
            Ok(dir) if folder::is_recording(&dir) => Self::recording(&dir, global),
            _ if path.is_dir() => Self::tree(path),
            Ok(dir) => Self::tree(&dir),
            Err(error) => Err(Failure::new(USAGE, error)),
        }
    }

    fn recording(dir: &Path, global: &Global) -> Result<Self, Failure> {
        let mut recording = Recording::open(dir).map_err(anyhow::Error::new)?;
        let name = recording.name();
        let mut told: Vec<_> = defects(&recording)
            .into_iter()
            .map(|defect| defect.what)
            .collect();
        if recording.status() != Status::Sealed {
            let word = shell::word(&name).into_owned();
            let what = "is not sealed, and answers only what was asked when it was recorded";
            told.push(format!("{what}: `modtape seal {word}` completes it"));
        }
        if !told.is_empty() {
            warn(global, plain(&format!("{name} {}", told.join("; it "))));
        }
        let _ = answers::complete_faults(&mut recording, &Stop::default(), global);
        let settings = child::replayed_settings(&recording.manifest().go_env);
        let setting = |name: &str| settings.get(name).cloned().unwrap_or_default();
        let goproxy = setting("GOPROXY");
        if GoProxy::parse(&goproxy).bases().is_empty() {
            let shown = plain(&goproxy).into_owned();
            let message =
                anyhow!("{name} was recorded with GOPROXY={shown}: no module proxy answers in it");
            let help = "`modtape export goproxy` makes a tree of it, which --from serves too";
            return Err::<_, _>(message)
                .help(help)
                .map_err(|error| Failure::new(USAGE, error));
        }
        let gosumdb = setting("GOSUMDB");
        let recorder = recorder(&recording, global);
        let replay = Replay::answering(recording, recorder.clone(), Options::default());
        Ok(Self::Recording(Recorded {
            replay: Arc::new(replay),
            goproxy,
            gosumdb,
            recorder,
        }))
    }

    fn tree(path: &Path) -> Result<Self, Failure> {
        let shown = path.display().to_string();
        let shown = plain(&shown).into_owned();
        let tree = Tree::open(path).with_context(|| format!("cannot read {shown}"))?;
        match tree {
            Some(tree) => Ok(Self::Tree {
                path: path.to_owned(),
                tree,
            }),
            None => {
                let message = anyhow!(
                    "{shown} is neither a recording nor the tree of a module proxy: no folder @v is in it"
                );
                let help = "`modtape export goproxy` makes a tree; GOMODCACHE is one too";
                Err::<_, _>(message)
                    .help(help)
                    .map_err(|error| Failure::new(USAGE, error))
            }
        }
    }

    /// The list in whose place it answers.
    pub(super) fn goproxy(&self) -> &str {
        match self {
            Self::Recording(recorded) => &recorded.goproxy,
            Self::Tree { .. } => "",
        }
    }

    /// The folder of files, if it is one.
    pub(super) fn files(&self) -> Option<Tree> {
        match self {
            Self::Recording(_) => None,
            Self::Tree { tree, .. } => Some(tree.clone()),
        }
    }

    /// The recording, if it is one.
    pub(super) fn recorded(&self) -> Option<&Recorded> {
        match self {
            Self::Recording(recorded) => Some(recorded),
            Self::Tree { .. } => None,
        }
    }

    /// What it is, in words.
    pub(super) fn what(&self) -> String {
        match self {
            Self::Recording(recorded) => {
                let name = recorded.replay.recording().name();
                format!("recording {}", plain(&name))
            }
            Self::Tree { path, .. } => {
                let path = path.display().to_string();
                format!("tree {}", plain(&path))
            }
        }
    }

    /// Says what a recording has answered, and what it lacked.
    pub(super) fn summarize(&self, global: &Global) {
        let Self::Recording(recorded) = self else {
            return;
        };
        let misses = recorded.replay.misses();
        let message = summary::Replayed {
            hits: recorded.replay.hits(),
            misses: &misses,
            recorder: &recorded.recorder,
            packets: None,
        };
        say(global, summary::replayed(&message, Look::of_stderr(global)));
    }
}

/// The command line that records what a recording lacks, under a new name.
fn recorder(recording: &Recording, global: &Global) -> String {
    let manifest = recording.manifest();
    let mut options = rerun::trusted(&manifest.options);
    options.push(COLD.into());
    let output = PathBuf::from(format!("{}-more", recording.name()));
    let rerun = Rerun {
        options,
        place: rerun::place(&output, global),
        command: manifest.command.clone(),
    };
    rerun.line(&[])
}
