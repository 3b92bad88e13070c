//! A disk that remembers every write and every flush, so that a power cut can be had at any moment.
//!
//! A FUSE file system that is one regular file (the kernel's protocol by hand, `linux/fuse.h`),
//! under a loop device, under ext4. The kernel writes to the file what it would write to a disk, and
//! asks for `FSYNC` where it would flush the disk's cache.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::random::Dice;
use crate::support::{program, skipped};

/// The disk's size, bytes: ext4 with a journal wants some.
const SIZE: usize = 24 << 20;

const BLOCK: usize = 4096;

/// What a disk was told.
#[derive(Clone)]
pub(super) enum Told {
    /// To write these bytes there.
    Write(u64, Vec<u8>),
    /// To make durable what was written.
    Flush,
}

/// All that a disk was told, in order, and when.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<(Instant, Told)>>>);

impl Log {
    pub(super) fn len(&self) -> usize {
        self.0.lock().expect("no panic while locked").len()
    }

    pub(super) fn all(&self) -> Vec<(Instant, Told)> {
        self.0.lock().expect("no panic while locked").clone()
    }

    fn add(&self, told: Told) {
        let entry = (now(), told);
        self.0.lock().expect("no panic while locked").push(entry);
    }
}

#[expect(clippy::disallowed_methods, reason = "a disk that fills in real time")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// A mounted disk; unmounted when dropped.
pub(super) struct Disk {
    /// An empty file system.
    pub(super) dir: PathBuf,
    pub(super) log: Log,
    blank: Vec<u8>,
    file: PathBuf,
    device: Option<String>,
    server: Option<JoinHandle<()>>,
}

impl Disk {
    /// A disk below `folder`; `None`, with a line on stderr, where there can be none.
    pub(super) fn mount(folder: &Path) -> Option<Self> {
        match Self::try_mount(folder) {
            Ok(disk) => Some(disk),
            Err(why) => {
                let must = std::env::var_os("CI").is_some_and(|ci| ci == "true");
                assert!(!must || !Path::new("/dev/fuse").exists(), "no disk: {why}");
                skipped(&format!("power cuts: {why}"));
                None
            }
        }
    }

    fn try_mount(folder: &Path) -> Result<Self, String> {
        let device = File::options().read(true).write(true).open("/dev/fuse");
        let fuse = device.map_err(|error| format!("/dev/fuse: {error}"))?;
        let (file, dir) = (folder.join("disk"), folder.join("mounted"));
        File::create(&file)
            .and_then(|file| file.set_len(SIZE as u64))
            .map_err(|error| error.to_string())?;
        fs::create_dir(&dir).map_err(|error| error.to_string())?;
        tool(
            "mkfs.ext4",
            &["-q", "-F", "-b", "4096", "-J", "size=4"],
            &[
                "-E",
                "lazy_itable_init=0,lazy_journal_init=0,nodiscard",
                text(&file),
            ],
        )?;
        let blank = fs::read(&file).map_err(|error| error.to_string())?;
        let log = Log::default();
        let mounting = Arc::new(AtomicBool::new(true));
        let mut server = Server {
            fuse: fuse.try_clone().map_err(|error| error.to_string())?,
            bytes: blank.clone(),
            log: log.clone(),
            mounting: Arc::clone(&mounting),
        };
        let server = thread::spawn(move || server.run());
        let mut disk = Self {
            dir,
            log,
            blank,
            file,
            device: None,
            server: Some(server),
        };
        // The descriptor is given as mount's stdin; -i: it calls no helper, and does it itself.
        let options = "fd=0,rootmode=100000,user_id=0,group_id=0";
        let mut mount = program("mount");
        mount.args(["-i", "-t", "fuse", "-o", options, "modtape-disk"]);
        mount.arg(&disk.file).stdin(Stdio::from(fuse));
        let mounted = finish(mount);
        mounting.store(false, Ordering::SeqCst);
        mounted?;
        let device = tool("losetup", &["-f", "--show"], &[text(&disk.file)])?;
        let device = device.trim().to_owned();
        disk.device = Some(device.clone());
        tool("mount", &["-t", "ext4"], &[&device, text(&disk.dir)])?;
        Ok(disk)
    }

    /// What lies on the disk when the power is cut after `until` entries of `log`.
    pub(super) fn after_cut(
        &self,
        log: &[(Instant, Told)],
        until: usize,
        dice: &mut Dice,
    ) -> Image {
        let log = &log[..until];
        let flushed = log
            .iter()
            .rposition(|(_, told)| matches!(told, Told::Flush));
        let durable = flushed.map_or(0, |at| at + 1);
        // A third of the cuts find all that was written on the disk, the others any part of it.
        let in_order = dice.below(3) == 0;
        let mut bytes = self.blank.clone();
        for (at, (_, told)) in log.iter().enumerate() {
            let Told::Write(offset, data) = told else {
                continue;
            };
            if at < durable || in_order || dice.below(2) == 0 {
                let offset = *offset as usize;
                bytes[offset..offset + data.len()].copy_from_slice(data);
            }
        }
        Image(bytes)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = tool("umount", &[], &[text(&self.dir)]);
        if let Some(device) = &self.device {
            let _ = tool("losetup", &["-d"], &[device]);
        }
        let _ = tool("umount", &["-l"], &[text(&self.file)]);
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

/// The bytes of a disk.
pub(super) struct Image(Vec<u8>);

impl Image {
    /// Mounts it as the next start of the machine would, journal recovered, and looks at it.
    pub(super) fn look<T>(&self, at: impl FnOnce(&Path) -> T) -> T {
        // In memory where that is possible: tens of megabytes each.
        let memory = Path::new("/dev/shm");
        let folder = match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        };
        let folder = folder.expect("a temporary folder");
        let (file, dir) = (folder.path().join("image"), folder.path().join("dir"));
        fs::create_dir(&dir).expect("a folder");
        self.write(&file).expect("there is room for an image");
        let mounted = tool(
            "mount",
            &["-t", "ext4", "-o", "loop"],
            &[text(&file), text(&dir)],
        );
        let mounted = mounted.map(|_| Mounted(&dir));
        let guard = mounted.unwrap_or_else(|why| panic!("ext4 cannot recover: {why}"));
        let seen = at(&dir);
        drop(guard);
        seen
    }

    fn write(&self, path: &Path) -> std::io::Result<()> {
        let mut file = File::create(path)?;
        file.set_len(self.0.len() as u64)?;
        for (at, block) in self.0.chunks(BLOCK).enumerate() {
            if block.iter().any(|byte| *byte != 0) {
                file.seek(SeekFrom::Start((at * BLOCK) as u64))?;
                file.write_all(block)?;
            }
        }
        Ok(())
    }
}

struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = tool("umount", &[], &[text(self.0)]);
    }
}

