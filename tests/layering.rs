//! The architecture as a test: three rings whose imports point inwards only, and what keeps the source tidy.
//!
//! It reads the source as text. Comments, string literals and unit tests are left out where they do not matter.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The ring of each module of the crate. A module may use its own ring and the rings within.
const RINGS: [(&str, u8); 32] = [
    ("ws", 0),
    ("http", 0),
    ("proto", 0),
    ("proxy", 0),
    ("room", 1),
    ("users", 1),
    ("authority", 1),
    ("hub", 1),
    ("peer", 1),
    ("engine", 1),
    ("log", 1),
    ("rights", 1),
    ("rules", 1),
    ("sanctions", 1),
    ("timers", 1),
    ("mail", 1),
    ("effects", 1),
    ("slots", 1),
    ("hashing", 1),
    ("callers", 1),
    ("rates", 1),
    ("reactor", 2),
    ("admin", 2),
    ("store", 2),
    ("auth", 2),
    ("tools", 2),
    ("config", 2),
    ("metrics", 2),
    ("main", 2),
    // Everyone may use these, and they use nobody.
    ("limits", EVERYONE),
    ("counters", EVERYONE),
    ("secret", EVERYONE),
];
const EVERYONE: u8 = u8::MAX;

/// What rings 0 and 1 must not even name: sockets, clocks, files, threads, and randomness that is not an argument.
const OUTSIDE: [&str; 31] = [
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "SocketAddr",
    "ToSocketAddrs",
    "std::time",
    "Instant",
    "SystemTime",
    "std::fs",
    "std::thread",
    "std::env",
    "std::process",
    "std::os",
    "std::sync::Mutex",
    "std::sync::atomic",
    "mio",
    "rustix",
    "socket2",
    "rusqlite",
    "signal_hook",
    "env_logger",
    "clap",
    "toml",
    "ThreadRng",
    "SysRng",
    "OsRng",
    "rand::rng",
    "rand::random",
    "RandomState",
    "println!",
    "eprintln!",
];

/// Panics of the inner rings that nothing a peer sends can reach, and why.
const ALLOWED: [(&str, &str, &str); 1] = [(
    "slots.rs",
    ".expect(",
    "an index beyond 2^32 would need more memory than there is",
)];

/// Longest file, in lines without its unit tests.
const LINES_MAX: usize = 600;
/// Longest line, in characters.
const COLUMNS_MAX: usize = 125;

/// One file under `src/`.
struct Source {
    path: String,
    /// The module of the crate that it belongs to.
    module: String,
    text: String,
}

/// Something that is not as it should be.
type Fault = String;

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources: Vec<Source> = files_under(&root)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| {
            let relative = path.strip_prefix(&root).expect("it is under the root");
            let text = fs::read_to_string(&path).expect("source is text");
            Source::new(&relative.to_string_lossy().replace('\\', "/"), &text)
        })
        .collect();
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(sources.len() > 50, "the source is there");
    sources
}

