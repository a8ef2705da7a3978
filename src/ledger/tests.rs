use proptest::prelude::*;

use super::*;

const L: fn(u64) -> Lsn = Lsn::new;

fn ledger() -> Ledger {
    Ledger::new(Mark::start(L(10)))
}

fn row(ledger: &mut Ledger) -> u64 {
    let (_, covered) = ledger.place().expect("in a transaction");
    assert!(!covered);
    let tag = ledger.tag();
    ledger.enqueued(100);
    tag
}

fn deliver(ledger: &mut Ledger, tag: u64, count: u32) {
    ledger.delivered(tag, count, |_| {}).expect("outstanding");
}

fn checkpoint(ledger: &mut Ledger) {
    let (Due::Rows(mark) | Due::Idle(mark, _)) = ledger.due() else { panic!("not due") };
    ledger.checkpoint_enqueued(mark);
    ledger.checkpoint_delivered().expect("under way");
}

#[test]
fn the_slot_moves_only_behind_a_stored_checkpoint() {
    let mut ledger = ledger();
    ledger.begin(L(100), 1, 0).expect("begin");
    let tag = row(&mut ledger);
    ledger.commit(L(100), L(110)).expect("commit");
    assert_eq!(ledger.due(), Due::Nothing, "nothing is confirmed");
    deliver(&mut ledger, tag, 1);
    let Due::Rows(mark) = ledger.due() else { panic!("confirmed") };
    assert_eq!(ledger.flush_lsn(), L(10), "confirmed is not stored");
    ledger.checkpoint_enqueued(mark);
    assert_eq!(ledger.flush_lsn(), L(10), "under way is not stored");
    ledger.checkpoint_delivered().expect("under way");
    assert_eq!(ledger.flush_lsn(), L(110));
    assert!(ledger.is_settled());
}

#[test]
fn a_checkpoint_among_its_rows_counts_when_they_do() {
    let mut ledger = ledger();
    ledger.begin(L(100), 1, 0).expect("begin");
    let tag = row(&mut ledger);
    ledger.commit(L(100), L(110)).expect("commit");
    let Due::Rows(mark) = ledger.due_with_rows() else { panic!("taken") };
    ledger.checkpoint_enqueued_with_rows(mark);
    assert_eq!(ledger.due_with_rows(), Due::Nothing, "one is under way");
    assert!(!ledger.is_settled());
    deliver(&mut ledger, tag, 1);
    assert_eq!(ledger.flush_lsn(), L(10), "the rows are confirmed, the checkpoint is not");
    ledger.checkpoint_delivered().expect("under way");
    assert_eq!(ledger.flush_lsn(), L(110));
    assert!(ledger.is_settled());
}

#[test]
#[should_panic(expected = "the checkpoint is ahead of kafka")]
fn a_checkpoint_does_not_count_before_its_rows() {
    let mut ledger = ledger();
    ledger.begin(L(100), 1, 0).expect("begin");
    row(&mut ledger);
    let Due::Rows(mark) = ledger.due_with_rows() else { panic!("taken") };
    ledger.checkpoint_enqueued_with_rows(mark);
    drop(ledger.checkpoint_delivered());
}

#[test]
fn inside_a_transaction_the_checkpoint_moves_and_the_slot_does_not() {
    let mut ledger = ledger();
    ledger.begin(L(100), 1, 0).expect("begin");
    let tag = row(&mut ledger);
    deliver(&mut ledger, tag, 1);
    checkpoint(&mut ledger);
    assert_eq!(ledger.checkpointed().next_ordinal, 1);
    assert!(!ledger.checkpointed().complete);
    assert_eq!(ledger.flush_lsn(), L(10));
}