/// The file system of one file.
struct Server {
    fuse: File,
    bytes: Vec<u8>,
    log: Log,
    mounting: Arc<AtomicBool>,
}

/// `struct fuse_in_header`.
const HEAD: usize = 40;

const ENOSYS: i32 = 38;

impl Server {
    /// Answers until it is unmounted.
    fn run(&mut self) {
        let mut request = vec![0; 1 << 20];
        loop {
            let len = match self.fuse.read(&mut request) {
                Ok(len) => len,
                // EPERM: it is not mounted yet, which is somebody else's work right now.
                Err(error)
                    if error.kind() == ErrorKind::PermissionDenied
                        && self.mounting.load(Ordering::SeqCst) =>
                {
                    thread::yield_now();
                    continue;
                }
                // ENODEV: it is not mounted any more.
                Err(_) => return,
            };
            let request = &request[..len];
            let (opcode, unique) = (u32_at(request, 4), u64_at(request, 8));
            let answer = self.answer(opcode, &request[HEAD..]);
            let Some(answer) = answer.transpose() else {
                continue;
            };
            let (error, body) = match answer {
                Ok(body) => (0, body),
                Err(errno) => (-errno, Vec::new()),
            };
            let mut reply = Vec::with_capacity(16 + body.len());
            reply.extend((16 + body.len() as u32).to_le_bytes());
            reply.extend(error.to_le_bytes());
            reply.extend(unique.to_le_bytes());
            reply.extend(body);
            // The request may have been interrupted meanwhile.
            let _ = self.fuse.write_all(&reply);
        }
    }

    /// `None` where no answer is expected.
    fn answer(&mut self, opcode: u32, body: &[u8]) -> Result<Option<Vec<u8>>, i32> {
        let answer = match opcode {
            // FORGET, INTERRUPT, BATCH_FORGET
            2 | 36 | 42 => return Ok(None),
            // GETATTR, SETATTR
            3 | 4 => self.attributes(),
            // OPEN
            14 => vec![0; 16],
            // READ
            15 => {
                let from = (u64_at(body, 8) as usize).min(self.bytes.len());
                let to = (from + u32_at(body, 16) as usize).min(self.bytes.len());
                self.bytes[from..to].to_vec()
            }
            // WRITE
            16 => {
                let (offset, size) = (u64_at(body, 8), u32_at(body, 16));
                let data = &body[40..40 + size as usize];
                self.bytes[offset as usize..][..data.len()].copy_from_slice(data);
                self.log.add(Told::Write(offset, data.to_vec()));
                [size.to_le_bytes(), [0; 4]].concat()
            }
            // STATFS
            17 => vec![0; 80],
            // RELEASE, FLUSH, ACCESS, DESTROY
            18 | 25 | 34 | 38 => Vec::new(),
            // FSYNC
            20 => {
                self.log.add(Told::Flush);
                Vec::new()
            }
            // INIT
            26 => init(),
            _ => return Err(ENOSYS),
        };
        Ok(Some(answer))
    }

    /// `struct fuse_attr_out`.
    fn attributes(&self) -> Vec<u8> {
        let size = self.bytes.len() as u64;
        let mut out = Vec::new();
        // Valid for an hour; inode 1, size, blocks, three times.
        for word in [3600, 0, 1, size, size / 512, 0, 0, 0] {
            out.extend(word.to_le_bytes());
        }
        // Nanoseconds, mode, links, owner, device, block size, flags.
        for word in [0, 0, 0, 0o100_600, 1, 0, 0, 0, BLOCK as u32, 0] {
            out.extend(word.to_le_bytes());
        }
        out
    }
}

/// `struct fuse_init_out`: version 7.31, writes of at most 128 KiB, each sent at once.
fn init() -> Vec<u8> {
    // BIG_WRITES and MAX_PAGES; no WRITEBACK_CACHE, which would keep writes back.
    let flags = 1 << 5 | 1 << 22;
    let mut out = Vec::new();
    for word in [7, 31, 128 << 10, flags, 0, 128 << 10, 1] {
        out.extend(u32::to_le_bytes(word));
    }
    out.extend(32_u16.to_le_bytes());
    out.resize(64, 0);
    out
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

fn tool(name: &str, options: &[&str], operands: &[&str]) -> Result<String, String> {
    let mut command = program(name);
    command.args(options).args(operands);
    command.stdin(Stdio::null());
    finish(command)
}

fn finish(mut command: Command) -> Result<String, String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{command:?}: {stderr}")),
    }
}
