CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE DOMAIN document AS jsonb;
CREATE TABLE outbox (
  id uuid PRIMARY KEY, aggregatetype varchar(255), aggregateid text, type text, payload document,
  created_at timestamptz, headers json, partition_key bytea, c char(8), b boolean, i2 smallint, i4 int,
  i8 bigint, n numeric(10,2), d date, t timestamp, m mood, a int[]);
CREATE TABLE other (id int PRIMARY KEY, note text);
CREATE PUBLICATION walpost FOR TABLE outbox, other;
SELECT 1 FROM pg_create_logical_replication_slot('walpost', 'pgoutput');
SELECT 1 FROM pg_create_logical_replication_slot('streamed', 'pgoutput');
INSERT INTO outbox VALUES
  ('6e8bc430-9c3a-11d9-9669-0800200c9a66', 'order', 'ö 42', 'OrderCreated',
   '{"total": 12.30, "id": 9007199254740993}', '2024-05-01 12:00:00.123456+02', '{ "a" : "b" }', '\x00ff', 'ab',
   true, -1, 2, 9007199254740993, 1.10, '2024-05-01', '2024-05-01 10:00:00.5', 'happy', '{1,NULL}'),
  ('6e8bc430-9c3a-11d9-9669-0800200c9a67', 'order', '', 'x', NULL, 'infinity', NULL, '\x', '', false,
   NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
SELECT 1 FROM pg_logical_emit_message(false, 'shop', '{"id": "2"}');
SELECT 1 FROM pg_replication_origin_create('far');
SELECT pg_replication_origin_session_setup('far');
BEGIN;
SELECT pg_replication_origin_xact_setup('0/1234', '2024-05-01 12:00:00+02');
INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload)
  VALUES ('6e8bc430-9c3a-11d9-9669-0800200c9a68', 'order', 'far', 'OrderCreated', '[]');
COMMIT;
SELECT pg_replication_origin_session_reset();
BEGIN;
INSERT INTO other VALUES (1, 'a');
UPDATE other SET note = 'b';
UPDATE other SET id = 2;
DELETE FROM other;
TRUNCATE other;
COMMIT;
ALTER TABLE outbox ADD COLUMN tenant text;
BEGIN;
SELECT 1 FROM pg_logical_emit_message(true, 'shop', json_build_object('id', '6e8bc430-9c3a-11d9-9669-0800200c9a66',
  'aggregatetype', 'order', 'aggregateid', 'ö 42', 'type', 'OrderCreated',
  'payload', '{"total": 12.30, "id": 9007199254740993}'::json)::text);
SAVEPOINT doomed;
INSERT INTO outbox (id, aggregatetype, aggregateid, type) VALUES (gen_random_uuid(), 'order', 'never', 'x');
ROLLBACK TO SAVEPOINT doomed;
INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload, tenant)
  VALUES ('6e8bc430-9c3a-11d9-9669-0800200c9a69', 'order', 'k', 'OrderCreated', '"\u00e9"', 'north');
COMMIT;
SELECT 1 FROM pg_logical_emit_message(true, 'shop', 'the end');
