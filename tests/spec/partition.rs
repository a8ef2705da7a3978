//! Where the Java client puts a key.

use crate::servers::Record;

/// The partition that Java's default partitioner picks for a key.
///
/// Source: `BuiltInPartitioner.partitionForKey` and `Utils.murmur2` of Apache Kafka.
pub(crate) fn of_key(key: &[u8], partitions: i32) -> i32 {
    let positive = murmur2(key) & 0x7fff_ffff;
    i32::try_from(positive % u32::try_from(partitions).unwrap()).unwrap()
}

/// Every record with a key lies where a Java producer would have put it.
#[track_caller]
pub(crate) fn check(records: &[Record], partitions: i32) {
    for record in records {
        if let Some(key) = &record.key {
            assert_eq!(record.partition, of_key(key, partitions), "{record:?}");
        }
    }
}

fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut h = 0x9747_b28c_u32 ^ u32::try_from(data.len()).unwrap();
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes(word.try_into().unwrap()).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        h = h.wrapping_mul(M) ^ k;
    }
    let rest = words.remainder();
    for (index, byte) in rest.iter().enumerate() {
        h ^= u32::from(*byte) << (8 * index);
    }
    if !rest.is_empty() {
        h = h.wrapping_mul(M);
    }
    h = (h ^ (h >> 13)).wrapping_mul(M);
    h ^ (h >> 15)
}

#[test]
fn the_hash_that_tests_compare_with_is_javas() {
    // From `UtilsTest.testMurmur2` of Apache Kafka.
    for (text, hash) in [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ("abc", 479_470_107),
    ] {
        assert_eq!(murmur2(text.as_bytes()).cast_signed(), hash, "{text}");
    }
}
