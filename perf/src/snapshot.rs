//! All counters of a run at one moment, and what lies between two of them.

use std::io;

use crate::figures::Figures;
use crate::load::Load;
use crate::server::Server;
use crate::sides::Sides;

/// See the [module](self).
pub struct Snapshot {
    sides: Sides,
    sent_total: u64,
    arrived_total: u64,
    payload_bytes_total: u64,
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
            sides: Sides::take(server)?,
            sent_total: load.sent_total(),
            arrived_total: load.arrived_total(),
            payload_bytes_total: load.payload_bytes_total(),
            reads_total: load.reads_total(),
        })
    }

    /// Adds what happened since an earlier moment, and what both sides used for it.
    pub fn report(&self, start: &Snapshot, figures: &mut Figures) {
        let server = self.sides.server_since(&start.sides);
        let seconds = server.wall.as_secs_f64();
        let arrived = (self.arrived_total - start.arrived_total) as f64;
        let reads = (self.reads_total - start.reads_total) as f64;
        figures.add(
            "messages_per_s",
            (self.sent_total - start.sent_total) as f64 / seconds,
        );
        figures.add("deliveries_per_s", arrived / seconds);
        figures.add("deliveries_per_read", arrived / reads.max(1.0));
        let payload_bytes = (self.payload_bytes_total - start.payload_bytes_total) as f64;
        figures.add(
            "payload_bytes_per_delivery",
            payload_bytes / arrived.max(1.0),
        );
        figures.add(
            "server_cpu_us_per_delivery",
            server.cpu_ns as f64 / 1e3 / arrived.max(1.0),
        );
        self.sides.report(&start.sides, figures);
    }
}
