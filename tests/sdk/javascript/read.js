// Reads COUNT records of TOPIC by kafkajs and the CloudEvents SDK for JavaScript; one JSON line each.
const { Kafka: Binding } = require("cloudevents");
const { Kafka, logLevel } = require("kafkajs");

const [bootstrap, topic, count] = process.argv.slice(2);

// kafkajs hands every header value over as a Buffer, and the SDK calls .startsWith() on it.
const decoded = (headers) =>
  Object.fromEntries(Object.entries(headers ?? {}).map(([name, value]) => [name, value.toString("utf8")]));

const show = ({ key, value, headers }) => {
  try {
    const event = Binding.toEvent({ key, value, headers: decoded(headers) });
    event.validate();
    const { data, data_base64, ...attributes } = event.toJSON();
    const shown = Object.fromEntries(Object.entries(attributes).map(([name, v]) => [name, String(v)]));
    if (Buffer.isBuffer(data) || data instanceof Uint8Array) {
      return { attributes: shown, base64: Buffer.from(data).toString("base64") };
    }
    return data_base64 ? { attributes: shown, base64: data_base64 } : { attributes: shown, json: data ?? null };
  } catch (error) {
    return { key: key ? key.toString() : "", error: `${error.name}: ${error.message}` };
  }
};

(async () => {
  const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.ERROR });
  const consumer = kafka.consumer({ groupId: `javascript-${topic}` });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const timer = setTimeout(() => { console.error("no record within 60 s"); process.exit(1); }, 60000);
  let read = 0;
  await consumer.run({
    eachMessage: async ({ message }) => {
      if (read >= Number(count)) return;
      console.log(JSON.stringify(show(message)));
      read += 1;
      if (read === Number(count)) {
        clearTimeout(timer);
        setImmediate(async () => { await consumer.disconnect(); process.exit(0); });
      }
    },
  });
})();
