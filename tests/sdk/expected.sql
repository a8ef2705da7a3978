-- What every event has to be, from its row alone: one JSON object a row, by table, in the order of commits.
set timezone = 'UTC';

create function pg_temp.rfc3339(at timestamptz) returns text language sql as
    $$ select to_char(at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') $$;

select json_build_object(
    'topic', 'plain', 'row', type,
    'key', encode(convert_to(aggregateid, 'UTF8'), 'hex'),
    'headers', '{}'::json,
    'id', id, 'source', '/shop/public/outbox', 'type', type, 'subject', nullif(aggregateid, ''),
    'time', pg_temp.rfc3339(pg_xact_commit_timestamp(xmin)),
    'datacontenttype', case when payload is not null then 'application/json' end, 'dataschema', null,
    'extensions', '{}'::json,
    'data', encode(convert_to(payload::text, 'UTF8'), 'hex'))
from outbox order by pg_xact_commit_timestamp(xmin);

select json_build_object(
    'topic', 'own', 'row', type,
    'key', encode(convert_to(aggregate_id, 'UTF8'), 'hex'),
    'headers', '{}'::json,
    'id', id::text, 'source', '/shop/public/outbox_own', 'type', type, 'subject', aggregate_id,
    'time', pg_temp.rfc3339(coalesce(created_at at time zone 'UTC', pg_xact_commit_timestamp(xmin))),
    'datacontenttype', 'application/json', 'dataschema', null,
    'extensions', '{}'::json,
    'data', encode(convert_to(payload::text, 'UTF8'), 'hex'))
from outbox_own order by id;

\set columns 'n, coalesce(occurred_at, pg_xact_commit_timestamp(xmin)) as time, id, event_type, content_type, dataschema, source, subject, partition_key, traceparent, tracestate, correlation_id, causation_id, tenant_id, headers, flag, small, whole, large, price, at, raw, note'

select json_build_object(
    'topic', name, 'row', id,
    'key', encode(coalesce(convert_to(partition_key, 'UTF8'), aggregate), 'hex'),
    'headers', json_strip_nulls(json_build_object(
        'traceparent', traceparent, 'tracestate', tracestate,
        'x-text', headers->>'x-text', 'x-number', headers->>'x-number', 'x-object', headers->>'x-object')),
    'id', id, 'source', coalesce(source, '/shop/public/outbox_' || name), 'type', event_type,
    'subject', coalesce(subject, printed),
    'time', pg_temp.rfc3339(time),
    'datacontenttype', case when payload is not null then coalesce(content_type, usual) end,
    'dataschema', dataschema,
    'extensions', json_strip_nulls(json_build_object(
        'partitionkey', partition_key, 'traceparent', traceparent, 'tracestate', tracestate,
        'correlationid', correlation_id, 'causationid', causation_id, 'tenantid', tenant_id,
        'flag', flag, 'small', small, 'whole', whole,
        -- CloudEvents' Integer has 32 bits: what may be larger is a string.
        'large', large::text, 'price', price::text, 'at', pg_temp.rfc3339(at), 'raw', encode(raw, 'base64'), 'note', note)),
    'data', encode(payload, 'hex'))
from (
    select :columns, 'json' as name, convert_to(aggregate_id, 'UTF8') as aggregate, aggregate_id as printed,
        'application/json' as usual, convert_to(data::text, 'UTF8') as payload from outbox_json
    union all select :columns, 'text', convert_to(aggregate_id, 'UTF8'), aggregate_id,
        'application/json', convert_to(data, 'UTF8') from outbox_text
    union all select :columns, 'bytes', aggregate_id, encode(aggregate_id, 'hex'),
        'application/octet-stream', data from outbox_bytes
) rows order by name, n;
