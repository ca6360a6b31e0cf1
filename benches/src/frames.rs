//! Payloads, and the frames of clients that bring them.

use roomcast::ws::frame::encode_masked;
use roomcast::ws::{Header, Opcode};

/// The mask of every frame: no byte of it is 0, so nothing is unmasked for free.
pub const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

const WORDS: [&str; 16] = [
    "the", "room", "is", "a", "log", "and", "each", "member", "reads", "it", "from", "where",
    "they", "stood", "last", "time",
];

/// Words of characters that take one to four bytes.
const LONG_WORDS: [&str; 8] = [
    "Grüße",
    "naïve",
    "κόσμε",
    "привет",
    "今日は",
    "안녕",
    "👋🏽",
    "é",
];

/// Text of exactly so many bytes, all of them ASCII. It does not repeat at once, so that compressing it is work.
pub fn ascii(bytes: usize) -> String {
    text(&WORDS, bytes)
}

/// Text of exactly so many bytes, most of them parts of longer characters.
pub fn multi_byte(bytes: usize) -> String {
    text(&LONG_WORDS, bytes)
}

fn text(words: &[&str], bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 16);
    let mut state: usize = 7;
    while text.len() < bytes {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345) % (1 << 31);
        text.push_str(words[(state >> 16) % words.len()]);
        text.push(' ');
    }
    while text.len() > bytes {
        text.pop();
    }
    let missing = bytes - text.len();
    text + &"."[..].repeat(missing)
}

/// A `message` command of exactly so many bytes.
pub fn message_command(bytes: usize) -> String {
    let (start, end) = (
        r#"{"type":"message","room_id":"lobby","id":"m-000001","content":""#,
        r#""}"#,
    );
    let content = ascii(bytes - start.len() - end.len());
    format!("{start}{content}{end}")
}

/// A text frame of a client.
pub fn masked(text: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_masked(&mut frame, true, false, Opcode::Text, MASK, text.as_bytes());
    frame
}

/// The payload of a text frame of a client, as it is on the wire.
pub fn masked_payload(text: &str) -> Vec<u8> {
    let frame = masked(text);
    frame[frame.len() - text.len()..].to_vec()
}

/// The headers of a client's text frames whose lengths are encoded in all three ways, each with its bytes.
pub fn headers() -> Vec<Vec<u8>> {
    let lengths = [0, 16, 100, 125, 126, 1_000, 65_535, 65_536];
    let headers = lengths.map(|length: usize| {
        let mut frame = masked(&ascii(length));
        frame.truncate(frame.len() - length);
        assert!(matches!(Header::parse(&frame), Ok(Some(_))));
        frame
    });
    headers.to_vec()
}
