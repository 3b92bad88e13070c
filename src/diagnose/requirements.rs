//! What requires what: the go.mod files of a recording as a graph, and what the go command makes of it.
//!
//! The main module's own go.mod is where it begins, or those of all modules of a workspace, if the
//! recording has them; else it begins at the modules that nobody requires. Sources: the Go modules reference ("Minimal version selection",
//! "Module graph pruning", "go.mod files") and cmd/go's `modload.readModGraph`.

use std::cell::OnceCell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io::Read as _;

use super::case::Asked;
use crate::coding::Coding;
use crate::gomod::{
    GoMod, Kind, ModuleVersion, Replacement, Route, TEXT_LIMIT, compare_go, compare_versions,
};
use crate::recording::{Recording, Row};

/// From this version of the language on, a go.mod file names all that its packages need, so that those
/// of its dependencies need not be read ("Module graph pruning").
const PRUNED_FROM: &str = "1.17";

/// How much is read of all go.mod files that were served, bytes: those of the largest module graphs have a tenth
/// of it. What is not read counts as not recorded.
const ALL: usize = 64 << 20;

/// The go.mod files of a recording.
#[derive(Debug, Clone, Default)]
pub(crate) struct Requirements {
    /// That of the main module, or those of the modules of a workspace.
    pub(crate) mains: Vec<GoMod>,
    /// The go.work file of the workspace.
    pub(crate) work: Option<GoMod>,
    /// What was served, by what was asked for.
    pub(crate) files: BTreeMap<ModuleVersion, Served>,
    /// What was served too, and not read, since it was too much.
    pub(crate) unread: BTreeSet<ModuleVersion>,
    /// Bytes of what was read.
    pub(super) bytes: usize,
}

/// A go.mod file that was served.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    /// Its content.
    pub(crate) go_mod: GoMod,
    /// The row that it came with, as an index.
    pub(crate) row: usize,
}

impl Requirements {
    /// Reads the go.mod files of a recording.
    pub(super) fn of(recording: &Recording, asked: &[Asked<'_>]) -> Self {
        Self::of_rows(recording, asked.iter().map(|it| (it.row, &it.listed.route)))
    }

    /// The same of rows with what they ask for; a [`Served::row`] counts them.
    pub(crate) fn of_rows<'r>(
        recording: &Recording,
        rows: impl Iterator<Item = (&'r Row, &'r Route)>,
    ) -> Self {
        let parse = |content: Vec<u8>| GoMod::parse(&content);
        let mut requirements = Self {
            mains: recording.main_mods().into_iter().map(parse).collect(),
            work: recording.main_work().map(parse),
            ..Self::default()
        };
        for (number, (row, route)) in rows.enumerate() {
            let (Kind::Mod, Some(path), Some(version), Some(200)) =
                (route.kind, &route.module, &route.version, row.status)
            else {
                continue;
            };
            if let Some(content) = content(recording, row) {
                requirements.take(ModuleVersion::of(path, version), &content, number);
            }
        }
        requirements
    }

    /// Takes a further go.mod file.
    pub(crate) fn add(&mut self, of: ModuleVersion, content: &[u8]) {
        self.take(of, content, usize::MAX);
    }

    fn take(&mut self, of: ModuleVersion, content: &[u8], row: usize) {
        let bytes = self.bytes.saturating_add(content.len());
        if bytes > ALL {
            if !self.files.contains_key(&of) {
                self.unread.insert(of);
            }
            return;
        }
        self.bytes = bytes;
        let go_mod = GoMod::parse(content);
        self.files.insert(of, Served { go_mod, row });
    }

    /// What is taken in place of something else.
    pub(crate) fn replacements(&self) -> impl Iterator<Item = &Replacement> {
        let files = self.work.iter().chain(&self.mains);
        files.flat_map(|file| &file.replace)
    }

