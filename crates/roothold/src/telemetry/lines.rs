//! Log lines on their way to stderr. Whoever reads them may have stopped, and its pipe be full: then lines are
//! lost and counted, and nobody waits for them.
//!
//! Files and terminals are written as ever; a pipe through a description of its own, since whether writing
//! waits is a property of that, and others write to the one that was inherited. Where the system refuses one, as
//! for a pipe of another user, lines wait for their reader.
//!
//! **Invariant**: a line that is begun is ended before the next one begins.

use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::net::SendFlags;

/// How long a line may wait for room, for a reader that is only slow, and how long none may then.
const PATIENCE: Duration = Duration::from_millis(100);
const REST: Duration = Duration::from_secs(1);
/// How often it is looked for room.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// How much a pipe is asked to hold, which is what a user may ask for.
#[cfg(target_os = "linux")]
const PIPE_BYTES: usize = 1 << 20;

static LINES: OnceLock<Lines> = OnceLock::new();

/// The way to stderr, for the process.
pub(super) fn stderr() -> &'static Lines {
    LINES.get_or_init(|| Lines::to(io::stderr().as_fd()))
}

/// How many lines were lost so far.
pub(crate) fn lost() -> u64 {
    LINES.get().map_or(0, |lines| lines.lost.load(Ordering::Relaxed))
}

/// Where lines go.
enum Way {
    /// As it is: it has always room, or a person looks at it.
    Waits,
    /// The same pipe, which says that it is full.
    Pipe(OwnedFd),
    /// A socket, which is told with each write that it must not wait.
    Socket(OwnedFd),
}

/// Lines on their way.
pub(super) struct Lines {
    way: Way,
    state: Mutex<State>,
    lost: AtomicU64,
}

#[derive(Default)]
struct State {
    /// The end of a line that is begun.
    rest: Vec<u8>,
    /// When somebody waited last.
    waited: Option<Instant>,
}

impl Lines {
    fn to(out: BorrowedFd<'_>) -> Self {
        let kind = rustix::fs::fstat(out).map(|found| FileType::from_raw_mode(found.st_mode));
        let way = match kind {
            Ok(FileType::Fifo) => again(out).map(Way::Pipe),
            Ok(FileType::Socket) => out.try_clone_to_owned().ok().map(Way::Socket),
            _ => None,
        };
        let way = way.unwrap_or(Way::Waits);
        Self { way, state: Mutex::default(), lost: AtomicU64::new(0) }
    }

    fn put(&self, line: &[u8]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = std::mem::take(&mut state.rest);
        let before = bytes.len();
        bytes.extend_from_slice(line);
        let written = self.write(&bytes, &mut state.waited);
        if written <= before && written < bytes.len() {
            bytes.truncate(before);
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        bytes.drain(..written);
        state.rest = bytes;
    }

    /// Writes as much as there is room for, and says how much.
    fn write(&self, bytes: &[u8], waited: &mut Option<Instant>) -> usize {
        let mut written = 0;
        let mut until = None;
        while written < bytes.len() {
            match self.write_some(&bytes[written..]) {
                Ok(some) => written += some,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let now = Instant::now();
                    if until.is_none() && waited.is_none_or(|last| now - last >= REST) {
                        until = Some(now + PATIENCE);
                    }
                    if until.is_none_or(|until| now >= until) {
                        break;
                    }
                    *waited = Some(now);
                    std::thread::sleep(LOOK_EVERY);
                }
                // Whoever read them is gone.
                Err(_) => break,
            }
        }
        written
    }

    fn write_some(&self, bytes: &[u8]) -> io::Result<usize> {
        let some = match &self.way {
            Way::Waits => return io::stderr().lock().write(bytes),
            Way::Pipe(pipe) => rustix::io::write(pipe, bytes)?,
            Way::Socket(socket) => {
                rustix::net::send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?
            }
        };
        Ok(some)
    }
}

/// Another description of the same pipe, where the system gives one.
fn again(out: BorrowedFd<'_>) -> Option<OwnedFd> {
    let path = format!("/proc/self/fd/{}", out.as_raw_fd());
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let pipe = rustix::fs::open(path, flags, Mode::empty()).ok()?;
    // Room for what is written while its reader waits for the processor. It works with less.
    #[cfg(target_os = "linux")]
    let _ = rustix::pipe::fcntl_setpipe_size(&pipe, PIPE_BYTES);
    Some(pipe)
}

impl Write for &Lines {
    /// Takes a line; it never fails, since a lost line must not cost a call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn line(number: usize) -> String {
        format!("{number} {}\n", "x".repeat(number % 7000))
    }

    /// Puts lines until many are lost, and says how many were put.
    fn fill(lines: &Lines) -> usize {
        let mut put = 0;
        while lines.lost.load(Ordering::Relaxed) < 100 {
            lines.put(line(put).as_bytes());
            put += 1;
            assert!(put < 100_000, "nothing is lost");
        }
        put
    }

    /// Every line that was written is whole, and those that were lost are counted.
    fn nobody_waits(lines: &Lines, mut reader: impl io::Read + Send) {
        let began = Instant::now();
        let put = fill(lines);
        assert!(began.elapsed() < Duration::from_secs(20), "bounded: {:?}", began.elapsed());
        let text = std::thread::scope(|scope| {
            let reading = scope.spawn(move || {
                let (mut text, mut piece) = (Vec::new(), [0; 4096]);
                while !text.ends_with(b"the end\n") {
                    let read = reader.read(&mut piece).unwrap();
                    text.extend_from_slice(&piece[..read]);
                }
                String::from_utf8(text).unwrap()
            });
            // Once there is room again.
            let until = Instant::now() + Duration::from_secs(20);
            while !reading.is_finished() {
                assert!(Instant::now() < until, "the last line does not arrive");
                lines.put(b"the end\n");
                std::thread::sleep(LOOK_EVERY);
            }
            reading.join().unwrap()
        });
        let told: Vec<&str> = text.lines().filter(|line| *line != "the end").collect();
        for one in &told {
            let number: usize = one.split(' ').next().unwrap().parse().unwrap();
            assert_eq!(format!("{one}\n"), line(number), "a line is whole");
        }
        let lost = lines.lost.load(Ordering::Relaxed);
        assert!(told.len() + 100 <= put && lost >= (put - told.len()) as u64, "{put} {lost}");
    }

    #[test]
    fn a_pipe_that_nobody_reads_holds_nobody_up() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let lines = Lines::to(writer.as_fd());
        assert!(matches!(lines.way, Way::Pipe(_)));
        nobody_waits(&lines, File::from(reader));
    }

    #[test]
    fn a_socket_that_nobody_reads_holds_nobody_up() {
        let (reader, writer) = UnixStream::pair().unwrap();
        let lines = Lines::to(writer.as_fd());
        assert!(matches!(lines.way, Way::Socket(_)));
        nobody_waits(&lines, reader);
    }

    #[test]
    fn lines_for_a_reader_that_is_gone_are_counted() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let lines = Lines::to(writer.as_fd());
        drop((reader, writer));
        for _ in 0..3 {
            (&lines).write_all(b"nobody reads this\n").unwrap();
        }
        assert_eq!(lines.lost.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_file_is_written_as_ever() {
        let file = tempfile::tempfile().unwrap();
        assert!(matches!(Lines::to(file.as_fd()).way, Way::Waits));
    }
}
