// Reads records with kafkajs, decodes each with the CloudEvents SDK for JavaScript, and prints what it
// sees, one JSON object a line: node reader.js BOOTSTRAP COUNT TOPIC…
import { Kafka as Binding } from "cloudevents";
import kafkajs from "kafkajs";
import lz4 from "lz4js";

const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = kafkajs;

// kafkajs brings gzip alone; without this it ends at the first batch that walpost has compressed.
if (!process.env.SDK_WITHOUT_LZ4) {
  CompressionCodecs[CompressionTypes.LZ4] = () => ({
    compress: async (encoder) => Buffer.from(lz4.compress(encoder.buffer)),
    decompress: async (buffer) => Buffer.from(lz4.decompress(buffer)),
  });
}

const ATTRIBUTES = ["id", "source", "type", "subject", "time", "datacontenttype", "dataschema"];

// As docs/sdks.md shows it. kafkajs hands header values over as Buffers, the SDK wants strings.
const text = (headers) => Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, value.toString()]));
const eventOf = (message) => Binding.toEvent({ ...message, headers: text(message.headers) });

// JSON has no infinity; a number that became one is told by its name.
const finite = (_, value) => (typeof value === "number" && !Number.isFinite(value) ? String(value) : value);

function dataOf({ data }) {
  if (data === undefined || data === null) return null;
  if (Buffer.isBuffer(data) || data instanceof Uint8Array) return { bytes: Buffer.from(data).toString("base64") };
  if (typeof data === "string") return { text: data };
  return { json: JSON.stringify(data, finite) };
}

function seen(message) {
  const event = eventOf(message);
  event.validate();
  const { specversion, data, data_base64, ...attributes } = event;
  const line = {};
  for (const name of ATTRIBUTES) {
    line[name] = attributes[name] ?? null;
    delete attributes[name];
  }
  for (const [name, value] of Object.entries(attributes)) {
    if (Buffer.isBuffer(value)) attributes[name] = value.toString();
  }
  return { ...line, extensions: attributes, data: dataOf(event) };
}

function recordOf(topic, message) {
  const plain = Object.entries(text(message.headers)).filter(([name]) => name !== "content-type" && !name.startsWith("ce_"));
  const key = message.key?.toString("base64") ?? null;
  return { topic, offset: Number(message.offset), key, headers: Object.fromEntries(plain) };
}

const [bootstrap, count, ...topics] = process.argv.slice(2);
const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.NOTHING });
// A group of its own each time: kafkajs has no reading without one.
const consumer = kafka.consumer({ groupId: `sdk-javascript-${process.pid}-${Date.now()}` });
consumer.on(consumer.events.CRASH, ({ payload }) => { console.error(payload.error.message); process.exit(1); });
await consumer.connect();
await consumer.subscribe({ topics, fromBeginning: true });
let left = Number(count);
const silence = setTimeout(() => { console.error("not all records within 60 s"); process.exit(1); }, 60_000);
await new Promise((done) => consumer.run({
  eachMessage: async ({ topic, message }) => {
    let line;
    try {
      line = seen(message);
    } catch (error) {
      line = { error: `${error.name}: ${error.message}` };
    }
    console.log(JSON.stringify({ ...recordOf(topic, message), ...line }));
    if (--left === 0) done();
  },
}));
clearTimeout(silence);
await consumer.disconnect();
