//! Text as people write it, the same in every run: what compressing it costs is what compressing chat costs.

/// How many texts there are. No two messages in a row say the same, so that a compressor learns none of them by heart.
pub const TEXT_COUNT: usize = 16;

/// What people say. Nothing of it has to be escaped in JSON.
const WORDS: [&str; 128] = [
    "the",
    "be",
    "to",
    "of",
    "and",
    "a",
    "in",
    "that",
    "have",
    "I",
    "it",
    "for",
    "not",
    "on",
    "with",
    "he",
    "as",
    "you",
    "do",
    "at",
    "this",
    "but",
    "his",
    "by",
    "from",
    "they",
    "we",
    "say",
    "her",
    "she",
    "or",
    "an",
    "will",
    "my",
    "one",
    "all",
    "would",
    "there",
    "their",
    "what",
    "so",
    "up",
    "out",
    "if",
    "about",
    "who",
    "get",
    "which",
    "go",
    "me",
    "when",
    "make",
    "can",
    "like",
    "time",
    "no",
    "just",
    "him",
    "know",
    "take",
    "people",
    "into",
    "year",
    "your",
    "good",
    "some",
    "could",
    "them",
    "see",
    "other",
    "than",
    "then",
    "now",
    "look",
    "only",
    "come",
    "its",
    "over",
    "think",
    "also",
    "back",
    "after",
    "use",
    "two",
    "how",
    "our",
    "work",
    "first",
    "well",
    "way",
    "even",
    "new",
    "want",
    "because",
    "any",
    "these",
    "give",
    "day",
    "most",
    "us",
    "meeting",
    "tomorrow",
    "thanks",
    "anyone",
    "server",
    "build",
    "fixed",
    "again",
    "yesterday",
    "release",
    "coffee",
    "lunch",
    "wait",
    "really",
    "sure",
    "maybe",
    "where",
    "question",
    "answer",
    "branch",
    "review",
    "merged",
    "tests",
    "green",
    "weekend",
    "photo",
    "haha",
    "okay",
];

/// Words of exactly so many bytes in all. Another `number` has other words.
pub fn text(number: usize, bytes: usize) -> Vec<u8> {
    let mut state = number as u64 + 1;
    let mut text = String::with_capacity(bytes + 16);
    while text.len() < bytes {
        // Knuth's generator, of which the upper bits are good.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // The smaller of two, as the first words are the most frequent ones.
        let places = [state >> 57, state >> 50 & 0x7f];
        let word = WORDS[places.into_iter().min().unwrap_or(0) as usize];
        text.push_str(word);
        text.push(' ');
    }
    text.truncate(bytes);
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;

    fn deflated_bytes(text: &[u8]) -> usize {
        let mut out = Vec::with_capacity(2 * text.len() + 100);
        Compress::new(Compression::default(), false)
            .compress_vec(text, &mut out, FlushCompress::Sync)
            .unwrap();
        out.len()
    }

    #[test]
    fn texts_differ_but_not_between_runs() {
        let texts: Vec<Vec<u8>> = (0..TEXT_COUNT).map(|number| text(number, 114)).collect();
        for (number, text) in texts.iter().enumerate() {
            assert_eq!((text.len(), text.is_ascii()), (114, true));
            assert!(!texts[..number].contains(text));
        }
        assert!(texts[0].starts_with(b"but we use the tomorrow have than have year "));
    }

    #[test]
    fn a_text_is_as_hard_to_compress_as_what_people_write() {
        for number in 0..TEXT_COUNT {
            // English: three quarters are left of a short message, and a good third of a long one.
            let short = deflated_bytes(&text(number, 114));
            assert!((75..100).contains(&short), "{short}");
            let long = deflated_bytes(&text(number, 8192));
            assert!((2700..4000).contains(&long), "{long}");
        }
    }
}
