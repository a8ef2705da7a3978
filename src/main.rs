//! temporary
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "temporary")]
use std::time::Duration;
use walpost::cloudevent::options::*;
use walpost::config::*;
use walpost::outbox::role::*;
use walpost::outbox::template::Template;
use walpost::postgres::options::*;
#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;
fn main() {
    let env = |n: &str, d: &str| std::env::var(n).unwrap_or(d.to_owned());
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(env("WALPOST_LOG", "info"))
        .init();
    let slot = env("WALPOST_SLOT", "walpost");
    let db = env("PGDATABASE", "postgres");
    let config = Config {
        database: ConnectOptions {
            hosts: vec![Host {
                address: HostAddress::Tcp("127.0.0.1".into()),
                port: env("PGPORT", "5432").parse().unwrap(),
            }],
            database: db.clone(),
            user: "postgres".into(),
            password: None,
            sslmode: None,
            sslrootcert: None,
            sslcert: None,
            sslkey: None,
            channel_binding: ChannelBinding::Prefer,
            connect_timeout: Duration::from_secs(10),
            target_session_attrs: TargetSessionAttrs::Any,
            application_name: "walpost/x".into(),
            wal_sender_timeout: Duration::from_secs(20),
        },
        kafka: walpost::kafka::options::KafkaOptions {
            bootstrap_servers: env("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092"),
            properties: Default::default(),
        },
        name: env("WALPOST_NAME", &format!("{db}.{slot}")),
        tables: vec![TableName { schema: "public".into(), table: "outbox".into() }],
        slot: slot.clone(),
        publication: env("WALPOST_PUBLICATION", "walpost"),
        create: true,
        snapshot: Snapshot::Never,
        events: EventOptions {
            database: db.clone(),
            columns: Default::default(),
            topic: Template::parse("outbox.event.{aggregate_type}").unwrap(),
            mode: Mode::Binary,
            source: None,
            type_template: Template::parse("{type}").unwrap(),
            datacontenttype: None,
            extensions: vec![],
            time_unit: TimeUnit::Milliseconds,
            time_zone: "UTC".into(),
            null_payload: NullPayload::Tombstone,
            debezium_headers: false,
            max_event: 1_000_000,
            reserved_topics: vec![],
        },
        delivery: Delivery::AtLeastOnce,
        checkpoint_topic: format!("walpost.checkpoint.{db}.{slot}"),
        on_bad_row: OnBadRow::DeadLetter,
        dlq_topic: "walpost.dlq".into(),
        topic_partitions: None,
        topic_replication: None,
        max_in_flight: 16 << 20,
        shutdown_timeout: Duration::from_secs(25),
        http_addr: None,
        http_auth: None,
        log: "info".into(),
        log_format: None,
    };
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ended = rt.block_on(async {
        let (tx, rx) = tokio::sync::watch::channel(false);
        tokio::spawn(async move {
            let mut t =
                tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
            t.recv().await;
            tx.send_replace(true);
        });
        let status = walpost::status::Status::new("x", &slot);
        let c = config.clone();
        walpost::supervisor::Supervisor::new(config, move || Ok(c.clone()), status).run(rx).await
    });
    tracing::info!("{ended:?}");
}
