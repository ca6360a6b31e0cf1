//! What all clients of a run share: the oracle, the names, and the trace.

use crate::oracle::{Conn, Event, Oracle};
use crate::rng::Rng;

/// A user with a name of its own choice.
#[derive(Clone, Debug)]
pub struct Persona {
    pub name: String,
    /// A secret of its own, or the one that the server gave.
    pub secret: Option<String>,
}

/// See the [module](self).
pub struct Book {
    pub oracle: Oracle,
    pub personas: Vec<Persona>,
    pub rooms: Vec<String>,
    /// Everyone who was ever welcomed.
    pub users: Vec<String>,
    /// Every event, where it is kept.
    pub trace: Option<Vec<Event>>,
    /// Events but for pings and what answers them.
    pub event_count: u64,
    /// How much more may be said before everyone becomes brief, so that no run takes for ever.
    content_bytes_left: usize,
    /// Time jumps, so that handshakes may take too long through nobody's fault.
    pub has_jumps: bool,
    is_told: bool,
    last_conn: Conn,
    last_token: u64,
}

impl Book {
    /// An empty book. With `is_told` every event is printed.
    pub fn new(
        oracle: Oracle,
        personas: Vec<Persona>,
        rooms: Vec<String>,
        content_bytes: usize,
        is_told: bool,
    ) -> Book {
        Book {
            oracle,
            personas,
            rooms,
            users: Vec::new(),
            trace: None,
            event_count: 0,
            content_bytes_left: content_bytes,
            has_jumps: false,
            is_told,
            last_conn: 0,
            last_token: 0,
        }
    }

    /// Lets the oracle judge an event.
    ///
    /// # Errors
    ///
    /// See [`Oracle::note`].
    pub fn note(&mut self, event: Event) -> Result<(), String> {
        self.tell(|| format!("  {}", brief(&event)));
        let is_ping = matches!(event, Event::Pinged { .. } | Event::Ponged { .. });
        self.event_count += u64::from(!is_ping);
        let verdict = self.oracle.note(&event);
        if let Some(trace) = &mut self.trace {
            trace.push(event);
        }
        verdict
    }

    /// Prints a line, if anyone wants to read it.
    pub fn tell(&self, line: impl FnOnce() -> String) {
        if self.is_told {
            let line = line();
            eprintln!("{line}");
        }
    }

    /// A number that no connection had.
    pub fn next_conn(&mut self) -> Conn {
        self.last_conn += 1;
        self.last_conn
    }

    /// JSON that nobody has sent yet, in about as many bytes as the generator likes, and its number.
    pub fn content(&mut self, bytes_max: usize, rng: &mut Rng) -> (String, u64) {
        self.last_token += 1;
        let token = self.last_token;
        let size = rng.below(bytes_max.min(self.content_bytes_left));
        self.content_bytes_left -= size;
        let pad = "pad ".repeat(size / 4);
        let content = match rng.below(6) {
            0 => format!("{token}"),
            1 => format!("\"m{token} {pad}\""),
            2 => format!("{{\"n\" : {token},\"n\":1e3, \"pad\":\"{pad}\"}}"),
            3 => format!("[{token}.50,  \"\\u00e9\\n\u{1f600}\", \"{pad}\"]"),
            4 => format!("\"{token}\\\" \\\\ {pad}\""),
            _ => format!("[[[{token}]],null,{{}},\"\u{2028}{pad}\"]"),
        };
        (content, token)
    }
}

/// An event as a line that can be read.
fn brief(event: &Event) -> String {
    let text = match event {
        Event::Sent { conn, payload } | Event::Heard { conn, payload } => {
            let is_sent = matches!(event, Event::Sent { .. });
            let verb = if is_sent { "sent" } else { "heard" };
            format!("c{conn} {verb} {:?}", String::from_utf8_lossy(payload))
        }
        _ => format!("{event:?}").replace("pad ", ""),
    };
    text.chars().take(240).collect()
}
