//! `pgoutput`: bytes of one XLogData into a logical message, without copying.
