//! A way to a server over which bytes come late, or not at all.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Keeps whatever arrives until the way is opened again.
const CLOSED: u64 = u64::MAX;
const NAP: Duration = Duration::from_millis(5);

/// It listens on loopback for as long as the process lives, and passes each connection on.
pub(crate) struct Way {
    pub(crate) port: u16,
    delay_ms: Arc<AtomicU64>,
}

impl Way {
    pub(crate) fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let way = Self {
            port: listener.local_addr().unwrap().port(),
            delay_ms: Arc::new(AtomicU64::new(0)),
        };
        let delay = Arc::clone(&way.delay_ms);
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))) else {
                    continue;
                };
                let back = (far.try_clone().unwrap(), near.try_clone().unwrap());
                for (from, to) in [(near, far), back] {
                    let delay = Arc::clone(&delay);
                    std::thread::spawn(move || pass(from, &to, &delay));
                }
            }
        });
        way
    }

    /// From now on each piece takes so long.
    pub(crate) fn delay(&self, time: Duration) {
        self.delay_ms.store(u64::try_from(time.as_millis()).unwrap(), Ordering::Relaxed);
    }

    /// From now on nothing passes, and nobody is told.
    pub(crate) fn close(&self) {
        self.delay_ms.store(CLOSED, Ordering::Relaxed);
    }
}

fn pass(mut from: TcpStream, mut to: &TcpStream, delay_ms: &AtomicU64) {
    let mut piece = [0; 16 * 1024];
    while let Ok(read) = from.read(&mut piece) {
        while delay_ms.load(Ordering::Relaxed) == CLOSED {
            std::thread::sleep(NAP);
        }
        std::thread::sleep(Duration::from_millis(delay_ms.load(Ordering::Relaxed)));
        if read == 0 || to.write_all(&piece[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
