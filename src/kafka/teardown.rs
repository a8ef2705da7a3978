//! Taking clients down without waiting for it.

/// Takes something down on a thread of its own. librdkafka waits for its threads there and a consumer
/// for the broker, 100 to 200 ms as a rule, and no row would move meanwhile.
pub(crate) fn dismiss(client: impl Send + 'static) {
    let spawned =
        std::thread::Builder::new().name("kafka-teardown".to_owned()).spawn(move || drop(client));
    if let Err(error) = spawned {
        tracing::warn!(%error, "a client of kafka is taken down in place");
    }
}
