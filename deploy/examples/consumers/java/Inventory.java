import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.cloudevents.CloudEvent;
import io.cloudevents.kafka.KafkaMessageFactory;
import java.io.IOException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ThreadLocalRandom;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** An inventory that follows the orders of a shop; ../README.md explains each step. */
public class Inventory implements ConsumerRebalanceListener {
    private static final String KAFKA = System.getenv("KAFKA");
    // The same form for all five programs: postgresql://host:port/database?user=…
    private static final String DATABASE_URL = "jdbc:" + System.getenv("DATABASE_URL");
    private static final String TOPIC = setting("TOPIC", "outbox.event.order");
    private static final String GROUP = setting("GROUP", "inventory");
    private static final String DEAD_LETTERS = setting("DEAD_LETTERS", "inventory.dead-letters");
    private static final ObjectMapper JSON = new ObjectMapper();

    /** Trying again cannot help: the event itself is wrong. */
    private static class Permanent extends Exception {
        Permanent(String reason) {
            super(reason);
        }
    }

    /** Until when a partition waits, and how long it waits the next time. */
    private record Wait(Instant until, Duration next) {}

    private final KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(
        Map.of("bootstrap.servers", KAFKA, "acks", "all", "delivery.timeout.ms", 30_000, "request.timeout.ms", 10_000),
        new ByteArraySerializer(), new ByteArraySerializer());
    private final KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(
        Map.of("bootstrap.servers", KAFKA, "group.id", GROUP, "auto.offset.reset", "earliest",
            "enable.auto.commit", false, "session.timeout.ms", 10_000),
        new ByteArrayDeserializer(), new ByteArrayDeserializer());
    private final Map<TopicPartition, Wait> waiting = new HashMap<>();
    private Connection database;

    private static CloudEvent decode(ConsumerRecord<byte[], byte[]> record) throws Permanent {
        // Only the event's own headers; others may be anything.
        var headers = new RecordHeaders();
        for (var header : record.headers()) {
            if (header.key().equals("content-type") || header.key().startsWith("ce_")) headers.add(header);
        }
        try {
            var event = KafkaMessageFactory.createReader(headers, record.value()).toEvent();
            // The SDK takes an empty one.
            if (event.getId().isEmpty()) throw new IllegalArgumentException("it has no id");
            return event;
        } catch (RuntimeException error) { // the SDK throws what it likes
            throw new Permanent("not a CloudEvent: " + firstLine(error));
        }
    }

    private void handle(CloudEvent event) throws Permanent, SQLException {
        if (!event.getType().equals("OrderPlaced")) return; // not ours
        var data = dataOf(event);
        if (!data.path("order").canConvertToLong() || !data.path("sku").isTextual()
            || !data.path("quantity").canConvertToInt() || data.path("quantity").intValue() <= 0) {
            throw new Permanent("the data is not an order");
        }
        connect();
        try {
            reserve(event, data.path("order").longValue(), data.path("sku").textValue(), data.path("quantity").intValue());
            database.commit();
        } catch (Permanent | SQLException error) {
            undo(error);
            // SQLSTATE 22… and 23…: the values are wrong.
            if (error instanceof SQLException sql && sql.getSQLState() != null && sql.getSQLState().matches("2[23].*")) {
                throw new Permanent(sql.getSQLState() + ": " + firstLine(sql));
            }
            throw error;
        }
    }

    private static JsonNode dataOf(CloudEvent event) throws Permanent {
        try {
            return JSON.readTree(event.getData() == null ? new byte[0] : event.getData().toBytes());
        } catch (IOException error) {
            throw new Permanent("the data is not JSON");
        }
    }

    private void reserve(CloudEvent event, long order, String sku, int quantity) throws Permanent, SQLException {
        var first = change("insert into inbox (source, id) values (?, ?) on conflict do nothing",
            event.getSource().toString(), event.getId());
        if (first == 0) return; // a repeat: its effect is there already
        if (change("update stock set quantity = quantity - ? where sku = ?", quantity, sku) == 0) {
            throw new Permanent("unknown sku " + sku);
        }
        var payload = JSON.createObjectNode().put("order", order).put("sku", sku).put("quantity", quantity);
        var correlation = event.getExtension("correlationid");
        change("insert into outbox (aggregatetype, aggregateid, type, payload, correlation_id, causation_id)"
                + " values ('stock', ?, 'StockReserved', ?::jsonb, ?, ?)",
            sku, payload.toString(), correlation == null ? event.getId() : correlation.toString(), event.getId());
    }

    private int change(String sql, Object... values) throws SQLException {
        try (var statement = database.prepareStatement(sql)) {
            for (var i = 0; i < values.length; i++) statement.setObject(i + 1, values[i]);
            return statement.executeUpdate();
        }
    }

