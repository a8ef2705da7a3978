CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE DOMAIN document AS jsonb;
CREATE DOMAIN small_document AS document;
CREATE TABLE outbox (
  id uuid PRIMARY KEY, aggregatetype varchar(255), aggregateid text, type text,
  payload small_document, created_at timestamptz, headers json, partition_key bytea,
  c char(8), b boolean, i2 smallint, i4 int, i8 bigint, n numeric(10,2), d date, t timestamp,
  m mood, a int[]);
CREATE TABLE other (id int PRIMARY KEY, note text);
CREATE PUBLICATION p FOR TABLE outbox, other;
SELECT 1 FROM pg_create_logical_replication_slot('s', 'pgoutput');
INSERT INTO outbox VALUES ('6e8bc430-9c3a-11d9-9669-0800200c9a66', 'order', 'ö 42', 'OrderCreated',
  '{"total": 12.30, "id": 9007199254740993}', '2024-05-01 12:00:00.123456+02', '{ "a" : "b" }', '\x00ff',
  'ab', true, -1, 2, 9007199254740993, 1.10, '2024-05-01', '2024-05-01 10:00:00.5', 'happy', '{1,NULL}'),
  ('6e8bc430-9c3a-11d9-9669-0800200c9a67', 'order', '', 'x', NULL, 'infinity', NULL, '\x', '', false,
  NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
BEGIN;
SELECT 1 FROM pg_logical_emit_message(true, 'walpost', '{"id":"1"}');
INSERT INTO other VALUES (1, 'a');
UPDATE other SET note = 'b';
UPDATE other SET id = 2;
DELETE FROM other;
TRUNCATE other;
COMMIT;
