//! permessage-deflate: what arrives against another inflater, what leaves back again, and offers.

use arbitrary::{Arbitrary, Unstructured};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};
use roomcast::ws::deflate::{Deflater, Inflater, negotiate};
use roomcast::ws::{Message, Opcode, Violation};

/// Bounds on the inflated payload.
const BOUNDS: [usize; 5] = [100, 0, 1, 4_000, 70_000];

/// What is behind a payload when it is inflated (RFC 7692, 7.2.2), and an empty last block that ends the stream.
const END: [u8; 9] = [0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff];

/// One thing to try.
#[derive(Debug, Arbitrary)]
enum Case<'a> {
    /// A compressed payload, as it comes.
    Inflate { bound: u8, payload: &'a [u8] },
    /// A payload, so many times over, for a window.
    Deflate {
        window_bits: u8,
        count: u8,
        payload: &'a [u8],
    },
    /// An offer.
    Offer(Vec<(&'a str, Option<&'a str>)>),
}

/// Input: a [`Case`].
pub fn run(data: &[u8]) {
    match Case::arbitrary_take_rest(Unstructured::new(data)) {
        Ok(Case::Inflate { bound, payload }) => {
            check_inflating(payload, BOUNDS[usize::from(bound) % BOUNDS.len()]);
        }
        Ok(Case::Deflate {
            window_bits,
            count,
            payload,
        }) => check_deflating(
            &payload.repeat(usize::from(count % 32) + 1),
            8 + window_bits % 8,
        ),
        Ok(Case::Offer(parameters)) => check_offer(&parameters),
        Err(_) => {}
    }
}

fn check_inflating(payload: &[u8], bytes_max: usize) {
    let mut inflater = Inflater::default();
    // What another connection has sent leaves no trace.
    let _ = inflater.message(Opcode::Binary, b"\x4a\x4c\x4a\x06\x00", 10);
    let verdict = match inflater.message(Opcode::Binary, payload, bytes_max) {
        Ok(Message::Binary(bytes)) => Ok(bytes.to_vec()),
        Ok(other) => panic!("{other:?}"),
        Err(violation) => Err(violation),
    };
    assert!(
        inflater.held_bytes() <= bytes_max.max(10) + 1024,
        "{}",
        inflater.held_bytes()
    );
    match (&verdict, naive(payload, bytes_max)) {
        (Err(Violation::TooBig), Err(_)) | (Err(Violation::DeflateCorrupt), Err(_)) => {}
        (_, naive) => assert_eq!(verdict, naive),
    }
    let text = inflater
        .message(Opcode::Text, payload, bytes_max)
        .map(|_| ());
    let is_text = |bytes: Vec<u8>| match String::from_utf8(bytes) {
        Ok(_) => Ok(()),
        Err(_) => Err(Violation::TextNotUtf8),
    };
    assert_eq!(text, verdict.and_then(is_text));
}

/// The same with miniz_oxide, a stream after the other (RFC 7692, 7.2.3.4).
fn naive(payload: &[u8], bytes_max: usize) -> Result<Vec<u8>, Violation> {
    let mut inflated = Vec::new();
    let whole = [payload, &END].concat();
    let mut at = 0;
    while at < payload.len() || at == 0 {
        let mut out = vec![0; bytes_max + 1 - inflated.len()];
        let (status, read, written) = decompress(
            &mut DecompressorOxide::new(),
            &whole[at..],
            &mut out,
            0,
            TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
        );
        at += read;
        inflated.extend_from_slice(&out[..written]);
        if inflated.len() > bytes_max {
            return Err(Violation::TooBig);
        }
        if status != TINFLStatus::Done {
            return Err(Violation::DeflateCorrupt);
        }
        // A stream may end with the payload, with the tail that was not sent, or with the block behind it.
        if at > payload.len() && at != payload.len() + 4 && at != whole.len() {
            return Err(Violation::DeflateCorrupt);
        }
    }
    Ok(inflated)
}

fn check_deflating(payload: &[u8], window_bits: u8) {
    let (mut deflater, mut inflater) = (Deflater::default(), Inflater::default());
    let mut out = b"before".to_vec();
    let is_shorter = deflater.compress(payload, window_bits, &mut out);
    let compressed = out.strip_prefix(b"before").expect("only appends");
    if !is_shorter {
        assert!(compressed.is_empty());
        return;
    }
    assert!(compressed.len() < payload.len());
    let inflated = inflater.message(Opcode::Binary, compressed, payload.len());
    assert_eq!(inflated, Ok(Message::Binary(payload)));
    assert_eq!(naive(compressed, payload.len()).as_deref(), Ok(payload));
    // The second message stands alone as well.
    let mut again = Vec::new();
    assert!(deflater.compress(payload, window_bits, &mut again));
    assert_eq!(again, compressed);
}

fn check_offer(parameters: &[(&str, Option<&str>)]) {
    const KNOWN: [&str; 4] = [
        "server_no_context_takeover",
        "client_no_context_takeover",
        "server_max_window_bits",
        "client_max_window_bits",
    ];
    let is_window = |value: &str| (8..=15).any(|bits: u8| bits.to_string() == value);
    let is_legal = parameters.iter().enumerate().all(|(place, (name, value))| {
        let is_first = parameters[..place].iter().all(|(other, _)| other != name);
        let is_fine = match (KNOWN.iter().position(|known| known == name), value) {
            (Some(0 | 1 | 3), None) => true,
            (Some(2 | 3), Some(value)) => is_window(value),
            _ => false,
        };
        is_first && is_fine
    });
    let agreed = negotiate([("permessage-deflate", parameters.iter().copied())]);
    assert_eq!(agreed.is_some(), is_legal, "{parameters:?}");
    if let Some(agreed) = agreed {
        let asked = parameters
            .iter()
            .find(|(name, _)| *name == "server_max_window_bits");
        let bits = asked.and_then(|(_, value)| value.and_then(|value| value.parse().ok()));
        assert_eq!(agreed.server_window_bits, bits.unwrap_or(15));
        assert_eq!(
            agreed.header_value().contains("server_max_window_bits"),
            bits.is_some()
        );
    }
}
