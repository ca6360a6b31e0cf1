//! Records that bring no data, such as changes of keys. They are work, and no message or byte comes of them that
//! another bound would see.

use crate::limits::{TLS_DATA_RECORDS_PER_IDLE_RECORD, TLS_IDLE_RECORD_COUNT_MAX};

/// How many of them a session has had for which no records with data have made up.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdleRecords {
    /// Records with data that would make up for them.
    owed_count: u32,
}

impl IdleRecords {
    /// Counts these whole records, `data_count` of which brought data. Returns whether there were too many others.
    /// Their headers are as they came; what is behind each may have been decrypted in its place.
    pub fn are_too_many(&mut self, records: &[u8], data_count: u32) -> bool {
        let idle_count = record_count(records).saturating_sub(data_count);
        let owed_count = idle_count.saturating_mul(TLS_DATA_RECORDS_PER_IDLE_RECORD);
        self.owed_count = self.owed_count.saturating_add(owed_count);
        let is_over =
            self.owed_count > TLS_IDLE_RECORD_COUNT_MAX * TLS_DATA_RECORDS_PER_IDLE_RECORD;
        self.owed_count = self.owed_count.saturating_sub(data_count);
        is_over
    }
}

fn record_count(mut bytes: &[u8]) -> u32 {
    let mut count = 0;
    while let [_, _, _, high, low, rest @ ..] = bytes {
        let length = u16::from_be_bytes([*high, *low]);
        bytes = rest.get(usize::from(length)..).unwrap_or_default();
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many records, of different lengths.
    fn records(count: u32) -> Vec<u8> {
        let lengths = [19_u16, 0, 300].into_iter().cycle();
        let take = usize::try_from(count).unwrap();
        lengths.take(take).fold(Vec::new(), |mut bytes, length| {
            bytes.extend_from_slice(&[23, 3, 3]);
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.resize(bytes.len() + usize::from(length), 0xff);
            bytes
        })
    }

    #[test]
    fn records_are_counted() {
        for count in [0, 1, 2, 3, 1000] {
            assert_eq!(record_count(&records(count)), count);
        }
    }

    #[test]
    fn so_many_in_a_row_are_too_many() {
        let mut idle = IdleRecords::default();
        assert!(!idle.are_too_many(&records(TLS_IDLE_RECORD_COUNT_MAX), 0));
        assert!(!idle.are_too_many(&records(1), 1));
        assert!(idle.are_too_many(&records(1), 0));
    }

    #[test]
    fn records_with_data_make_up_for_them() {
        let mut idle = IdleRecords::default();
        assert!(!idle.are_too_many(&records(TLS_IDLE_RECORD_COUNT_MAX), 0));
        for _ in 0..1000 {
            for _ in 0..TLS_DATA_RECORDS_PER_IDLE_RECORD {
                assert!(!idle.are_too_many(&records(1), 1));
            }
            assert!(!idle.are_too_many(&records(1), 0));
        }
        assert!(idle.are_too_many(&records(2), 1), "one more");
        // No credit is gathered beyond the start.
        let mut idle = IdleRecords::default();
        for _ in 0..1000 {
            assert!(!idle.are_too_many(&records(1), 1));
        }
        assert!(idle.are_too_many(&records(TLS_IDLE_RECORD_COUNT_MAX + 1), 0));
    }
}