    /// The user's own files, each with what it is called.
    pub(crate) fn own_files(&self) -> impl Iterator<Item = (&GoMod, String)> {
        let work = self
            .work
            .iter()
            .map(|file| (file, String::from("your go.work")));
        let mains = self.mains.iter().map(|file| {
            let name = match (&self.work, &file.module) {
                (Some(_), Some(path)) => format!("the go.mod of {path}"),
                _ => String::from("your go.mod"),
            };
            (file, name)
        });
        work.chain(mains)
    }

    /// What asks for a toolchain, a version of `golang.org/toolchain`: a line and the name of its file.
    pub(crate) fn asking_for(&self, toolchain: &str) -> Option<(String, String)> {
        let name = toolchain_name(toolchain)?;
        let served = self.files.iter();
        let served = served.map(|(of, served)| (&served.go_mod, format!("the go.mod of {of}")));
        self.own_files().chain(served).find_map(|(file, whose)| {
            let toolchain = file.toolchain.iter().map(|line| ("toolchain", line));
            let mut lines = toolchain.chain(file.go.iter().map(|line| ("go", line)));
            let is_it = |line: &str| {
                let version = line.strip_prefix("go").unwrap_or(line);
                name.strip_prefix("go") == Some(version)
            };
            let (verb, line) = lines.find(|(_, line)| is_it(line))?;
            Some((format!("{verb} {line}"), whose))
        })
    }

    /// The graph of them.
    pub(crate) fn graph(&self) -> Graph {
        let mut graph = Graph::default();
        for (of, served) in &self.files {
            let node = graph.node(of);
            graph.nodes[node].set_file(&served.go_mod);
            graph.require(node, &served.go_mod);
        }
        if self.mains.is_empty() {
            let mut is_required = vec![false; graph.nodes.len()];
            for edge in graph.nodes.iter().flat_map(|node| &node.edges) {
                is_required[edge.to] = true;
            }
            let nodes = 0..graph.nodes.len();
            let nobody = nodes.filter(|node| !is_required[*node] && graph.nodes[*node].has_file);
            graph.starts = nobody.collect();
            return graph;
        }
        for main in &self.mains {
            let path = main.module.as_deref().unwrap_or_default();
            let node = graph.node(&ModuleVersion::of(path, ""));
            graph.nodes[node].set_file(main);
            graph.require(node, main);
            graph.mains.push(node);
        }
        graph.starts.clone_from(&graph.mains);
        let excluded: BTreeSet<usize> = self
            .mains
            .iter()
            .flat_map(|main| &main.exclude)
            .filter_map(|of| graph.ids.get(of).copied())
            .collect();
        for node in &mut graph.nodes {
            node.edges.retain(|edge| !excluded.contains(&edge.to));
        }
        // What a go.work file replaces goes before what its modules do.
        let work: Vec<&Replacement> = self.work.iter().flat_map(|work| &work.replace).collect();
        let mains: Vec<&Replacement> = self.mains.iter().flat_map(|main| &main.replace).collect();
        graph.replace([&work, &mains]);
        graph
    }
}

/// `go1.24.1` of `v0.0.1-go1.24.1.linux-amd64`.
pub(crate) fn toolchain_name(version: &str) -> Option<&str> {
    let (_, name) = version.split_once('-')?;
    let (name, platform) = name.rsplit_once('.')?;
    platform.contains('-').then_some(name)
}

/// The content of an answer.
fn content(recording: &Recording, row: &Row) -> Option<Vec<u8>> {
    let exchange = recording.exchange(row).ok()?;
    let end = exchange.end()?;
    let body = end.body.as_ref()?;
    let encoded = recording.body(body).ok()?;
    let content = Coding::of(&end.headers).reader(encoded, body.bytes).ok()?;
    let mut bytes = Vec::new();
    content.take(TEXT_LIMIT + 1).read_to_end(&mut bytes).ok()?;
    // The go command takes no longer one.
    (bytes.len() as u64 <= TEXT_LIMIT).then_some(bytes)
}