fn files_under(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    entries
        .map(|entry| entry.expect("an entry").path())
        .flat_map(|path| {
            if path.is_dir() {
                files_under(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

impl Source {
    fn new(path: &str, text: &str) -> Source {
        let first = path.split('/').next().unwrap_or(path);
        Source {
            path: path.to_owned(),
            module: first.trim_end_matches(".rs").to_owned(),
            text: text.to_owned(),
        }
    }

    /// Whether it holds unit tests alone.
    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// The text without unit tests, which stand at the end.
    fn without_tests(&self) -> &str {
        let end = self.text.find("\n#[cfg(test)]\nmod ");
        let inline = end.filter(|end| self.text[*end..].contains("mod tests {"));
        &self.text[..inline.unwrap_or(self.text.len())]
    }

    /// What the compiler acts on: no comments, no contents of strings, no unit tests.
    fn code(&self) -> String {
        strip(self.without_tests())
    }
}

/// Takes comments and the contents of string and character literals out of Rust source.
fn strip(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string(rest, &code) {
            let close = format!("\"{}", "#".repeat(hashes));
            let start = hashes + 2;
            code.push_str("\"\"");
            rest[start..]
                .find(&close)
                .map_or(rest.len(), |end| start + end + close.len())
        } else if first == '"' {
            code.push_str("\"\"");
            quoted(rest, '"')
        } else if first == '\'' && is_character(rest) {
            code.push_str("' '");
            quoted(rest, '\'')
        } else {
            code.push(first);
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    code
}

/// The number of hashes of a raw string that starts here, after this code.
fn raw_string(rest: &str, before: &str) -> Option<usize> {
    let follows_word = before.ends_with(|last: char| last.is_alphanumeric() || last == '_');
    let is_byte = before.ends_with('b');
    let inside = rest
        .strip_prefix('r')
        .filter(|_| !follows_word || is_byte)?;
    let hashes = inside.len() - inside.trim_start_matches('#').len();
    inside[hashes..].starts_with('"').then_some(hashes)
}

/// The length of a literal with its quotes.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if character == '\\' {
            escaped = true;
        } else if character == quote {
            return at + 1;
        }
    }
    rest.len()
}

/// Whether a quote starts a character and not a lifetime.
fn is_character(rest: &str) -> bool {
    let mut characters = rest.chars().skip(1);
    match (characters.next(), characters.next()) {
        (Some('\\'), _) => true,
        (Some(_), Some('\'')) => true,
        (_, _) => false,
    }
}

/// Every module of the crate that a code names by `crate::`, or by `roomcast::` in the program. `use` groups are
/// looked into.
fn named(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for start in ["crate::", "roomcast::"] {
        for (at, _) in code.match_indices(start) {
            let is_whole = !code[..at]
                .ends_with(|last: char| last.is_alphanumeric() || last == '_' || last == ':');
            if is_whole {
                names.extend(heads(&code[at + start.len()..]));
            }
        }
    }
    names
}

/// The first words of a path, or of each path of a group.
fn heads(rest: &str) -> Vec<String> {
    let Some(group) = rest.strip_prefix('{') else {
        let end = rest.find(|character: char| !character.is_alphanumeric() && character != '_');
        return vec![rest[..end.unwrap_or(rest.len())].to_owned()];
    };
    let (mut heads, mut depth, mut is_head) = (Vec::new(), 0, true);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => is_head = true,
            _ if is_head && (character.is_alphabetic() || character == '_') => {
                heads.extend(self::heads(&group[at..]));
                is_head = false;
            }
            _ => {}
        }
    }
    heads
}

fn ring_of(module: &str) -> Option<u8> {
    let mut rings = RINGS.iter().filter(|(name, _)| *name == module);
    rings.next().map(|(_, ring)| *ring)
}

/// Imports that point outwards, and what inner rings must not name.
fn faults_of_layering(source: &Source) -> Vec<Fault> {
    if source.is_test() || source.path == "lib.rs" {
        return Vec::new();
    }
    let Some(ring) = ring_of(&source.module) else {
        return vec![format!("{}: which ring is this?", source.path)];
    };
    let code = source.code();
    let mut faults = Vec::new();
    for name in named(&code) {
        let is_fine = match (ring, ring_of(&name)) {
            (EVERYONE, _) => ["limits", "counters"].contains(&name.as_str()),
            (_, Some(other)) => other == EVERYONE || other <= ring,
            // An item of the crate's root, as `$crate::` in a macro.
            (_, None) => false,
        };
        if !is_fine && name != source.module {
            faults.push(format!("{} uses {name}", source.path));
        }
    }
    if ring != 2 {
        let outside = OUTSIDE.iter().filter(|word| mentions(&code, word));
        faults.extend(outside.map(|word| format!("{} mentions {word}", source.path)));
    }
    if ring == 0 && mentions(&code, "rand") {
        faults.push(format!("{} mentions rand", source.path));
    }
    let levels = ["error!", "warn!", "info!", "debug!", "trace!"];
    if ring < 2 && levels.iter().any(|level| mentions(&code, level)) {
        faults.push(format!("{} logs", source.path));
    }
    // Their order differs from run to run; hashbrown's take the generator's key.
    let seeded = ["std::collections::HashMap", "std::collections::HashSet"];
    if ring < 2 && seeded.iter().any(|map| mentions(&code, map)) {
        faults.push(format!("{} has a map with a key of its own", source.path));
    }
    faults
}

/// Whether a word stands in the code as a whole.
fn mentions(code: &str, word: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    code.match_indices(word).any(|(at, _)| {
        let is_started = code[..at].ends_with(is_part);
        let goes_on = !word.ends_with('!') && code[at + word.len()..].starts_with(is_part);
        !is_started && !goes_on
    })
}

/// What makes source harder to read.
fn faults_of_tidiness(source: &Source) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut fault = |what: String| faults.push(format!("{}: {what}", source.path));
    let line_count = source.without_tests().lines().count();
    if line_count > LINES_MAX && !source.is_test() {
        fault(format!("{line_count} lines"));
    }
    if !source.is_test() && !source.text.starts_with("//! ") {
        fault("it does not say what it is".to_owned());
    }
    if source.text.contains('\t') {
        fault("a tab".to_owned());
    }
    if !source.text.ends_with('\n') || source.text.ends_with("\n\n") {
        fault("it does not end in one line end".to_owned());
    }
    for (at, line) in source.text.lines().enumerate() {
        let at = at + 1;
        if line.ends_with(' ') {
            fault(format!("line {at} ends in white space"));
        }
        let cannot_break = line.starts_with("//! |") || line.starts_with("#[") || source.is_test();
        if line.chars().count() > COLUMNS_MAX && !cannot_break {
            fault(format!("line {at} is too long"));
        }
        for word in ["TODO", "FIXME", "XXX", "HACK"] {
            if mentions(line, word) {
                fault(format!("line {at} has a {word}"));
            }
        }
    }
    let code = source.code();
    if !source.is_test() {
        for word in ["dbg!", "todo!", "unimplemented!"] {
            if mentions(&code, word) {
                fault(format!("a {word}"));
            }
        }
        if mentions(&code, "unsafe") {
            fault("unsafe code".to_owned());
        }
    }
    faults
}

