import com.fasterxml.jackson.databind.ObjectMapper;
import io.cloudevents.CloudEvent;
import io.cloudevents.kafka.CloudEventDeserializer;
import io.cloudevents.kafka.KafkaMessageFactory;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Arrays;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RecordDeserializationException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Reads records with Kafka's own client, which decodes each with the CloudEvents SDK for Java, and prints
 * what it sees, one JSON object a line: Reader BOOTSTRAP COUNT TOPIC…
 */
public final class Reader {
    private static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] arguments) throws Exception {
        var settings = Map.<String, Object>of("bootstrap.servers", arguments[0], "enable.auto.commit", "false");
        var left = Integer.parseInt(arguments[1]);
        var partitions = Arrays.stream(arguments).skip(2).map(topic -> new TopicPartition(topic, 0)).toList();
        try (var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new CloudEventDeserializer())) {
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            for (var silent = 0; left > 0 && silent < 30; silent++) {
                try {
                    for (var record : consumer.poll(Duration.ofSeconds(1))) {
                        print(record.topic(), record.offset(), record.key(), record.headers(), record.value());
                        left--;
                        silent = 0;
                    }
                } catch (RecordDeserializationException refused) {
                    // Without this the consumer stays at that record for ever.
                    var place = refused.topicPartition();
                    consumer.seek(place, refused.offset() + 1);
                    var key = refused.keyBuffer() == null ? null : refused.keyBuffer().array();
                    var line = recordOf(place.topic(), refused.offset(), key, refused.headers());
                    var cause = refused.getCause();
                    line.put("error", cause.getClass().getSimpleName() + ": " + cause.getMessage());
                    System.out.println(JSON.writeValueAsString(line));
                    left--;
                    silent = 0;
                }
            }
        }
        if (left > 0) throw new IllegalStateException(left + " records are missing");
    }

    private static void print(String topic, long offset, byte[] key, Headers headers, CloudEvent event) throws Exception {
        var line = recordOf(topic, offset, key, headers);
        if (event == null) {
            line.put("note", "record.value() is null");
            event = KafkaMessageFactory.createReader(headers, null).toEvent();
        }
        line.put("id", event.getId());
        line.put("source", event.getSource().toString());
        line.put("type", event.getType());
        line.put("subject", event.getSubject());
        line.put("time", event.getTime() == null ? null : event.getTime().toString());
        line.put("datacontenttype", event.getDataContentType());
        line.put("dataschema", event.getDataSchema() == null ? null : event.getDataSchema().toString());
        var extensions = new TreeMap<String, Object>();
        for (var name : event.getExtensionNames()) {
            var value = event.getExtension(name);
            extensions.put(name, value instanceof Number || value instanceof Boolean ? value : value.toString());
        }
        line.put("extensions", extensions);
        line.put("data", event.getData() == null ? null : Map.of("bytes", base64(event.getData().toBytes())));
        System.out.println(JSON.writeValueAsString(line));
    }

    private static Map<String, Object> recordOf(String topic, long offset, byte[] key, Headers headers) {
        var plain = new TreeMap<String, String>();
        for (Header header : headers) {
            if (!header.key().equals("content-type") && !header.key().startsWith("ce_")) {
                plain.put(header.key(), new String(header.value(), StandardCharsets.UTF_8));
            }
        }
        var line = new HashMap<String, Object>();
        line.put("topic", topic);
        line.put("offset", offset);
        line.put("key", key == null ? null : base64(key));
        line.put("headers", plain);
        return line;
    }

    private static String base64(byte[] bytes) {
        return Base64.getEncoder().encodeToString(bytes);
    }
}
