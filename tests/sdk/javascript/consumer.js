import { Kafka as CloudEvents } from "cloudevents";
import kafkajs from "kafkajs";
import lz4 from "lz4js";

// kafkajs brings gzip alone, and walpost compresses by LZ4.
kafkajs.CompressionCodecs[kafkajs.CompressionTypes.LZ4] = () => ({
  compress: async (encoder) => Buffer.from(lz4.compress(encoder.buffer)),
  decompress: async (buffer) => Buffer.from(lz4.decompress(buffer)),
});

const consumer = new kafkajs.Kafka({ brokers: [process.env.KAFKA] }).consumer({ groupId: "shop-javascript" });
await consumer.connect();
await consumer.subscribe({ topic: process.env.TOPIC, fromBeginning: true });
await consumer.run({
  eachMessage: async ({ message }) => {
    // The SDK wants strings where kafkajs has Buffers, and refuses a null value (a tombstone).
    const headers = Object.fromEntries(Object.entries(message.headers).map(([name, value]) => [name, value.toString()]));
    const event = CloudEvents.toEvent({ ...message, headers, value: message.value ?? Buffer.alloc(0) });
    console.log(event.id, event.type, event.data);
  },
});
