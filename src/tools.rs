//! The tools beside the server: `roomcast export`, `import` and `backup`.

use crate::limits::{IMPORT_AHEAD_MS, Limits, SEQ_END};
use crate::log::{Copy, Draft, Entry, Opened, Table, What};
use crate::proto::{is_sound, name};
use crate::reactor::sys;
use crate::room::{Key, Space};
use crate::store::{self, Retention, SqliteReader, StoreError};
use clap::Parser;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Messages that are exported at a time: reading is never one long transaction. Of an import, those after which what is
/// remembered of them is written.
const STEP_COUNT: usize = 1_000;

/// What the command line asks for.
#[derive(Debug, Parser)]
#[command(name = "roomcast", version, max_term_width = 100)]
pub enum Tool {
    /// Write the messages of a room to standard output, one JSON object a line. The server may run. Numbers that it does
    /// not keep any more are named on standard error.
    Export {
        /// Data folder; the variable ROOMCAST_DATA names it too. A settings file is not read.
        #[arg(long, value_name = "DIR", default_value_os_t = data_folder())]
        data: PathBuf,
        /// The room.
        #[arg(long)]
        room: String,
        /// Only messages behind this seq_id.
        #[arg(long, value_name = "SEQ", default_value_t = 0)]
        since: u64,
    },
    /// Read messages as `export` writes them, into rooms that end before them. All of them or none; the server must
    /// not run.
    Import {
        /// Data folder; the variable ROOMCAST_DATA names it too. A settings file is not read.
        #[arg(long, value_name = "DIR", default_value_os_t = data_folder())]
        data: PathBuf,
        /// Into this room, whatever the messages say.
        #[arg(long)]
        room: Option<String>,
        /// Where to read; standard input without it.
        file: Option<PathBuf>,
    },
    /// Copy the database into a file that does not exist yet, for nobody else to read. The server may run. To restore
    /// it, stop the server, put it in the place of roomcast.db, owned by the user that the server runs as, and remove
    /// roomcast.db-wal and roomcast.db-shm.
    Backup {
        /// Data folder; the variable ROOMCAST_DATA names it too. A settings file is not read.
        #[arg(long, value_name = "DIR", default_value_os_t = data_folder())]
        data: PathBuf,
        /// The copy.
        file: PathBuf,
    },
}

/// Why a tool could not do its work.
#[derive(Debug)]
pub enum ToolError {
    /// There is no database in the data folder.
    Missing(PathBuf),
    /// The data folder cannot be looked into.
    Closed(PathBuf, io::Error),
    /// The data folder cannot be used.
    Store(StoreError),
    /// A line of an import is wrong: its number from 1, and why.
    Line(usize, String),
    /// A file cannot be read or written.
    File(PathBuf, io::Error),
    /// Standard input or output failed.
    Stream(io::Error),
}

/// One message as a line of JSON.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    room_id: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    epoch: Option<Cow<'a, str>>,
    seq_id: u64,
    timestamp: u64,
    sender: Cow<'a, str>,
    /// Missing in a deletion, and in what was deleted.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    content: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deletes: Option<u64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<Cow<'a, str>>,
}

impl Line<'_> {
    fn what(&self) -> What {
        match (self.deletes, self.deleted) {
            (Some(seq), _) => What::Deletion(seq),
            (None, true) => What::Deleted,
            (None, false) => What::Message,
        }
    }
}

/// Where the server's data is, if no flag says so.
fn data_folder() -> PathBuf {
    let named = std::env::var_os("ROOMCAST_DATA").filter(|folder| !folder.is_empty());
    named.map_or_else(|| "roomcast-data".into(), PathBuf::from)
}

/// The tool that a command line names, if it does not begin with a flag, as all of the server's do. Help and errors of it
/// end the process.
pub fn named(arguments: &[OsString]) -> Option<Tool> {
    let first = arguments.get(1)?.as_encoded_bytes();
    (!first.starts_with(b"-")).then(|| Tool::parse_from(arguments))
}

/// Does what a tool is for.
///
/// # Errors
///
/// See [`ToolError`].
pub fn run(tool: &Tool) -> Result<(), ToolError> {
    match tool {
        Tool::Export { data, room, since } => {
            let out = BufWriter::new(io::stdout().lock());
            export(data, room, *since, out)
        }
        Tool::Import { data, room, file } => {
            let count = match file {
                Some(path) => {
                    let file =
                        File::open(path).map_err(|error| ToolError::File(path.clone(), error))?;
                    import(data, room.as_deref(), BufReader::new(file))?
                }
                None => import(data, room.as_deref(), io::stdin().lock())?,
            };
            eprintln!("imported messages: {count}");
            Ok(())
        }
        Tool::Backup { data, file } => {
            let bytes = backup(data, file)?;
            eprintln!("copied {}: {bytes} bytes", store::database(data).display());
            Ok(())
        }
    }
}

