-- The rows whose events the SDKs read. Each is a transaction of its own, so that the n-th row is the
-- n-th record of its topic. Run after walpost follows the tables.

insert into outbox (id, aggregatetype, aggregateid, type, payload) values
    ('6b1f0a52-5f0e-4d0a-9f38-000000000001', 'plain', '42', 'order placed', '{"total": 12.30, "lines": [1, 2]}');
insert into outbox values ('6b1f0a52-5f0e-4d0a-9f38-000000000002', 'plain', 'Zoë/42 %', 'unicode', '{"naïve": "日本語 🦀"}');
insert into outbox values ('6b1f0a52-5f0e-4d0a-9f38-000000000003', 'plain', '', 'empty aggregate id', 'true');
insert into outbox values ('6b1f0a52-5f0e-4d0a-9f38-000000000004', 'plain', '42', 'numbers',
    '{"int": 9007199254740993, "big": 12345678901234567890123, "cents": 1.10, "pi": 3.14159265358979323846264338}');
insert into outbox values ('6b1f0a52-5f0e-4d0a-9f38-000000000005', 'plain', '42', 'tombstone', null);
insert into outbox values ('6b1f0a52-5f0e-4d0a-9f38-000000000006', 'plain', '42', 'json null', 'null');

insert into outbox_own (aggregate_id, type, payload, created_at) values ('order-1', 'order.placed', '{"total": "12.30"}', '2026-11-21 10:00:00.123456');
insert into outbox_own (aggregate_id, type, payload) values ('order-1', 'order.paid', '{}');
insert into outbox_own (aggregate_id, type, payload, created_at) values ('order-2', 'without a time', '{}', null);
-- Long enough to be worth compressing.
insert into outbox_own (aggregate_id, type, payload) values ('order-2', 'compressed', to_json(repeat('walpost ', 1000)));

-- outbox_json: the payload is the text that was inserted.
insert into outbox_json (id, aggregate_type, aggregate_id, event_type, data) values ('least', 'json', null, 'least', '{"a":1}');
insert into outbox_json (id, aggregate_type, aggregate_id, event_type, occurred_at, data, content_type, dataschema,
    source, subject, partition_key, traceparent, tracestate, correlation_id, causation_id, tenant_id, headers, schema_version,
    flag, small, whole, large, price, at, raw, note)
values ('every role', 'json', 'order-1', 'com.example.order.placed', '2024-02-29 23:59:59.987654+05:30', '{"a":1}',
    'application/json', 'https://schemas.example.com/order/v1.json#top', 'https://shop.example.com/orders?x=%20', 'orders/ä/1',
    'Kunde-7', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', 'rojo=00f067aa0ba902b7', 'c-1', 'c-0', 'tenant é',
    '{"x-text": "Grüße", "x-number": 1.50, "x-object": {"k": [true, null]}, "x-null": null, "ce_id": "forged"}', 3,
    true, -32768, 2147483647, 9223372036854775807, 12.30, '1999-12-31 23:59:59.000001+00', '\x00ff10', 'quote " backslash \ tab-free');
insert into outbox_json (id, aggregate_type, aggregate_id, event_type, data, flag, small, whole, note)
    values ('extension values', 'json', 'k', 't', '[]', false, 0, -2147483648, '{"json": "in a string"}');
insert into outbox_json (id, aggregate_type, aggregate_id, event_type, occurred_at, data)
    values ('whole second', 'json', 'k', 't', '2024-05-01 10:00:00+00', '{}');
insert into outbox_json (id, aggregate_type, aggregate_id, event_type, data) values ('outer white space', 'json', 'k', 't', E'\n \t{"a" : 1 , "b":[ ]}  \n');
insert into outbox_json (id, aggregate_type, aggregate_id, event_type, data) values ('duplicate keys', 'json', 'k', 't', '{"a":1,"b":0,"a":2}');
insert into outbox_json (id, aggregate_type, aggregate_id, event_type, data) values ('key order', 'json', 'k', 't', '{"z":1,"10":2,"a":3,"2":4}');
insert into outbox_json (id, aggregate_type, aggregate_id, event_type, data) values ('numbers', 'json', 'k', 't',
    '{"int":9007199254740993,"big":12345678901234567890123,"cents":1.10,"pi":3.14159265358979323846264338,"exp":1E+2,"zero":-0.0}');