#[test]
fn a_later_transaction_waits_for_an_earlier_one() {
    let mut ledger = ledger();
    let mut tags = Vec::new();
    for lsn in [100, 200] {
        ledger.begin(L(lsn), 1, 0).expect("begin");
        for _ in 0..SEGMENT_ROWS {
            tags.push(row(&mut ledger));
        }
        ledger.commit(L(lsn), L(lsn + 10)).expect("commit");
    }
    assert_ne!(tags.first(), tags.last(), "two segments");
    let second = *tags.last().expect("rows");
    deliver(&mut ledger, second, SEGMENT_ROWS);
    assert_eq!(ledger.due(), Due::Nothing);
    let in_flight = u64::from(SEGMENT_ROWS) * 2;
    assert_eq!(ledger.in_flight_rows(), in_flight, "still counted: a crash repeats it");
    deliver(&mut ledger, tags[0], SEGMENT_ROWS);
    assert_eq!(ledger.in_flight_rows(), 0);
    assert_eq!(ledger.confirmed().resume_lsn, L(210));
}

#[test]
fn a_keepalive_moves_an_idle_stream() {
    let mut ledger = ledger();
    assert!(ledger.idle(L(500)));
    let Due::Idle(_, bytes) = ledger.due() else { panic!("idle") };
    assert_eq!(bytes, 490);
    checkpoint(&mut ledger);
    assert_eq!(ledger.flush_lsn(), L(500));
}

#[test]
fn a_keepalive_inside_a_transaction_does_not_move_the_slot() {
    let mut ledger = ledger();
    ledger.begin(L(100), 1, 0).expect("begin");
    assert!(!ledger.idle(L(500)));
}

#[test]
fn a_keepalive_while_rows_are_in_flight_does_not_move_the_slot() {
    let mut ledger = ledger();
    ledger.begin(L(100), 1, 0).expect("begin");
    row(&mut ledger);
    ledger.commit(L(100), L(110)).expect("commit");
    assert!(!ledger.idle(L(500)));
}

#[test]
fn a_transaction_without_rows_moves_the_stream_as_a_keepalive_does() {
    let mut ledger = ledger();
    ledger.begin(L(100), 1, 0).expect("begin");
    ledger.commit(L(100), L(110)).expect("commit");
    assert!(matches!(ledger.due(), Due::Idle(_, 100)));
}

#[test]
fn rows_that_the_checkpoint_covers_are_passed_over_by_commit_and_ordinal() {
    let mark = Mark {
        commit_lsn: L(100),
        next_ordinal: 2,
        complete: false,
        resume_lsn: L(10),
        xid: 1,
        commit_time: 0,
    };
    let mut ledger = Ledger::new(mark);
    ledger.begin(L(50), 1, 0).expect("an older one is sent again");
    assert!(ledger.place().expect("placed").1);
    ledger.passed_over();
    ledger.commit(L(50), L(60)).expect("commit");
    assert_eq!(ledger.taken(), mark, "what is covered does not move the books");
    ledger.begin(L(100), 1, 0).expect("begin");
    for expected in [true, true, false] {
        assert_eq!(ledger.place().expect("placed").1, expected);
        if expected { ledger.passed_over() } else { ledger.enqueued(1) }
    }
    assert_eq!(ledger.taken().next_ordinal, 3);
}

#[test]
fn messages_in_an_impossible_order_are_violations() {
    let mut ledger = ledger();
    assert_eq!(ledger.place(), Err(Violation::OutsideTransaction));
    assert_eq!(ledger.commit(L(1), L(2)), Err(Violation::OutsideTransaction));
    ledger.begin(L(100), 1, 0).expect("begin");
    assert_eq!(ledger.begin(L(200), 1, 0), Err(Violation::NestedBegin(L(100))));
    assert_eq!(
        ledger.commit(L(101), L(110)),
        Err(Violation::OtherCommit { began: L(100), committed: L(101) })
    );
    ledger.begin(L(200), 1, 0).expect("begin");
    ledger.commit(L(200), L(210)).expect("commit");
    assert_eq!(
        ledger.begin(L(150), 1, 0),
        Err(Violation::Backwards { taken: L(200), came: L(150) })
    );
}