fn export(data: &Path, room: &str, since: u64, mut out: impl Write) -> Result<(), ToolError> {
    let mut reader = SqliteReader::open(&existing(data)?)?;
    let key = room_key(room);
    let mut after = since;
    loop {
        let (lines, opened) = some_lines(&mut reader, &key, after)?;
        for (seq, line) in &lines {
            tell_missing(after, *seq);
            out.write_all(line).map_err(ToolError::Stream)?;
            after = *seq;
        }
        if lines.is_empty() {
            match opened {
                Some(opened) => tell_missing(after, opened.head.seq + 1),
                None => eprintln!("nothing is kept of a room {room:?}"),
            }
            return out.flush().map_err(ToolError::Stream);
        }
    }
}

/// Says which numbers are not there between two that follow each other. They may have gone since the export began.
fn tell_missing(after: u64, next: u64) {
    if next > after.saturating_add(1) {
        eprintln!("not kept any more: messages {} to {}", after + 1, next - 1);
    }
}

/// Lines of messages, with the number of each.
type Lines = Vec<(u64, Vec<u8>)>;

/// The next lines of a room behind a number, and where the room stands.
fn some_lines(
    reader: &mut SqliteReader,
    key: &Key,
    after: u64,
) -> Result<(Lines, Option<Opened>), ToolError> {
    let mut lines = Vec::new();
    let mut wrong = None;
    let span = crate::log::Span {
        after,
        until: u64::MAX,
        newest_first: false,
    };
    let epoch = reader.epoch_of(key)?;
    let read = crate::log::Reader::read(reader, key, span, &mut |entry| {
        match line(key, epoch, entry) {
            Ok(line) => lines.push((entry.seq, line)),
            Err(error) => wrong = Some(error),
        }
        lines.len() < STEP_COUNT && wrong.is_none()
    });
    let opened = read.map_err(StoreError::Table)?;
    match wrong {
        Some(error) => Err(ToolError::Stream(error.into())),
        None => Ok((lines, opened)),
    }
}

fn line(key: &Key, epoch: u64, entry: &Entry<'_>) -> serde_json::Result<Vec<u8>> {
    let Draft {
        sender,
        id,
        content,
        metadata,
        what,
        ..
    } = entry.draft;
    let content = match what {
        What::Message => Some(serde_json::from_str(content)?),
        What::Deletion(_) | What::Deleted => None,
    };
    let mut line = serde_json::to_vec(&Line {
        room_id: Cow::Borrowed(&key.name),
        epoch: Some(format!("{epoch:016x}").into()),
        seq_id: entry.seq,
        timestamp: entry.unix_ms,
        sender: sender.into(),
        content,
        deletes: match what {
            What::Deletion(seq) => Some(seq),
            What::Message | What::Deleted => None,
        },
        deleted: what == What::Deleted,
        metadata: metadata.map(serde_json::from_str).transpose()?,
        id: id.map(Cow::Borrowed),
    })?;
    line.push(b'\n');
    Ok(line)
}

