-- A message that is not transactional is flushed with what comes after it.
CREATE PUBLICATION p WITH (publish = 'insert', publish_via_partition_root = true);
SELECT 1 FROM pg_create_logical_replication_slot('s', 'pgoutput');
SELECT 1 FROM pg_logical_emit_message(true, 'shop', json_build_object('id', '6e8bc430-9c3a-11d9-9669-0800200c9a66',
  'aggregatetype', 'order', 'aggregateid', 'ö 42', 'type', 'OrderCreated',
  'payload', '{"total": 12.30, "id": 9007199254740993}'::json)::text);
SELECT 1 FROM pg_logical_emit_message(false, 'shop', '{"id":"2"}');
BEGIN;
SELECT 1 FROM pg_logical_emit_message(true, 'shop', '');
SAVEPOINT doomed;
SELECT 1 FROM pg_logical_emit_message(true, 'shop', '{"id":"never"}');
ROLLBACK TO SAVEPOINT doomed;
SAVEPOINT kept;
SELECT 1 FROM pg_logical_emit_message(true, 'shop''s "ö"', '\x00ff'::bytea);
COMMIT;
BEGIN;
SELECT 1 FROM pg_logical_emit_message(true, 'shop', '{"id":"never"}');
SELECT 1 FROM pg_logical_emit_message(false, 'shop', '{"id":"3"}');
ROLLBACK;
