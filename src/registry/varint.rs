//! Numbers of variable length, as Avro and Protobuf both write them.

/// Small numbers of either sign become small ones.
pub(super) const fn zigzag(number: i64) -> u64 {
    (number << 1).cast_unsigned() ^ (number >> 63).cast_unsigned()
}

/// Seven bits a byte, the least significant first.
pub(super) fn varint(number: u64, out: &mut Vec<u8>) {
    let mut left = number;
    loop {
        let [seven, ..] = (left & 0x7F).to_le_bytes();
        left >>= 7;
        if left == 0 {
            out.push(seven);
            return;
        }
        out.push(seven | 0x80);
    }
}