    /** Of a message; its other lines are the row, or the record. */
    private static String firstLine(Exception error) {
        return String.valueOf(error.getMessage()).lines().findFirst().orElse("");
    }

    private void connect() throws SQLException {
        if (database != null && !database.isClosed()) return;
        database = DriverManager.getConnection(DATABASE_URL);
        database.setAutoCommit(false);
    }

    private void undo(Exception error) {
        try {
            database.rollback();
        } catch (SQLException failed) {
            // The connection is gone; the next event gets another.
            error.addSuppressed(failed);
            try {
                database.close();
            } catch (SQLException closed) {
                error.addSuppressed(closed);
            }
        }
    }

    /** Sends the record as it is to the dead letters, and returns when Kafka has it. */
    private void bury(ConsumerRecord<byte[], byte[]> record, Permanent reason) throws ExecutionException, InterruptedException {
        var headers = new RecordHeaders(record.headers());
        headers.add("dlq-reason", String.valueOf(reason.getMessage()).getBytes());
        headers.add("dlq-topic", record.topic().getBytes());
        headers.add("dlq-partition", String.valueOf(record.partition()).getBytes());
        headers.add("dlq-offset", String.valueOf(record.offset()).getBytes());
        headers.add("dlq-timestamp", String.valueOf(record.timestamp()).getBytes());
        headers.add("dlq-group", GROUP.getBytes());
        producer.send(new ProducerRecord<>(DEAD_LETTERS, null, record.key(), record.value(), headers)).get();
        System.err.println("dead letter: " + place(record) + ": " + reason.getMessage());
    }

    /** Whether the record is done: its transaction committed, or its letter in Kafka. Else its partition waits. */
    private boolean settled(ConsumerRecord<byte[], byte[]> record) throws InterruptedException {
        var partition = new TopicPartition(record.topic(), record.partition());
        try {
            try {
                handle(decode(record));
            } catch (Permanent reason) {
                bury(record, reason);
            }
            waiting.remove(partition);
            return true;
        } catch (SQLException | ExecutionException | KafkaException error) {
            var delay = waiting.containsKey(partition) ? waiting.get(partition).next() : Duration.ofMillis(100);
            System.err.println("again in " + delay.toMillis() + " ms: " + place(record) + ": " + error.getMessage());
            var some = delay.toMillis() * ThreadLocalRandom.current().nextDouble(0.5, 1);
            var next = delay.multipliedBy(2).toSeconds() < 10 ? delay.multipliedBy(2) : Duration.ofSeconds(10);
            waiting.put(partition, new Wait(Instant.now().plusMillis((long) some), next));
            consumer.seek(partition, record.offset());
            consumer.pause(List.of(partition));
            return false;
        }
    }

    private static String place(ConsumerRecord<?, ?> record) {
        return record.topic() + "/" + record.partition() + "@" + record.offset();
    }

    private void run() throws InterruptedException {
        consumer.subscribe(List.of(TOPIC), this);
        while (true) {
            var due = new ArrayList<TopicPartition>();
            waiting.forEach((partition, wait) -> { if (wait.until().isBefore(Instant.now())) due.add(partition); });
            consumer.resume(due);
            // Also while all partitions wait: a consumer that does not poll loses them.
            var records = consumer.poll(Duration.ofMillis(100));
            for (var partition : records.partitions()) {
                OffsetAndMetadata done = null;
                for (var record : records.records(partition)) {
                    if (!settled(record)) break;
                    done = new OffsetAndMetadata(record.offset() + 1);
                }
                if (done != null) commit(partition, done);
            }
        }
    }

    private void commit(TopicPartition partition, OffsetAndMetadata done) {
        try {
            consumer.commitSync(Map.of(partition, done));
        } catch (WakeupException stop) {
            throw stop;
        } catch (KafkaException error) {
            // The partition goes to another consumer, which reads these records again: repeats, no more.
            System.err.println("not committed: " + error.getMessage());
        }
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        // `poll` is called when all that it gave before is committed, so there is nothing left to do for them.
        waiting.keySet().removeAll(partitions);
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {}

    public static void main(String[] arguments) throws InterruptedException {
        var inventory = new Inventory();
        var running = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            inventory.consumer.wakeup();
            try {
                running.join(10_000);
            } catch (InterruptedException ended) {
                Thread.currentThread().interrupt();
            }
        }));
        try (inventory.producer; inventory.consumer) {
            inventory.run();
        } catch (WakeupException stop) {
            // Leaving the group at once is what closing does.
        }
    }

    private static String setting(String name, String otherwise) {
        return System.getenv().getOrDefault(name, otherwise);
    }
}