/// Modules in versions, and which requires which.
#[derive(Debug, Clone, Default)]
pub(crate) struct Graph {
    /// The modules in versions; other fields name them by index.
    pub(crate) nodes: Vec<Node>,
    ids: HashMap<ModuleVersion, usize>,
    /// The main module, if its go.mod is known, or those of a workspace. They have no version.
    pub(crate) mains: Vec<usize>,
    /// Where it begins: at the main modules, or at what nobody requires.
    pub(crate) starts: Vec<usize>,
    /// Who requires each; made for the first that asks.
    required: OnceCell<Vec<Vec<usize>>>,
}

/// A module in a version.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Which.
    pub(crate) of: ModuleVersion,
    /// What it requires, or what it is replaced by.
    pub(crate) edges: Vec<Edge>,
    /// Whether its go.mod is known.
    pub(crate) has_file: bool,
    /// Whether the requirements of what it requires count too.
    pub(crate) is_unpruned: bool,
    /// Whether they do not, but `go mod tidy` looks at them all the same: its `-compat` is one release less than
    /// the `go` line.
    is_of_both: bool,
}

/// From a module to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edge {
    /// The other.
    pub(crate) to: usize,
    /// What the one has to do with it.
    pub(crate) link: Link,
}

/// What a module has to do with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// It requires it.
    Requires,
    /// It requires it, and nothing of it imports anything from there (`// indirect`).
    RequiresIndirectly,
    /// The main module has it replaced.
    ReplacedBy,
}

impl Node {
    fn set_file(&mut self, go_mod: &GoMod) {
        self.has_file = true;
        self.is_unpruned = is_unpruned(go_mod);
        let go = go_mod.go.as_deref().unwrap_or_default();
        self.is_of_both = !self.is_unpruned && compare_go(go, "1.18") == Ordering::Less;
    }
}

/// Whether a go.mod file was written for a Go that had no pruning; one without a `go` line was.
pub(crate) fn is_unpruned(go_mod: &GoMod) -> bool {
    let go = go_mod.go.as_deref().unwrap_or("1.16");
    compare_go(go, PRUNED_FROM) == Ordering::Less
}

/// How the go command reads a go.mod file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Read {
    /// Not at all.
    Not,
    /// Without those of what it requires.
    Alone,
    /// With those of what it requires.
    WithAll,
}

/// What minimal version selection takes from a graph.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    /// The version of each module.
    pub(crate) chosen: BTreeMap<String, String>,
    /// How many go.mod files of the graph are not known.
    pub(crate) missing: usize,
}

impl Graph {
    fn node(&mut self, of: &ModuleVersion) -> usize {
        if let Some(node) = self.ids.get(of) {
            return *node;
        }
        let node = self.nodes.len();
        self.nodes.push(Node {
            of: of.clone(),
            edges: Vec::new(),
            has_file: false,
            is_unpruned: false,
            is_of_both: false,
        });
        self.ids.insert(of.clone(), node);
        node
    }

    fn require(&mut self, node: usize, go_mod: &GoMod) {
        for line in &go_mod.require {
            let to = self.node(&line.of);
            let link = match line.is_indirect {
                true => Link::RequiresIndirectly,
                false => Link::Requires,
            };
            self.nodes[node].edges.push(Edge { to, link });
        }
    }

    /// Leads from what is replaced to what is taken instead: of several lists the first that has it
    /// counts.
    fn replace(&mut self, lists: [&[&Replacement]; 2]) {
        let lists = lists.map(|list| {
            // Of two replacements of the same the first counts.
            let mut fitting: HashMap<(&str, Option<&str>), &Replacement> = HashMap::new();
            for it in list {
                let key = (&*it.old, it.old_version.as_deref());
                fitting.entry(key).or_insert(it);
            }
            fitting
        });
        let mains: BTreeSet<usize> = self.mains.iter().copied().collect();
        for node in 0..self.nodes.len() {
            if mains.contains(&node) {
                continue;
            }
            let ModuleVersion { path, version } = &self.nodes[node].of;
            // A replacement of this version goes before one of all versions.
            let fitting = |list: &HashMap<(&str, Option<&str>), &Replacement>| {
                let this = list.get(&(&**path, Some(&**version)));
                let it = this.or_else(|| list.get(&(&**path, None)))?;
                let new = it.new_version.as_deref().unwrap_or_default();
                Some(ModuleVersion::of(&it.new, new))
            };
            let Some(new) = lists.iter().find_map(fitting) else {
                continue;
            };
            if new == self.nodes[node].of {
                continue;
            }
            let to = self.node(&new);
            let link = Link::ReplacedBy;
            self.nodes[node].edges = vec![Edge { to, link }];
        }
    }

