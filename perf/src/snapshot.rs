//! All counters of a run at one moment, and what lies between two of them.

use std::io;

use crate::figures::Figures;
use crate::load::Load;
use crate::process::{Sample, Usage};
use crate::server::Server;

/// See the [module](self).
pub struct Snapshot {
    server: Sample,
    client: Sample,
    sent_total: u64,
    arrived_total: u64,
    reads_total: u64,
}

impl Snapshot {
    /// Reads all counters.
    ///
    /// # Errors
    ///
    /// The server is gone.
    pub fn take(load: &Load, server: &Server) -> io::Result<Snapshot> {
        Ok(Snapshot {
            server: server.sample()?,
            client: Sample::take(std::process::id())?,
            sent_total: load.sent_total(),
            arrived_total: load.arrived_total(),
            reads_total: load.reads_total(),
        })
    }

    /// What both sides used since an earlier moment: the server and this program.
    pub fn usage(&self, start: &Snapshot) -> (Usage, Usage) {
        (
            self.server.since(&start.server),
            self.client.since(&start.client),
        )
    }

    /// Adds what happened since an earlier moment.
    pub fn report(&self, start: &Snapshot, figures: &mut Figures) {
        let server = self.server.since(&start.server);
        let seconds = server.wall.as_secs_f64();
        let arrived = (self.arrived_total - start.arrived_total) as f64;
        let reads = (self.reads_total - start.reads_total) as f64;
        figures.add(
            "messages_per_s",
            (self.sent_total - start.sent_total) as f64 / seconds,
        );
        figures.add("deliveries_per_s", arrived / seconds);
        figures.add("deliveries_per_read", arrived / reads.max(1.0));
        figures.add(
            "server_cpu_us_per_delivery",
            server.cpu_ns as f64 / 1e3 / arrived.max(1.0),
        );
    }
}