insert into outbox_json (id, aggregate_type, aggregate_id, event_type, data) values ('beyond a double', 'json', 'k', 't', '{"n":1e400}');
insert into outbox_json (id, aggregate_type, aggregate_id, event_type, data) values ('nested 200', 'json', 'k', 't', (repeat('[', 200) || repeat(']', 200))::json);
insert into outbox_json (id, aggregate_type, aggregate_id, event_type, data) values ('70 kB', 'json', 'k', 't', (select json_agg(md5(n::text)) from generate_series(1, 2000) n));
insert into outbox_json (id, aggregate_type, aggregate_id, event_type, data) values ('unicode', 'json', 'k', 't', '{"é":"日本語 🦀 \u00e9 \ud83e\udd80 \u2028 \/ \u0041\u0000"}');
insert into outbox_json (id, aggregate_type, aggregate_id, event_type, data) values ('lone surrogate', 'json', 'k', 't', '"\ud800"');
insert into outbox_json (id, aggregate_type, aggregate_id, event_type, data) values ('string', 'json', 'k', 't', '"1,\"source\":\"/evil\""');
insert into outbox_json (id, aggregate_type, aggregate_id, event_type, data) values ('number', 'json', 'k', 't', '42');
insert into outbox_json (id, aggregate_type, aggregate_id, event_type, data) values ('json null', 'json', 'k', 't', 'null');
insert into outbox_json (id, aggregate_type, aggregate_id, event_type, data) values ('NULL', 'json', 'k', 't', null);
insert into outbox_json (id, aggregate_type, aggregate_id, event_type, data, content_type) values ('vendor type', 'json', 'k', 't', '{"cents":1.10}', 'application/vnd.example.order.v1+json');
insert into outbox_json (id, aggregate_type, aggregate_id, event_type, data, content_type) values ('type with charset', 'json', 'k', 't', '{"cents":1.10}', 'application/json; charset=utf-8');

insert into outbox_json (id, aggregate_type, aggregate_id, event_type, data, content_type) values ('plus json', 'json', 'k', 't', '{"cents":1.10}', 'application/order+json');

-- outbox_text
insert into outbox_text (id, aggregate_type, aggregate_id, event_type, data) values ('json in text', 'text', 'k', 't', ' {"cents":1.10} ');
insert into outbox_text (id, aggregate_type, aggregate_id, event_type, data, content_type) values ('plain text', 'text', 'k', 't', E'Grüße,\n"🦀" \\ \t\u0001', 'text/plain');
insert into outbox_text (id, aggregate_type, aggregate_id, event_type, data, content_type) values ('text like json', 'text', 'k', 't', '{"cents":1.10}', 'text/plain; charset=utf-8');
insert into outbox_text (id, aggregate_type, aggregate_id, event_type, data, content_type) values ('empty text', 'text', 'k', 't', '', 'text/plain');
insert into outbox_text (id, aggregate_type, aggregate_id, event_type, data, content_type) values ('xml', 'text', 'k', 't', '<a b="c">ü</a>', 'application/xml');
insert into outbox_text (id, aggregate_type, aggregate_id, event_type, data, content_type) values ('NULL', 'text', 'k', 't', null, 'text/plain');

-- outbox_bytes: its key is a bytea, too.
insert into outbox_bytes (id, aggregate_type, aggregate_id, event_type, data) values ('bytes', 'bytes', 'k', 't', '\x00ff80fe0a');
insert into outbox_bytes (id, aggregate_type, aggregate_id, event_type, data) values ('bytes like text', 'bytes', 'k', 't', '\x68656c6c6f');
insert into outbox_bytes (id, aggregate_type, aggregate_id, event_type, data) values ('no bytes', 'bytes', 'k', 't', '\x');
insert into outbox_bytes (id, aggregate_type, aggregate_id, event_type, data, content_type) values ('avro', 'bytes', 'k', 't', '\x00000000010280', 'application/avro');
insert into outbox_bytes (id, aggregate_type, aggregate_id, event_type, data, content_type) values ('json in bytes', 'bytes', 'k', 't', '{"cents": 1.10}'::bytea, 'application/json');
insert into outbox_bytes (id, aggregate_type, aggregate_id, event_type, data) values ('NULL', 'bytes', 'k', 't', null);
insert into outbox_bytes (id, aggregate_type, aggregate_id, event_type, data) values ('key of bytes', 'bytes', '\xff00', 't', '\x01');