    /// A module in a version, if the graph has it.
    pub(crate) fn find(&self, of: &ModuleVersion) -> Option<usize> {
        self.ids.get(of).copied()
    }

    /// The node that has the go.mod of this one: itself, or what it is replaced by.
    fn file_of(&self, node: usize) -> usize {
        match self.nodes[node].edges[..] {
            [
                Edge {
                    to,
                    link: Link::ReplacedBy,
                },
            ] => to,
            _ => node,
        }
    }

    /// Whether the main modules' go.mod files leave out requirements of requirements.
    pub(crate) fn is_pruned(&self) -> bool {
        let mut mains = self.mains.iter();
        !self.mains.is_empty() && mains.all(|main| !self.nodes[*main].is_unpruned)
    }

    /// The versions that the go command takes, as far as the go.mod files are known.
    pub(crate) fn select(&self) -> Selection {
        let mut selection = Selection::default();
        let mut is_mentioned = vec![false; self.nodes.len()];
        let own: BTreeSet<&str> = self
            .mains
            .iter()
            .map(|main| &*self.nodes[*main].of.path)
            .collect();
        let mut mention = |node: usize| {
            if std::mem::replace(&mut is_mentioned[node], true) {
                return;
            }
            let ModuleVersion { path, version } = &self.nodes[node].of;
            // A main module goes before any version of it.
            if own.contains(&**path) {
                return;
            }
            let known = selection.chosen.entry(path.clone()).or_default();
            if compare_versions(version, known) == Ordering::Greater || known.is_empty() {
                known.clone_from(version);
            }
        };
        match self.mains.is_empty() {
            false => {
                let starts = self
                    .starts
                    .iter()
                    .flat_map(|start| &self.nodes[*start].edges);
                starts.for_each(|edge| mention(edge.to));
            }
            true => self.starts.iter().for_each(|start| mention(*start)),
        }
        let mut missing = BTreeSet::new();
        for (node, read) in self.read().into_iter().enumerate() {
            let file = self.file_of(node);
            match read {
                Read::Not => {}
                _ if !self.nodes[file].has_file => {
                    missing.insert(file);
                }
                _ => self.nodes[file]
                    .edges
                    .iter()
                    .for_each(|edge| mention(edge.to)),
            }
        }
        selection.missing = missing.len();
        selection
    }

    /// How each go.mod file is read, as far as they are known; those of main modules are not among them.
    fn read(&self) -> Vec<Read> {
        let mut queue = VecDeque::new();
        for start in &self.starts {
            let own = &self.nodes[*start];
            match self.mains.is_empty() {
                false => {
                    let read = match own.is_unpruned {
                        true => Read::WithAll,
                        false => Read::Alone,
                    };
                    queue.extend(own.edges.iter().map(|edge| (edge.to, read)));
                }
                true => queue.push_back((*start, Read::WithAll)),
            }
        }
        self.read_from(queue)
    }

    /// The same where these are read.
    fn read_from(&self, mut queue: VecDeque<(usize, Read)>) -> Vec<Read> {
        let mut visited = vec![Read::Not; self.nodes.len()];
        while let Some((node, read)) = queue.pop_front() {
            if visited[node] >= read {
                continue;
            }
            visited[node] = read;
            let file = &self.nodes[self.file_of(node)];
            if read == Read::WithAll || file.is_unpruned {
                let left = file.edges.iter().map(|edge| edge.to);
                let left = left.filter(|to| visited[*to] < Read::WithAll);
                queue.extend(left.map(|to| (to, Read::WithAll)));
            }
        }
        visited
    }

