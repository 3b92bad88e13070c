//! Pieces of files, read into buffers that are used again.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// The size of a buffer, bytes: it stays in a core's cache between the read and the write to the client.
const LARGE: usize = 128 << 10;

/// The size of those that are taken once many are in use, bytes: thousands of slow clients hold little each.
const SMALL: usize = 16 << 10;

/// How many large ones there are at once.
const MOST: usize = 128;

/// Large buffers, for the whole process: their number bounds its memory.
// A std Mutex: held for operations on the list, never across an await.
static BUFFERS: Mutex<Buffers> = Mutex::new(Buffers {
    free: Vec::new(),
    in_use: 0,
});

struct Buffers {
    free: Vec<Vec<u8>>,
    in_use: usize,
}

/// A buffer, which others get once nobody has it any more.
struct Buffer {
    bytes: Vec<u8>,
    /// How much was read.
    filled: usize,
    is_large: bool,
}

impl Buffer {
    /// One for so many bytes, or for fewer if many are in use.
    fn take(bytes: u64) -> Self {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        if bytes > SMALL
            && let Some(bytes) = Self::take_large()
        {
            return Self {
                bytes,
                filled: 0,
                is_large: true,
            };
        }
        Self {
            bytes: vec![0; bytes.min(SMALL)],
            filled: 0,
            is_large: false,
        }
    }

    fn take_large() -> Option<Vec<u8>> {
        let mut buffers = buffers();
        if buffers.in_use == MOST {
            return None;
        }
        buffers.in_use += 1;
        let free = buffers.free.pop();
        drop(buffers);
        Some(free.unwrap_or_else(|| vec![0; LARGE]))
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.is_large {
            let mut buffers = buffers();
            buffers.in_use -= 1;
            buffers.free.push(std::mem::take(&mut self.bytes));
        }
    }
}

fn buffers() -> MutexGuard<'static, Buffers> {
    BUFFERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads a piece of a file, of at most `most` bytes and at least one; an error if the file ends before. It may wait for
/// the disk.
pub(super) fn read(file: &File, at: u64, most: u64) -> io::Result<Bytes> {
    filled(most, |buffer| file.read_at(buffer, at))
}

/// The same, if the kernel has the piece in memory, so that it takes no time; `None` otherwise, and where that cannot be
/// known.
pub(super) fn cached(file: &File, at: u64, most: u64) -> Option<Bytes> {
    filled(most, |buffer| read_at_once(file, buffer, at)).ok()
}

/// Fills a buffer with what the kernel has in memory; an error if that is not all of it.
pub(super) fn read_cached(file: &File, buffer: &mut [u8], at: u64) -> io::Result<()> {
    match read_at_once(file, buffer, at)? {
        all if all == buffer.len() => Ok(()),
        _ => Err(io::ErrorKind::WouldBlock.into()),
    }
}

#[cfg(target_os = "linux")]
fn read_at_once(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    use rustix::io::{ReadWriteFlags, preadv2};

    let mut slices = [io::IoSliceMut::new(buffer)];
    Ok(preadv2(file, &mut slices, at, ReadWriteFlags::NOWAIT)?)
}

/// Nobody knows what is in memory.
#[cfg(not(target_os = "linux"))]
fn read_at_once(_file: &File, _buffer: &mut [u8], _at: u64) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// What a read of at most `most` bytes gives.
fn filled(most: u64, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<Bytes> {
    let mut buffer = Buffer::take(most);
    let room = usize::try_from(most)
        .unwrap_or(usize::MAX)
        .min(buffer.bytes.len());
    buffer.filled = read(&mut buffer.bytes[..room])?;
    match buffer.filled {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(Bytes::from_owner(buffer)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn pieces_are_as_long_as_asked_for_and_large_buffers_are_bounded() {
        let mut file = tempfile::tempfile().expect("a file");
        let body: Vec<u8> = (0..=255).cycle().take(3 * LARGE).collect();
        file.write_all(&body).expect("our own file");
        let at = |from: usize, bytes: usize| (from as u64, bytes as u64);
        for (from, bytes) in [(0, 1), (5, SMALL), (7, LARGE - 1)] {
            let (start, most) = at(from, bytes);
            let piece = read(&file, start, most).expect("it is read");
            assert_eq!(piece, body[from..from + bytes]);
            if let Some(piece) = cached(&file, start, most) {
                assert_eq!(piece, body[from..from + bytes]);
            }
        }
        assert!(read(&file, body.len() as u64, 1).is_err());
        let held: Vec<_> = (0..2 * MOST)
            .map(|_| read(&file, 0, u64::MAX).expect("it is read"))
            .collect();
        let all: usize = held.iter().map(Bytes::len).sum();
        assert!(all <= MOST * LARGE + 2 * MOST * SMALL, "{all}");
        assert!(held.iter().any(|piece| piece.len() == SMALL));
    }
}
