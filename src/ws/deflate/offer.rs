//! What a client offers in `Sec-WebSocket-Extensions`, and what is made of it (RFC 7692, 5 and 7.1).

use super::WINDOW_BITS_MAX;

/// The extension's name.
const NAME: &str = "permessage-deflate";

/// The answer to an offer, with what it adds to the parameters that every answer has.
macro_rules! answer {
    ($added:literal) => {
        concat!(
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            $added
        )
    };
}

/// The agreement with one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The window for [`Deflater::compress`](super::Deflater::compress), as an exponent of 2: 8 to 15.
    pub server_window_bits: u8,
    header_value: &'static str,
}

impl Agreed {
    /// The value of the `Sec-WebSocket-Extensions` that tells the client.
    pub fn header_value(self) -> &'static str {
        self.header_value
    }
}

/// Accepts the first legal offer of permessage-deflate; `None` where there is none.
///
/// An offer is the name of an extension and its parameters: their names, and values without quotes. Those of other
/// extensions are passed over. An offer is illegal, and the next one is tried, where a parameter is unknown or
/// repeated, has a value that it must not have, or lacks one that it must have (RFC 7692, 7.1).
///
/// The answer says `server_max_window_bits` wherever the offer does (RFC 7692, 7.1.2.1). It never says
/// `client_max_window_bits`: any window is inflated.
///
/// ```
/// use roomcast::ws::deflate::negotiate;
///
/// let offers = [
///     ("permessage-deflate", vec![("server_max_window_bits", Some("7"))]),
///     ("permessage-deflate", vec![("client_max_window_bits", None)]),
/// ];
/// let agreed = negotiate(offers).expect("the second one is legal");
/// assert_eq!(agreed.server_window_bits, 15);
/// assert_eq!(
///     agreed.header_value(),
///     "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
/// );
/// ```
pub fn negotiate<'a, Parameters, Value>(
    offers: impl IntoIterator<Item = (&'a str, Parameters)>,
) -> Option<Agreed>
where
    Parameters: IntoIterator<Item = (&'a str, Option<Value>)>,
    Value: AsRef<str>,
{
    offers
        .into_iter()
        .filter(|(name, _)| *name == NAME)
        .find_map(|(_, parameters)| Offer::read(parameters))
        .map(Offer::accept)
}

/// A legal offer: whether each parameter is in it, and the value that matters.
#[derive(Debug, Default)]
struct Offer {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    client_max_window_bits: bool,
    server_max_window_bits: Option<Window>,
}

/// A value of a window parameter with the answer to it.
type Window = (u8, &'static str);

impl Offer {
    fn read<'a, Value: AsRef<str>>(
        parameters: impl IntoIterator<Item = (&'a str, Option<Value>)>,
    ) -> Option<Offer> {
        let mut offer = Offer::default();
        for (name, value) in parameters {
            offer.add(name, value.as_ref().map(AsRef::as_ref))?;
        }
        Some(offer)
    }

    /// `None` where this parameter makes the offer illegal.
    fn add(&mut self, name: &str, value: Option<&str>) -> Option<()> {
        let was_given = match (name, value) {
            ("server_no_context_takeover", None) => set(&mut self.server_no_context_takeover),
            ("client_no_context_takeover", None) => set(&mut self.client_no_context_takeover),
            ("client_max_window_bits", None) => set(&mut self.client_max_window_bits),
            ("client_max_window_bits", Some(value)) => {
                window(value)?;
                set(&mut self.client_max_window_bits)
            }
            ("server_max_window_bits", Some(value)) => self
                .server_max_window_bits
                .replace(window(value)?)
                .is_some(),
            _ => return None,
        };
        (!was_given).then_some(())
    }

    fn accept(self) -> Agreed {
        let (server_window_bits, header_value) = self
            .server_max_window_bits
            .unwrap_or((WINDOW_BITS_MAX, answer!("")));
        Agreed {
            server_window_bits,
            header_value,
        }
    }
}

/// Sets a flag; whether it was set already.
fn set(flag: &mut bool) -> bool {
    std::mem::replace(flag, true)
}

/// Reads 8 to 15, without leading zeros (RFC 7692, 7.1.2).
fn window(value: &str) -> Option<Window> {
    Some(match value {
        "8" => (8, answer!("; server_max_window_bits=8")),
        "9" => (9, answer!("; server_max_window_bits=9")),
        "10" => (10, answer!("; server_max_window_bits=10")),
        "11" => (11, answer!("; server_max_window_bits=11")),
        "12" => (12, answer!("; server_max_window_bits=12")),
        "13" => (13, answer!("; server_max_window_bits=13")),
        "14" => (14, answer!("; server_max_window_bits=14")),
        "15" => (15, answer!("; server_max_window_bits=15")),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str =
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    /// Negotiates the offers of a line; its values are those within the quotes, if there are any.
    fn answer_to(line: &str) -> Option<Agreed> {
        let parameter = |text: &'static str| match text.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"').to_owned())),
            None => (text.trim(), None),
        };
        let line: &'static str = line.to_owned().leak();
        negotiate(line.split(',').map(|offer| {
            let mut pieces = offer.split(';');
            let name = pieces.next().expect("a piece").trim();
            (name, pieces.map(parameter))
        }))
    }

    fn check(line: &str, expected: Option<(u8, &str)>) {
        let agreed = answer_to(line).map(|agreed| {
            let value = agreed.header_value();
            let added = value.strip_prefix(PLAIN).expect("in every answer");
            (agreed.server_window_bits, added)
        });
        assert_eq!(agreed, expected, "{line}");
    }

    #[test]
    fn legal_offers_are_answered() {
        let window = |bits| format!("; server_max_window_bits={bits}");
        let (ten, plain) = (window(10), (15, ""));
        for (line, expected) in [
            // The offers of RFC 7692, 5.1 and 7.1.
            ("permessage-deflate", plain),
            ("permessage-deflate; server_no_context_takeover", plain),
            ("permessage-deflate; client_no_context_takeover", plain),
            ("permessage-deflate; client_max_window_bits", plain),
            ("permessage-deflate; client_max_window_bits=10", plain),
            ("permessage-deflate; server_max_window_bits=10", (10, &*ten)),
            (
                "permessage-deflate; client_max_window_bits; server_max_window_bits=10",
                (10, &*ten),
            ),
            (
                "permessage-deflate; client_max_window_bits; server_max_window_bits=10, \
                 permessage-deflate; client_max_window_bits",
                (10, &*ten),
            ),
            (
                "permessage-deflate; server_max_window_bits=\"10\"",
                (10, &*ten),
            ),
            // All four, in another order.
            (
                "permessage-deflate; client_no_context_takeover; client_max_window_bits=9; \
                 server_max_window_bits=10; server_no_context_takeover",
                (10, &*ten),
            ),
            // An offer among others.
            ("permessage-bzip2, permessage-deflate", plain),
            (
                "x-webkit-deflate-frame, permessage-deflate, foo; bar=1",
                plain,
            ),
            // The first one that is legal.
            (
                "permessage-deflate; server_max_window_bits=7, \
                 permessage-deflate; unknown, permessage-deflate; server_max_window_bits=10, \
                 permessage-deflate",
                (10, &*ten),
            ),
        ] {
            check(line, Some(expected));
        }
    }

    /// The offers of the test suite Autobahn (12 and 13), all of them.
    #[test]
    fn windows_and_takeover_combine() {
        for takeover in [
            "",
            "; server_no_context_takeover",
            "; client_no_context_takeover",
        ] {
            for client in ["", "; client_max_window_bits", "; client_max_window_bits=8"] {
                for bits in 8..=15 {
                    let window = format!("; server_max_window_bits={bits}");
                    let line = format!("permessage-deflate{takeover}{window}{client}");
                    check(&line, Some((bits, &window)));
                }
                check(
                    &format!("permessage-deflate{client}{takeover}"),
                    Some((15, "")),
                );
            }
        }
    }

    #[test]
    fn illegal_offers_are_declined() {
        let illegal = [
            "unknown",
            "unknown=1",
            "Server_no_context_takeover",
            "server_no_context_takeover=true",
            "server_no_context_takeover=15",
            "client_no_context_takeover=\"\"",
            "server_no_context_takeover; server_no_context_takeover",
            "client_no_context_takeover; client_no_context_takeover",
            "client_max_window_bits; client_max_window_bits",
            "client_max_window_bits=10; client_max_window_bits",
            "client_max_window_bits=10; client_max_window_bits=10",
            "server_max_window_bits=10; server_max_window_bits=10",
            "server_max_window_bits=10; server_max_window_bits=11",
            "server_max_window_bits",
            "client_max_window_bits; unknown",
        ];
        let values = [
            "", "0", "7", "16", "08", "015", "+8", "-8", "8.0", "0x8", "ten", "1000", "٨",
        ];
        let windows = values.iter().flat_map(|value| {
            ["server", "client"].map(|side| format!("{side}_max_window_bits={value}"))
        });
        for parameters in illegal.into_iter().map(str::to_owned).chain(windows) {
            check(&format!("permessage-deflate; {parameters}"), None);
            check(
                &format!("permessage-deflate; {parameters}, permessage-deflate"),
                Some((15, "")),
            );
        }
    }

    #[test]
    fn other_extensions_are_no_offers() {
        for line in [
            "permessage-foo",
            "x-webkit-deflate-frame; no_context_takeover",
            "deflate",
            "Permessage-Deflate",
            "permessage-bzip2; server_max_window_bits=10",
        ] {
            check(line, None);
        }
        assert_eq!(negotiate::<[(&str, Option<&str>); 0], _>([]), None);
    }
}