    /// The versions whose `.info` and `.mod` commands can ask for that begin at the main modules, or at any of
    /// `roots`, as far as the go.mod files are known: all that the go.mod files name that they read.
    ///
    /// What is replaced does not count; what is taken instead does.
    pub(crate) fn within_reach<'r>(
        &self,
        roots: impl Iterator<Item = &'r ModuleVersion>,
    ) -> BTreeSet<&ModuleVersion> {
        let mut queue = VecDeque::new();
        for main in &self.mains {
            let own = &self.nodes[*main];
            let read = match own.is_unpruned || own.is_of_both {
                true => Read::WithAll,
                false => Read::Alone,
            };
            queue.extend(own.edges.iter().map(|edge| (edge.to, read)));
        }
        queue.extend(roots.filter_map(|of| Some((self.find(of)?, Read::Alone))));
        let read = self.read_from(queue).into_iter().enumerate();
        let read = read.filter(|(_, read)| *read != Read::Not);
        let mut named = BTreeSet::new();
        for (node, _) in read {
            let file = self.file_of(node);
            let edges = self.nodes[file].edges.iter();
            named.extend(edges.map(|edge| self.file_of(edge.to)));
            named.insert(file);
        }
        let mains = self.mains.iter().map(|main| &*self.nodes[*main].of.path);
        let own: BTreeSet<&str> = mains.collect();
        // A folder that is taken instead has no version.
        let is_served = |of: &&ModuleVersion| !of.version.is_empty() && !own.contains(&*of.path);
        let named = named.into_iter().map(|node| &self.nodes[node].of);
        named.filter(is_served).collect()
    }

    /// What the main modules have replaced.
    pub(crate) fn replaced(&self) -> impl Iterator<Item = &ModuleVersion> {
        let nodes = self.nodes.iter();
        let is_replaced = |node: &&Node| {
            matches!(
                node.edges[..],
                [Edge {
                    link: Link::ReplacedBy,
                    ..
                }]
            )
        };
        nodes.filter(is_replaced).map(|node| &node.of)
    }

    /// For each node, those whose go.mod files have the go command read its own.
    pub(crate) fn read_after(&self) -> Vec<Vec<usize>> {
        let mut after = vec![Vec::new(); self.nodes.len()];
        let mut lead = |from: usize, file: usize| {
            for edge in &self.nodes[file].edges {
                after[self.file_of(edge.to)].push(from);
            }
        };
        for main in &self.mains {
            lead(*main, *main);
        }
        for (node, read) in self.read().into_iter().enumerate() {
            let file = self.file_of(node);
            let is_unpruned = self.nodes[file].is_unpruned && read != Read::Not;
            if read == Read::WithAll || is_unpruned {
                lead(file, file);
            }
        }
        after
    }

    /// The shortest way from where the graph begins to one of `targets`, with how each step is made;
    /// the first has none. Through modules in their chosen versions, if there is such a way.
    pub(crate) fn chain(
        &self,
        targets: &BTreeSet<usize>,
        selection: &Selection,
    ) -> Vec<(usize, Option<Link>)> {
        let is_chosen = |node: usize| {
            let ModuleVersion { path, version } = &self.nodes[node].of;
            selection.chosen.get(path).is_none_or(|it| it == version)
        };
        let chosen = self.way(targets, |node| is_chosen(node) || targets.contains(&node));
        match chosen.is_empty() {
            true => self.way(targets, |_| true),
            false => chosen,
        }
    }

    fn way(
        &self,
        targets: &BTreeSet<usize>,
        is_open: impl Fn(usize) -> bool,
    ) -> Vec<(usize, Option<Link>)> {
        let mut came_from: HashMap<usize, Option<(usize, Link)>> =
            self.starts.iter().map(|start| (*start, None)).collect();
        let mut queue: VecDeque<usize> = self.starts.iter().copied().collect();
        while let Some(node) = queue.pop_front() {
            if targets.contains(&node) {
                return trace(node, &came_from);
            }
            for edge in &self.nodes[node].edges {
                if !came_from.contains_key(&edge.to) && is_open(edge.to) {
                    came_from.insert(edge.to, Some((node, edge.link)));
                    queue.push_back(edge.to);
                }
            }
        }
        Vec::new()
    }

    /// Who requires a module in a version, or is replaced by it, in order.
    pub(crate) fn required_by(&self, node: usize) -> impl Iterator<Item = usize> {
        let required = self.required.get_or_init(|| {
            let mut required = vec![Vec::new(); self.nodes.len()];
            let mut order: Vec<usize> = (0..self.nodes.len()).collect();
            order.sort_by(|a, b| self.nodes[*a].of.cmp(&self.nodes[*b].of));
            for from in order {
                for edge in &self.nodes[from].edges {
                    let by = &mut required[edge.to];
                    // A go.mod file may name a version twice.
                    if by.last() != Some(&from) {
                        by.push(from);
                    }
                }
            }
            required
        });
        required[node].iter().copied()
    }

    /// For each requirement of the starts, how many go.mod files are nearer to it than to any other,
    /// its own included; the largest number first.
    pub(crate) fn shares(&self) -> Vec<(usize, usize)> {
        let mut owner = vec![usize::MAX; self.nodes.len()];
        for start in &self.starts {
            owner[*start] = *start;
        }
        let of_mains = self.mains.iter().flat_map(|main| &self.nodes[*main].edges);
        let firsts: BTreeSet<usize> = match self.mains.is_empty() {
            false => of_mains.map(|edge| edge.to).collect(),
            true => self.starts.iter().copied().collect(),
        };
        for first in &firsts {
            owner[*first] = *first;
        }
        let mut queue: VecDeque<usize> = firsts.into_iter().collect();
        let mut shares: BTreeMap<usize, usize> = BTreeMap::new();
        while let Some(node) = queue.pop_front() {
            if self.nodes[node].has_file {
                *shares.entry(owner[node]).or_default() += 1;
            }
            for edge in &self.nodes[node].edges {
                if owner[edge.to] == usize::MAX {
                    owner[edge.to] = owner[node];
                    queue.push_back(edge.to);
                }
            }
        }
        let mut shares: Vec<(usize, usize)> = shares.into_iter().collect();
        shares.sort_by(|a, b| {
            let name = |share: &(usize, usize)| &self.nodes[share.0].of;
            b.1.cmp(&a.1).then_with(|| name(a).cmp(name(b)))
        });
        shares
    }
}

