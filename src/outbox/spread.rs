//! Hot aggregates, each spread over sub-keys of its own.
//!
//! All events of an aggregate have its id as their key, so they lie in one partition and one
//! consumer reads them, however many there are. Where a second column says which of them belong
//! together (the line of an order, the shelf of a warehouse), the aggregate may have `n` keys
//! instead, `<id>#0` to `<id>#<n-1>`: rows with the same text in that column have the same key, and
//! their order is kept; between keys there is none.
//!
//! The sub-key is the hash that Kafka's own clients choose a partition by, so that anybody can work
//! it out: `toPositive(murmur2(text)) % n` (`Utils.java` of Apache Kafka 4.3).

use super::column::Field;
use super::row::OutboxRow;

/// Most sub-keys of an aggregate.
pub const SUB_KEYS_MAX: u32 = 1_024;

/// An aggregate that `WALPOST_VIRTUAL_PARTITIONS` lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HotAggregate {
    /// What its rows have as aggregate type; empty: none.
    pub aggregate_type: String,
    /// What its rows have as aggregate id, as text.
    pub aggregate_id: String,
    /// How many keys it has.
    pub sub_keys: u32,
    /// The column that says which rows belong together.
    pub column: String,
}

/// A hot aggregate whose column is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spread {
    pub(super) aggregate_type: String,
    pub(super) aggregate_id: String,
    pub(super) sub_keys: u32,
    pub(super) field: Field,
}

impl Spread {
    /// Whether a row is of this aggregate, by the texts of its type and its id.
    #[must_use]
    pub fn is_of(&self, aggregate_type: &[u8], aggregate_id: &[u8]) -> bool {
        // The id first: it differs in most rows.
        self.aggregate_id.as_bytes() == aggregate_id
            && self.aggregate_type.as_bytes() == aggregate_type
    }

    /// Which of its keys a row has. Rows without a value in the column have the first.
    #[must_use]
    pub fn sub_key(&self, row: &OutboxRow<'_>) -> u32 {
        row.text(self.field).map_or(0, |text| sub_key(text, self.sub_keys))
    }
}

/// `toPositive(murmur2(text)) % n`.
fn sub_key(text: &[u8], sub_keys: u32) -> u32 {
    (murmur2(text) & 0x7fff_ffff) % sub_keys.max(1)
}

/// `org.apache.kafka.common.utils.Utils.murmur2`.
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    // Java's lengths are 32-bit numbers, and a column's text is below a billion bytes.
    let mut h = SEED ^ u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let word: [u8; 4] = word.try_into().expect("four bytes");
        let mut k = u32::from_le_bytes(word).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    for (place, byte) in rest.iter().enumerate() {
        h ^= u32::from(*byte) << (8 * place);
    }
    if !rest.is_empty() {
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_kafkas_own_clients() {
        #[track_caller]
        fn check(text: &str, expected: i32) {
            assert_eq!(murmur2(text.as_bytes()).cast_signed(), expected, "{text:?}");
        }
        // `UtilsTest.testMurmur2` of Apache Kafka.
        check("21", -973_932_308);
        check("foobar", -790_332_482);
        check("a-little-bit-long-string", -985_981_536);
        check("a-little-bit-longer-string", -1_486_304_829);
        check("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971);
        check("abc", 479_470_107);
    }

    #[test]
    fn rows_are_spread_over_all_sub_keys_and_stay_where_they_are() {
        #[track_caller]
        fn check(text: &str, sub_keys: u32, expected: u32) {
            assert_eq!(sub_key(text.as_bytes(), sub_keys), expected, "{text:?} of {sub_keys}");
        }
        // These may never change: an event would move to another key.
        check("21", 16, 12);
        check("foobar", 16, 14);
        check("abc", 16, 11);
        check("abc", 1_000, 107);
        let mut counts = [0_u32; 16];
        for line in 0..16_000_u32 {
            let at = usize::try_from(sub_key(line.to_string().as_bytes(), 16)).unwrap();
            counts[at] += 1;
        }
        assert!(counts.iter().all(|count| (900..1_100).contains(count)), "{counts:?}");
    }
}