/// Places where what a peer sends could make the inner rings panic.
fn faults_of_panics(source: &Source) -> Vec<Fault> {
    let ring = ring_of(&source.module).unwrap_or(2);
    if ring >= 2 || source.is_test() {
        return Vec::new();
    }
    let code = source.code();
    [".unwrap()", ".expect(", "panic!(", "unreachable!("]
        .into_iter()
        .filter(|word| code.contains(word))
        .filter(|word| {
            !ALLOWED
                .iter()
                .any(|(path, allowed, _)| source.path == *path && word == allowed)
        })
        .map(|word| format!("{} has {word}", source.path))
        .collect()
}

fn all(check: fn(&Source) -> Vec<Fault>) -> String {
    let faults: Vec<Fault> = sources().iter().flat_map(check).collect();
    faults.join("\n")
}

#[test]
fn imports_point_inwards() {
    assert_eq!(all(faults_of_layering), "");
}

#[test]
fn the_source_is_tidy() {
    assert_eq!(all(faults_of_tidiness), "");
}

#[test]
fn inner_rings_do_not_panic() {
    assert_eq!(all(faults_of_panics), "");
}

#[test]
fn every_module_has_a_ring_and_every_ring_its_modules() {
    let sources = sources();
    let mut modules: BTreeMap<&str, usize> = BTreeMap::new();
    for source in sources.iter().filter(|source| source.path != "lib.rs") {
        *modules.entry(&source.module).or_default() += 1;
    }
    for (name, _) in RINGS {
        assert!(modules.remove(name).is_some(), "there is no module {name}");
    }
    assert!(modules.is_empty(), "without a ring: {modules:?}");
}