fn import(data: &Path, room: Option<&str>, input: impl BufRead) -> Result<usize, ToolError> {
    let mut store = store::open(store::Plan {
        folder: data.to_owned(),
        retention: Retention::default(),
        is_new_epoch: false,
        inbox_bytes_max: Limits::default().inbox_bytes_max,
        seed: sys::random().map_err(ToolError::Stream)?,
    })?;
    let id_key = store.id_key();
    let table = store.table();
    table.begin().map_err(StoreError::Table)?;
    table.note_import()?;
    let latest_ms = store::unix_ms() + IMPORT_AHEAD_MS;
    let mut count = 0;
    for (number, text) in (1..).zip(input.lines()) {
        let text = text.map_err(ToolError::Stream)?;
        if text.trim().is_empty() {
            continue;
        }
        let wrong = |reason: String| ToolError::Line(number, reason);
        let line: Line<'_> =
            serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let name = room.unwrap_or(&line.room_id);
        check(name, &line, latest_ms).map_err(wrong)?;
        let key = room_key(name);
        let opened = table.open(&key).map_err(StoreError::Table)?;
        let head = opened.map_or(0, |opened| opened.head.seq);
        if head > 0 && line.seq_id != head + 1 {
            let reason = format!(
                "{name:?} ends at {head}, and {} does not follow",
                line.seq_id
            );
            return Err(wrong(reason));
        }
        let dedupe = line.id.as_deref();
        let dedupe = dedupe.map(|id| id_key.wide(&[line.sender.as_bytes(), id.as_bytes()]));
        let entry = Entry {
            seq: line.seq_id,
            unix_ms: line
                .timestamp
                .max(opened.map_or(0, |opened| opened.unix_ms)),
            dedupe,
            client: 0,
            copy: Copy::None,
            draft: Draft {
                what: line.what(),
                sender: &line.sender,
                to: None,
                id: line.id.as_deref(),
                content: line.content.map_or("null", RawValue::get),
                metadata: line.metadata.map(RawValue::get),
            },
        };
        let epoch = table.epoch();
        table
            .append(&key, epoch, &entry)
            .map_err(StoreError::Table)?;
        if head == 0 {
            table.begin_at(&key, line.seq_id - 1)?;
        }
        count += 1;
        if count % STEP_COUNT == 0 {
            table.write_down()?;
        }
    }
    table.commit().map_err(StoreError::Table)?;
    store.close()?;
    Ok(count)
}

/// What a client may not send does not come in by a file either, nor does a time that has yet to come: whatever is sent
/// later would have it too.
fn check(room: &str, line: &Line<'_>, latest_ms: u64) -> Result<(), String> {
    name::check(room).map_err(|fault| format!("room_id {fault}"))?;
    name::check(&line.sender).map_err(|fault| format!("sender {fault}"))?;
    let is_number = line.seq_id > 0 && line.seq_id < SEQ_END;
    if !is_number {
        return Err(format!("seq_id {} is out of range", line.seq_id));
    }
    if line.timestamp > latest_ms {
        return Err(format!("timestamp {} has yet to come", line.timestamp));
    }
    let is_message = line.what() == What::Message;
    if is_message && line.content.is_none() {
        return Err("content is missing".to_owned());
    }
    if line
        .deletes
        .is_some_and(|seq| seq == 0 || seq >= line.seq_id)
    {
        return Err("deletes is not the number of an earlier message".to_owned());
    }
    let texts = [line.content, line.metadata];
    match texts.iter().flatten().all(|text| is_sound(text.get())) {
        true => Ok(()),
        false => Err("content is too deep, or no text".to_owned()),
    }
}

/// Returns the length of the copy, in bytes.
fn backup(data: &Path, file: &Path) -> Result<u64, ToolError> {
    let failed = |error| ToolError::File(file.to_owned(), error);
    let database = existing(data)?;
    // SQLite fills an empty file, and this one is nobody else's from the beginning.
    let mut options = OpenOptions::new();
    let new = options.write(true).create_new(true).mode(0o600);
    let copy = new.open(file).map_err(failed)?;
    let copied = store::copy_to(&database, file)
        .map_err(ToolError::Store)
        .and_then(|()| copy.sync_all().map_err(failed))
        .and_then(|()| copy.metadata().map_err(failed));
    if copied.is_err() {
        // Half a copy is none; that it could not be made is what has to be told.
        let _ = fs::remove_file(file);
    }
    copied.map(|metadata| metadata.len())
}

/// The database of a data folder, which must be there: opening would make it.
fn existing(data: &Path) -> Result<PathBuf, ToolError> {
    let path = store::database(data);
    match fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => Ok(path),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(ToolError::Closed(path, error))
        }
        Ok(_) | Err(_) => Err(ToolError::Missing(path)),
    }
}

fn room_key(name: &str) -> Key {
    Key {
        space: Space::Chat,
        name: name.into(),
    }
}

impl<E: Into<StoreError>> From<E> for ToolError {
    fn from(error: E) -> ToolError {
        ToolError::Store(error.into())
    }
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ToolError::Missing(path) => write!(
                f,
                "there is no {}: name the data folder with --data",
                path.display()
            ),
            ToolError::Closed(path, error) => write!(
                f,
                "{}: {error}: run this as the user of the server, or as root",
                path.display()
            ),
            ToolError::Store(error) => error.fmt(f),
            ToolError::Line(number, reason) => write!(f, "line {number}: {reason}"),
            ToolError::File(path, error) => write!(f, "{}: {error}", path.display()),
            ToolError::Stream(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ToolError {}
