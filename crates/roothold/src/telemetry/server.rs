//! What the server as a whole says of itself: ready or not, its walls, its disks, its audit log.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use roothold_core::audit::AuditFigures;

use super::described::{self, Describe as _};
use super::system::{grow, whole};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VersionLabel {
    version: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WallLabel {
    wall: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DiskLabel {
    disk: &'static str,
}

/// A directory of the server's own, by the name of metrics.
pub(crate) type OwnDirectory = (&'static str, PathBuf);

/// What a scrape finds, of what others keep.
#[expect(clippy::struct_excessive_bools, reason = "each is a metric of its own")]
pub(crate) struct Found {
    pub(crate) ready: bool,
    pub(crate) stopping: bool,
    pub(crate) landlock: bool,
    pub(crate) seccomp: bool,
    pub(crate) audit_healthy: bool,
    pub(crate) audit: AuditFigures,
    pub(crate) audit_failures: u64,
    pub(crate) log_lines_lost: u64,
}

/// The metrics of the server as a whole.
#[derive(Default)]
pub(super) struct ServerMetrics {
    ready: Gauge,
    stopping: Gauge,
    walls: Family<WallLabel, Gauge>,
    disk_free: Family<DiskLabel, Gauge>,
    disk_size: Family<DiskLabel, Gauge>,
    audit_healthy: Gauge,
    audit_failures: Counter,
    audit_lines: Counter,
    audit_file_bytes: Gauge,
    audit_unsynced: Gauge,
    audit_lag: Gauge<f64, AtomicU64>,
    audit_syncs: Counter,
    audit_sync_time: Counter<f64, AtomicU64>,
    log_lines_lost: Counter,
    directories: Vec<OwnDirectory>,
}

impl ServerMetrics {
    /// With the directories whose disks are looked at: never a root's, since one on a network that hangs
    /// would keep everything else from being seen.
    pub(super) fn new(directories: Vec<OwnDirectory>) -> Self {
        Self { directories, ..Self::default() }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let build = Family::<VersionLabel, Gauge>::default();
        build.get_or_create(&VersionLabel { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.describe(&described::BUILD_INFO, build);
        registry.describe(&described::READY, self.ready.clone());
        registry.describe(&described::STOPPING, self.stopping.clone());
        registry.describe(&described::WALLS, self.walls.clone());
        registry.describe(&described::LOG_LINES_LOST, self.log_lines_lost.clone());
        registry.describe(&described::DISK_FREE, self.disk_free.clone());
        registry.describe(&described::DISK_SIZE, self.disk_size.clone());
        registry.describe(&described::AUDIT_HEALTHY, self.audit_healthy.clone());
        registry.describe(&described::AUDIT_FAILURES, self.audit_failures.clone());
        registry.describe(&described::AUDIT_LINES, self.audit_lines.clone());
        registry.describe(&described::AUDIT_FILE, self.audit_file_bytes.clone());
        registry.describe(&described::AUDIT_UNSYNCED, self.audit_unsynced.clone());
        registry.describe(&described::AUDIT_LAG, self.audit_lag.clone());
        registry.describe(&described::AUDIT_SYNCS, self.audit_syncs.clone());
        registry.describe(&described::AUDIT_SYNC_TIME, self.audit_sync_time.clone());
    }

    /// Takes over what there is now. It asks file systems, which blocks.
    pub(super) fn observe(&self, found: &Found) {
        self.ready.set(i64::from(found.ready));
        self.stopping.set(i64::from(found.stopping));
        for (wall, stands) in [("landlock", found.landlock), ("seccomp", found.seccomp)] {
            self.walls.get_or_create(&WallLabel { wall }).set(i64::from(stands));
        }
        self.audit_healthy.set(i64::from(found.audit_healthy));
        let audit = &found.audit;
        // Two scrapes at once must not set it back.
        self.log_lines_lost.inner().fetch_max(found.log_lines_lost, Ordering::Relaxed);
        self.audit_failures.inner().fetch_max(found.audit_failures, Ordering::Relaxed);
        self.audit_lines.inner().fetch_max(audit.lines, Ordering::Relaxed);
        self.audit_file_bytes.set(whole(audit.file_bytes));
        self.audit_unsynced.set(whole(audit.unsynced));
        self.audit_lag.set(audit.lag.as_secs_f64());
        self.audit_syncs.inner().fetch_max(audit.syncs, Ordering::Relaxed);
        grow(&self.audit_sync_time, audit.sync_time.as_secs_f64());
        for (disk, directory) in &self.directories {
            let Ok(found) = rustix::fs::statvfs(directory) else { continue };
            let bytes = |blocks: u64| whole(blocks.saturating_mul(found.f_frsize));
            self.disk_free.get_or_create(&DiskLabel { disk }).set(bytes(found.f_bavail));
            self.disk_size.get_or_create(&DiskLabel { disk }).set(bytes(found.f_blocks));
        }
    }
}
