import io.cloudevents.kafka.CloudEventDeserializer;
import io.cloudevents.kafka.KafkaMessageFactory;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.StringDeserializer;

public class Consumer {
    public static void main(String[] arguments) {
        var settings = Map.<String, Object>of(
            "bootstrap.servers", System.getenv("KAFKA"), "group.id", "shop-java", "auto.offset.reset", "earliest");
        var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new CloudEventDeserializer());
        consumer.subscribe(List.of(System.getenv("TOPIC")));
        while (true) {
            for (var record : consumer.poll(Duration.ofSeconds(1))) {
                var event = record.value();
                // A tombstone: Kafka's client asks no deserializer for a null value.
                if (event == null) event = KafkaMessageFactory.createReader(record.headers(), null).toEvent();
                var data = event.getData() == null ? null : new String(event.getData().toBytes());
                System.out.println(event.getId() + " " + event.getType() + " " + data);
            }
        }
    }
}