/// The steps that led to a node.
fn trace(
    node: usize,
    came_from: &HashMap<usize, Option<(usize, Link)>>,
) -> Vec<(usize, Option<Link>)> {
    let mut steps = Vec::new();
    let mut at = node;
    loop {
        let before = came_from.get(&at).copied().flatten();
        steps.push((at, before.map(|(_, link)| link)));
        match before {
            Some((node, _)) => at = node,
            None => break,
        }
    }
    steps.reverse();
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_to_be_read_is_told() {
        let of = |number| ModuleVersion::of(&format!("a.b/m{number}"), "v1.0.0");
        let long = vec![b'/'; 15 << 20];
        let mut requirements = Requirements::default();
        for number in 0..5 {
            requirements.add(of(number), &long);
        }
        // A short one has room.
        requirements.add(of(5), b"module a.b/m5\n");
        assert_eq!(requirements.unread, [of(4)].into());
        assert_eq!(requirements.files.len(), 5);
    }

    /// Requirements of files in the form `a.b/x v1.0.0: 1.17: a.b/y v1.0.0, a.b/z v1.1.0`.
    fn made(main: Option<&str>, files: &[&str]) -> Requirements {
        let files = files.iter().enumerate().map(|(row, line)| {
            let (of, rest) = line.split_once(": ").unwrap();
            let (path, version) = of.split_once(' ').unwrap();
            let (go, require) = rest.split_once(':').unwrap();
            let require: String = require
                .split(',')
                .map(|line| format!("require {}\n", line.trim()))
                .collect();
            let text = format!("module {path}\ngo {go}\n{require}");
            let go_mod = GoMod::parse(text.as_bytes());
            (ModuleVersion::of(path, version), Served { go_mod, row })
        });
        Requirements {
            mains: main
                .map(|text| GoMod::parse(text.as_bytes()))
                .into_iter()
                .collect(),
            work: None,
            files: files.collect(),
            ..Requirements::default()
        }
    }

    fn chosen(made: &Requirements) -> (Vec<String>, usize) {
        let selection = made.graph().select();
        let chosen = selection.chosen.iter();
        let chosen = chosen.map(|(path, version)| format!("{path} {version}"));
        (chosen.collect(), selection.missing)
    }

    fn chain(made: &Requirements, path: &str, version: &str) -> Vec<String> {
        let graph = made.graph();
        let target = graph.find(&ModuleVersion::of(path, version));
        let way = graph.chain(&target.into_iter().collect(), &graph.select());
        way.into_iter()
            .map(|(node, link)| {
                let link = match link {
                    None => "",
                    Some(Link::Requires) => "requires ",
                    Some(Link::RequiresIndirectly) => "has indirect ",
                    Some(Link::ReplacedBy) => "is replaced by ",
                };
                format!("{link}{}", graph.nodes[node].of)
            })
            .collect()
    }

    const TREE: &[&str] = &[
        "a.b/x v1.0.0: 1.16: a.b/deep v1.0.0",
        "a.b/y v1.0.0: 1.20: a.b/deep v1.2.0",
        "a.b/deep v1.0.0: 1.16: a.b/deeper v1.0.0",
        "a.b/deep v1.2.0: 1.16: a.b/deeper v1.3.0",
        "a.b/deeper v1.0.0: 1.16:",
        "a.b/deeper v1.3.0: 1.16:",
    ];

    #[test]
    fn the_highest_required_version_wins_and_pruning_decides_who_is_heard() {
        let require = "require a.b/x v1.0.0\nrequire a.b/y v1.0.0\n";
        // An old main module hears all.
        let old = made(Some(&format!("module a.b/main\ngo 1.16\n{require}")), TREE);
        let all = [
            "a.b/deep v1.2.0",
            "a.b/deeper v1.3.0",
            "a.b/x v1.0.0",
            "a.b/y v1.0.0",
        ];
        assert_eq!(chosen(&old), (all.map(str::to_owned).into(), 0));
        // A newer one does not ask what the requirements of a.b/y require.
        let new = made(Some(&format!("module a.b/main\ngo 1.17\n{require}")), TREE);
        let some = [
            "a.b/deep v1.2.0",
            "a.b/deeper v1.0.0",
            "a.b/x v1.0.0",
            "a.b/y v1.0.0",
        ];
        assert_eq!(chosen(&new), (some.map(str::to_owned).into(), 0));
        assert!(new.graph().is_pruned() && !old.graph().is_pruned());
    }

    #[test]
    fn what_is_not_on_the_recording_is_counted() {
        let main = "module a.b/main\ngo 1.16\nrequire a.b/x v1.0.0\nrequire a.b/gone v1.0.0\n";
        assert_eq!(chosen(&made(Some(main), &TREE[..1])).1, 2);
        // Without the main module it begins at what nobody requires.
        let (found, missing) = chosen(&made(None, TREE));
        assert_eq!((found.len(), missing), (4, 0));
        assert_eq!(chosen(&made(None, &[])), (Vec::new(), 0));
    }

    #[test]
    fn a_chain_leads_from_the_main_module_through_what_is_chosen() {
        let main =
            "module a.b/main\ngo 1.16\nrequire a.b/x v1.0.0 // indirect\nrequire a.b/y v1.0.0\n";
        let made = made(Some(main), TREE);
        assert_eq!(
            chain(&made, "a.b/deeper", "v1.3.0"),
            [
                "a.b/main ",
                "requires a.b/y v1.0.0",
                "requires a.b/deep v1.2.0",
                "requires a.b/deeper v1.3.0"
            ]
        );
        // What lost was asked for all the same.
        assert_eq!(
            chain(&made, "a.b/deep", "v1.0.0"),
            [
                "a.b/main ",
                "has indirect a.b/x v1.0.0",
                "requires a.b/deep v1.0.0"
            ]
        );
        assert_eq!(chain(&made, "a.b/none", "v1.0.0"), [""; 0]);
    }

    /// Each module of a workspace is pruned or not by its own go line, and what go.work replaces goes
    /// first.
    #[test]
    fn a_workspace_has_several_main_modules() {
        let app = "module a.b/app\ngo 1.22\nrequire a.b/y v1.0.0\nrequire a.b/lib v0.1.0\n";
        let lib = "module a.b/lib\ngo 1.16\nrequire a.b/x v1.0.0\nreplace a.b/deeper => ../a\n";
        let mut made = made(None, TREE);
        made.mains = [app, lib].map(|text| GoMod::parse(text.as_bytes())).into();
        let some = [
            "a.b/deep v1.2.0",
            "a.b/deeper v1.0.0",
            "a.b/x v1.0.0",
            "a.b/y v1.0.0",
        ];
        // That of a.b/lib v0.1.0, and that of ../a.
        assert_eq!(chosen(&made), (some.map(str::to_owned).into(), 2));
        assert!(!made.graph().is_pruned());
        assert_eq!(
            chain(&made, "a.b/deep", "v1.0.0"),
            [
                "a.b/lib ",
                "requires a.b/x v1.0.0",
                "requires a.b/deep v1.0.0"
            ]
        );
        made.work = Some(GoMod::parse(
            b"go 1.22\nuse ./app\nreplace a.b/deeper => ../b\n",
        ));
        let last = chain(&made, "../b", "").pop();
        assert_eq!(last.as_deref(), Some("is replaced by ../b "));
        assert_eq!(chain(&made, "../a", ""), [""; 0]);
    }

    #[test]
    fn a_circle_of_requirements_has_an_end() {
        let circle = [
            "a.b/x v1.0.0: 1.16: a.b/y v1.0.0",
            "a.b/y v1.0.0: 1.16: a.b/x v1.0.0",
        ];
        let main = "module a.b/main\ngo 1.16\nrequire a.b/x v1.0.0\n";
        let made = made(Some(main), &circle);
        assert_eq!(chosen(&made).0.len(), 2);
        assert_eq!(chain(&made, "a.b/y", "v1.0.0").len(), 3);
        assert_eq!(made.graph().shares().len(), 1);
    }

    #[test]
    fn what_is_replaced_or_excluded_leads_elsewhere() {
        let main = "module a.b/main\ngo 1.16\nrequire a.b/x v1.0.0\n\
            replace a.b/x => a.b/fork v1.9.0\nreplace a.b/y v1.0.0 => ../y\nexclude a.b/z v1.0.0\n";
        let files = [
            "a.b/fork v1.9.0: 1.16: a.b/y v1.0.0, a.b/z v1.0.0",
            "a.b/y v1.0.0: 1.16: a.b/unseen v1.0.0",
        ];
        let made = made(Some(main), &files);
        assert_eq!(
            chain(&made, "a.b/y", "v1.0.0"),
            [
                "a.b/main ",
                "requires a.b/x v1.0.0",
                "is replaced by a.b/fork v1.9.0",
                "requires a.b/y v1.0.0"
            ]
        );
        let (chosen, missing) = chosen(&made);
        assert_eq!(chosen, ["a.b/x v1.0.0", "a.b/y v1.0.0"]);
        // The folder's go.mod.
        assert_eq!(missing, 1);
    }

    #[test]
    fn each_file_hangs_at_the_nearest_requirement() {
        let main = "module a.b/main\ngo 1.16\nrequire a.b/x v1.0.0\nrequire a.b/y v1.0.0\n";
        let made = made(Some(main), TREE);
        let graph = made.graph();
        let shares: Vec<_> = graph
            .shares()
            .into_iter()
            .map(|(node, number)| (graph.nodes[node].of.to_string(), number))
            .collect();
        let expected = [
            ("a.b/x v1.0.0".to_owned(), 3),
            ("a.b/y v1.0.0".to_owned(), 3),
        ];
        assert_eq!(shares, expected);
    }
}
