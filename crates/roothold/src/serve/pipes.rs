//! Standard input and output as what they are. A pipe or a socket is waited for by the runtime
//! itself; anything else, such as a terminal or a file, needs a thread that blocks in it, which
//! costs a change of threads for each message.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::fs::{FileType, fstat};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

pub(super) type Input = Box<dyn AsyncRead + Send + Unpin>;
pub(super) type Output = Box<dyn AsyncWrite + Send + Unpin>;

/// Input that ends where a future does, even if more would come.
pub(super) struct Until {
    input: Input,
    /// `None` once it has ended.
    end: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Until {
    pub(super) fn new(input: Input, end: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { input, end: Some(Box::pin(end)) }
    }
}

impl AsyncRead for Until {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(end) = &mut self.end {
            if end.as_mut().poll(context).is_pending() {
                return Pin::new(&mut self.input).poll_read(context, buffer);
            }
            self.end = None;
        }
        // Nothing was read: that is what the end of a file looks like.
        Poll::Ready(Ok(()))
    }
}

/// Standard input and output; wants to be called inside of a runtime.
pub(super) fn standard() -> (Input, Output) {
    let input = input(&io::stdin()).unwrap_or_else(|_| Box::new(tokio::io::stdin()));
    let output = output(&io::stdout()).unwrap_or_else(|_| Box::new(tokio::io::stdout()));
    (input, output)
}

fn input(from: &impl AsFd) -> io::Result<Input> {
    let handle = from.as_fd().try_clone_to_owned()?;
    Ok(match kind(&handle)? {
        FileType::Fifo => Box::new(pipe::Receiver::from_owned_fd(handle)?),
        _ => Box::new(socket(handle)?),
    })
}

/// The largest answer by default fits, so that one need not be written in turns with its reader; and
/// no more is given to a process without privileges (`/proc/sys/fs/pipe-max-size`).
#[cfg(target_os = "linux")]
const PIPE_BYTES: usize = 1024 * 1024;

fn output(to: &impl AsFd) -> io::Result<Output> {
    let handle = to.as_fd().try_clone_to_owned()?;
    Ok(match kind(&handle)? {
        FileType::Fifo => {
            // Refused where the user's pipes take much already; it then stays as it is.
            #[cfg(target_os = "linux")]
            let _ = rustix::pipe::fcntl_setpipe_size(&handle, PIPE_BYTES);
            Box::new(pipe::Sender::from_owned_fd(handle)?)
        }
        _ => Box::new(socket(handle)?),
    })
}

fn kind(handle: &OwnedFd) -> io::Result<FileType> {
    match FileType::from_raw_mode(fstat(handle)?.st_mode) {
        kind @ (FileType::Fifo | FileType::Socket) => Ok(kind),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

fn socket(handle: OwnedFd) -> io::Result<UnixStream> {
    let socket = StdUnixStream::from(handle);
    // Of another family, it fails here, and is read by a thread.
    socket.local_addr()?;
    socket.set_nonblocking(true)?;
    UnixStream::from_std(socket)
}