#[test]
fn planted_violations_are_found() {
    let layering = |path: &str, text: &str| faults_of_layering(&Source::new(path, text)).len();
    for (path, text, expected) in [
        ("ws/frame.rs", "use crate::limits::X;", 0),
        ("ws/frame.rs", "use crate::http::X;", 0),
        ("ws/frame.rs", "use crate::room::Room;", 1),
        (
            "ws/frame.rs",
            "use crate::{http::X, room::{Room, Key}, reactor};",
            2,
        ),
        (
            "ws/frame.rs",
            "use crate::{\n    limits::{A, B},\n    hub,\n};",
            1,
        ),
        (
            "ws/frame.rs",
            "fn f() { let x = crate::peer::Peer::new(); }",
            1,
        ),
        (
            "ws/frame.rs",
            "// use crate::room::Room;\n/* crate::hub */",
            0,
        ),
        (
            "ws/frame.rs",
            "const A: &str = \"crate::room and \\\" mio\";",
            0,
        ),
        (
            "ws/frame.rs",
            "const A: &str = r#\"crate::room \" mio\"#;",
            0,
        ),
        (
            "ws/frame.rs",
            "#[cfg(test)]\nmod tests {\n use crate::room::X;\n}",
            1,
        ),
        (
            "ws/frame.rs",
            "\n#[cfg(test)]\nmod tests {\n use crate::room::X;\n}",
            0,
        ),
        ("ws/tests.rs", "use crate::room::Room;", 0),
        (
            "hub/mod.rs",
            "use crate::ws::Opcode;\nuse crate::room::Room;",
            0,
        ),
        ("hub/mod.rs", "use crate::reactor::Server;", 1),
        ("hub/mod.rs", "use std::net::IpAddr;", 0),
        ("hub/mod.rs", "use std::net::TcpStream;", 1),
        ("hub/mod.rs", "let now = std::time::Instant::now();", 2),
        ("hub/mod.rs", "use std::collections::HashMap;", 1),
        (
            "hub/mod.rs",
            "use std::collections::{BTreeMap, VecDeque};",
            0,
        ),
        ("hub/mod.rs", "log::info!(\"hello\");", 1),
        (
            "hub/mod.rs",
            "let instantly = 'm'; let x: &'static str = mio_like;",
            0,
        ),
        ("hub/mod.rs", "let key = rand::random();", 1),
        ("proto/mod.rs", "use rand::Rng;", 1),
        ("engine/mod.rs", "use rand::Rng;", 0),
        ("limits.rs", "use crate::ws::X;", 1),
        ("counters.rs", "use crate::limits::X;", 0),
        (
            "reactor/mod.rs",
            "use crate::engine::Engine; use std::time::Instant; use mio::Poll;",
            0,
        ),
        (
            "main.rs",
            "use roomcast::config::{self, Config};\nuse roomcast::reactor::sys;",
            0,
        ),
        ("metrics.rs", "use roomcast::nowhere::X;", 1),
        ("newcomer.rs", "", 1),
    ] {
        assert_eq!(layering(path, text), expected, "{path}: {text}");
    }
    let tidiness = |text: &str| faults_of_tidiness(&Source::new("ws/frame.rs", text)).len();
    let start = "//! A module.\n";
    for (text, expected) in [
        (start.to_owned(), 0),
        ("fn f() {}\n".to_owned(), 1),
        (format!("{start}\tfn f() {{}}\n"), 1),
        (format!("{start}// TODO: this\n"), 1),
        (format!("{start}// FIXME\n"), 1),
        (format!("{start}// a todo list\n"), 0),
        (format!("{start}fn f() {{}} \n"), 1),
        (format!("{start}fn f() {{}}"), 1),
        (format!("{start}// {}\n", "x".repeat(123)), 1),
        (format!("{start}fn f() {{ dbg!(1); }}\n"), 1),
        (format!("{start}fn f() {{ unsafe {{ g() }} }}\n"), 1),
        (format!("{start}{}", "//\n".repeat(600)), 1),
        (format!("{start}{}", "//\n".repeat(599)), 0),
        (
            format!(
                "{start}\n#[cfg(test)]\nmod tests {{\n{}}}\n",
                "//\n".repeat(900)
            ),
            0,
        ),
    ] {
        let shown: String = text.chars().take(60).collect();
        assert_eq!(tidiness(&text), expected, "{shown}");
    }
    let panics = |path: &str, text: &str| faults_of_panics(&Source::new(path, text)).len();
    assert_eq!(panics("ws/frame.rs", "bytes.first().unwrap()"), 1);
    assert_eq!(panics("hub/mod.rs", "bytes.first().expect(\"one\")"), 1);
    assert_eq!(
        panics("hub/mod.rs", "// .unwrap()\nbytes.first().unwrap_or(&0)"),
        0
    );
    assert_eq!(panics("reactor/mod.rs", "lock.lock().unwrap()"), 0);
}
