// An inventory that follows the orders of a shop; ../README.md explains each step.
import { setTimeout as sleep } from "node:timers/promises";
import { Kafka as Binding } from "cloudevents";
import kafkajs from "kafkajs";
import lz4 from "lz4js";
import pg from "pg";

const { KAFKA, DATABASE_URL } = process.env;
const TOPIC = process.env.TOPIC ?? "outbox.event.order";
const GROUP = process.env.GROUP ?? "inventory";
const DEAD_LETTERS = process.env.DEAD_LETTERS ?? "inventory.dead-letters";

// Trying again cannot help: the event itself is wrong.
class Permanent extends Error {}

function decode({ value, headers }) {
  // The SDK wants strings; headers of others may be anything.
  const own = Object.entries(headers ?? {}).filter(([name]) => name === "content-type" || name.startsWith("ce_"));
  try {
    const text = Object.fromEntries(own.map(([name, value]) => [name, value.toString()]));
    const event = Binding.toEvent({ value, headers: text });
    // For an event without an id the SDK makes one up, and another one when the event comes again.
    const structured = text["content-type"]?.startsWith("application/cloudevents");
    if (event.id !== (structured ? JSON.parse(value).id : text.ce_id)) throw new Error("it has no id");
    event.validate();
    return event;
  } catch (error) {
    throw new Permanent(`not a CloudEvent: ${error.message}`);
  }
}

async function handle(event) {
  if (event.type !== "OrderPlaced") return; // not ours
  const { order, sku, quantity } = event.data ?? {};
  if (!Number.isSafeInteger(order) || typeof sku !== "string" || !Number.isSafeInteger(quantity) || quantity <= 0) {
    throw new Permanent("the data is not an order");
  }
  await transaction(async (database) => {
    const first = await database.query(
      "insert into inbox (source, id) values ($1, $2) on conflict do nothing",
      [event.source, event.id],
    );
    if (first.rowCount === 0) return; // a repeat: its effect is there already
    const changed = await database.query("update stock set quantity = quantity - $1 where sku = $2", [quantity, sku]);
    if (changed.rowCount === 0) throw new Permanent(`unknown sku ${sku}`);
    await database.query(
      `insert into outbox (aggregatetype, aggregateid, type, payload, correlation_id, causation_id)
       values ('stock', $1, 'StockReserved', $2, $3, $4)`,
      [sku, { order, sku, quantity }, event.correlationid ?? event.id, event.id],
    );
  });
}

const pool = new pg.Pool({ connectionString: DATABASE_URL, connectionTimeoutMillis: 5_000, query_timeout: 5_000 });
// Of a connection that breaks between two statements, in use or not. Without these the program ends.
pool.on("error", (error) => console.error(error.message));
pool.on("connect", (database) => database.on("error", (error) => console.error(error.message)));

async function transaction(work) {
  const database = await pool.connect();
  let broken;
  try {
    await database.query("begin");
    await work(database);
    await database.query("commit");
  } catch (error) {
    await database.query("rollback").catch((failed) => { broken = failed; });
    // SQLSTATE 22… and 23…: the values are wrong.
    if (/^2[23]/.test(error.code)) throw new Permanent(`${error.code}: ${error.message}`);
    throw error;
  } finally {
    database.release(broken);
  }
}

// Sends the record as it is to the dead letters, and returns when Kafka has it.
async function bury({ topic, partition, message }, reason) {
  const headers = {
    // kafkajs writes no null header: it becomes an empty one.
    ...Object.fromEntries(Object.entries(message.headers ?? {}).map(([name, value]) => [name, value ?? ""])),
    "dlq-reason": reason.message,
    "dlq-topic": topic,
    "dlq-partition": String(partition),
    "dlq-offset": message.offset,
    "dlq-timestamp": message.timestamp,
    "dlq-group": GROUP,
  };
  await producer.send({ topic: DEAD_LETTERS, acks: -1, messages: [{ key: message.key, value: message.value, headers }] });
  console.error(`dead letter: ${topic}/${partition}@${message.offset}: ${reason.message}`);
}

async function settle(record) {
  const { topic, partition, message, heartbeat } = record;
  for (let delay = 100; ; delay = Math.min(delay * 2, 10_000)) {
    try {
      try {
        return await handle(decode(message));
      } catch (error) {
        if (!(error instanceof Permanent)) throw error;
        return await bury(record, error);
      }
    } catch (error) {
      console.error(`again in ${delay / 1000} s: ${topic}/${partition}@${message.offset}: ${error.message}`);
    }
    for (let left = delay * (0.5 + Math.random() / 2); left > 0; left -= 1_000) {
      await sleep(Math.min(left, 1_000));
      // Throws when the partition is no longer ours: its next owner reads the record again.
      await heartbeat();
    }
  }
}

// kafkajs brings gzip alone, and walpost compresses by LZ4.
kafkajs.CompressionCodecs[kafkajs.CompressionTypes.LZ4] = () => ({
  compress: async (encoder) => Buffer.from(lz4.compress(encoder.buffer)),
  decompress: async (buffer) => Buffer.from(lz4.decompress(buffer)),
});
const kafka = new kafkajs.Kafka({ brokers: KAFKA.split(","), logLevel: kafkajs.logLevel.ERROR });
const producer = kafka.producer();
const consumer = kafka.consumer({ groupId: GROUP, sessionTimeout: 10_000 });
// What kafkajs does not mend by itself ends the program, which is for its supervisor to start again.
consumer.on(consumer.events.CRASH, ({ payload }) => payload.restart || process.exit(1));

for (const signal of ["SIGTERM", "SIGINT"]) {
  process.once(signal, async () => {
    // A record that waits does not end: it is read again. What is done is committed before leaving.
    await Promise.race([consumer.disconnect(), sleep(5_000)]);
    process.exit(0);
  });
}
await producer.connect();
await consumer.connect();
await consumer.subscribe({ topic: TOPIC, fromBeginning: true });
// An offset is committed, each second, when `settle` has returned: when the transaction is committed, or the
// letter is in Kafka.
await consumer.run({ autoCommitInterval: 1_000, partitionsConsumedConcurrently: 3, eachMessage: settle });
