//! Standard input and output as what they are. A pipe or a socket is waited for by the runtime
//! itself; anything else, such as a terminal or a file, needs a thread that blocks in it, which
//! costs a change of threads for each message.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;

use rustix::fs::{FileType, fstat};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

pub(super) type Input = Box<dyn AsyncRead + Send + Unpin>;
pub(super) type Output = Box<dyn AsyncWrite + Send + Unpin>;

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

fn output(to: &impl AsFd) -> io::Result<Output> {
    let handle = to.as_fd().try_clone_to_owned()?;
    Ok(match kind(&handle)? {
        FileType::Fifo => Box::new(pipe::Sender::from_owned_fd(handle)?),
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