#[test]
fn a_delivery_that_is_not_outstanding_is_a_violation() {
    let mut ledger = ledger();
    assert_eq!(ledger.delivered(0, 1, |_| {}), Err(Violation::UnknownDelivery));
    assert_eq!(ledger.delivered(7, 1, |_| {}), Err(Violation::UnknownDelivery));
    assert_eq!(ledger.checkpoint_delivered(), Err(Violation::UnknownDelivery));
}

#[test]
#[should_panic(expected = "ahead of kafka")]
fn a_checkpoint_ahead_of_kafka_stops_the_process() {
    let mut ledger = ledger();
    ledger.begin(L(100), 1, 0).expect("begin");
    row(&mut ledger);
    let taken = ledger.taken();
    ledger.checkpoint_enqueued(taken);
}

proptest! {
    /// Against a model that remembers every row: whatever the order of reports, the confirmed
    /// position never passes an unconfirmed row, and in the end everything is released.
    #[test]
    fn the_confirmed_position_never_passes_an_unconfirmed_row(
        transactions in prop::collection::vec(1_usize..700, 1..8),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..200),
    ) {
        let mut ledger = ledger();
        let mut rows: Vec<(Position, u64, bool)> = Vec::new();
        for (index, count) in transactions.iter().enumerate() {
            let lsn = L(100 + 100 * index as u64);
            ledger.begin(lsn, 1, 0).expect("begin");
            for _ in 0..*count {
                let (position, covered) = ledger.place().expect("placed");
                prop_assert!(!covered);
                rows.push((position, ledger.tag(), false));
                ledger.enqueued(1_000);
            }
            ledger.commit(lsn, Lsn::new(lsn.as_u64() + 10)).expect("commit");
        }
        let mut report = |ledger: &mut Ledger, at: usize| -> Result<(), TestCaseError> {
            if rows[at].2 {
                return Ok(());
            }
            rows[at].2 = true;
            ledger.delivered(rows[at].1, 1, |_| {}).expect("outstanding");
            let confirmed = ledger.confirmed();
            for (position, _, reported) in &rows {
                prop_assert!(*reported || !confirmed.covers(*position));
            }
            Ok(())
        };
        let total = transactions.iter().sum::<usize>();
        for index in order {
            report(&mut ledger, index.index(total))?;
        }
        for at in (0..total).rev() {
            report(&mut ledger, at)?;
        }
        prop_assert_eq!(ledger.confirmed(), ledger.taken());
        prop_assert_eq!((ledger.in_flight_rows(), ledger.in_flight_bytes()), (0, 0));
    }
}

#[test]
fn the_rows_of_a_refused_batch_lie_between_two_marks() {
    let mut ledger = ledger();
    ledger.begin(L(100), 1, 0).expect("begin");
    let tags: Vec<u64> = (0..600).map(|_| row(&mut ledger)).collect();
    let (first, second, third) = (tags[0], tags[256], tags[599]);
    let ordinals = |span: Option<(Mark, Mark)>| {
        span.map(|(after, until)| (after.next_ordinal, until.next_ordinal))
    };
    assert_eq!(ordinals(ledger.span(first, first)), Some((0, 256)));
    assert_eq!(ordinals(ledger.span(second, third)), Some((256, 600)));
    deliver(&mut ledger, first, 256);
    assert_eq!(ordinals(ledger.span(second, second)), Some((256, 512)));
    assert_eq!(ledger.span(first, second), None, "not in flight any more");
    assert!(!ledger.rows_are_stored());
    deliver(&mut ledger, second, 256);
    deliver(&mut ledger, third, 88);
    assert!(!ledger.rows_are_stored() && !ledger.rows_are_covered(), "confirmed is not stored");
    checkpoint(&mut ledger);
    assert!(ledger.rows_are_stored() && ledger.rows_are_covered());
    ledger.commit(L(100), L(110)).expect("commit");
    assert!(!ledger.rows_are_stored() && ledger.rows_are_covered(), "only the end is not stored");
}
