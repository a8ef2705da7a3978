use super::*;
use crate::metrics::ConfigInfo;

fn teller() -> Teller {
    let status = Status::new("shop.walpost", "walpost");
    Teller {
        metrics: Metrics::new(&status, &ConfigInfo::default()),
        status,
        trouble: Trouble::default(),
    }
}

/// The loop has nothing in hand, and the walsender says that it has read the log up to here.
fn sent_up_to(place: u64) -> Progress<'static> {
    let place = Some(Lsn::new(place));
    Progress {
        positions: Positions { confirmed: place, wal_end: place, ..Positions::default() },
        in_flight: InFlight::default(),
        oldest_in_hand: None,
        blocked: false,
        blocked_since: Instant::now(),
        waits_for_registry: None,
        last_stream_message: Instant::now(),
        last_confirmation: None,
        last_checkpoint: None,
        kafka_certificate: None,
    }
}

#[test]
fn what_the_walsender_has_read_proves_nothing_about_what_the_server_has() {
    let teller = teller();
    teller.leading(1, None);
    let caught_up = || teller.status.snapshot().lag.caught_up;
    for _ in 0..3 {
        teller.progress(&sent_up_to(100));
        assert!(!caught_up());
    }
    teller.log_ends(Lsn::new(101), Instant::now());
    assert!(!caught_up());
    teller.progress(&sent_up_to(101));
    assert!(caught_up());
}

#[test]
fn an_answer_that_was_long_on_its_way_proves_what_was_when_it_was_asked_for() {
    let teller = teller();
    teller.leading(1, None);
    let (asked, on_its_way) = (Instant::now(), Duration::from_millis(50));
    std::thread::sleep(on_its_way);
    teller.log_ends(Lsn::new(100), asked);
    teller.progress(&sent_up_to(100));
    // Nothing is watched any more, so what counts is when all was had for certain.
    teller.not_leading();
    let lag = teller.status.snapshot().lag.seconds;
    assert!(lag >= on_its_way.as_secs_f64(), "{lag}");
}

#[test]
fn the_state_says_that_kafka_is_slow_once_that_has_lasted() {
    let teller = teller();
    teller.leading(1, None);
    let check = |blocked, lasted: u64, expected| {
        let blocked_since = Instant::now().checked_sub(Duration::from_millis(lasted)).unwrap();
        teller.progress(&Progress { blocked, blocked_since, ..sent_up_to(100) });
        assert_eq!(teller.status.state(), expected);
    };
    check(true, 0, State::Streaming);
    check(false, 0, State::Streaming);
    check(true, 1_000, State::Backpressured);
    // It takes a few rows, and stops again.
    check(false, 0, State::Backpressured);
    check(true, 0, State::Backpressured);
    check(false, 1_000, State::Streaming);
}
