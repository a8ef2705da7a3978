-- Debezium's outbox table, as its documentation has it: no setting, no time column.
create table outbox (
    id uuid primary key,
    aggregatetype varchar(255) not null,
    aggregateid varchar(255) not null,
    type varchar(255) not null,
    payload jsonb
);

-- A table as one writes it oneself: only the topic has to be told.
create table outbox_own (
    id bigint generated always as identity,
    aggregate_id text not null,
    type text not null,
    payload json not null,
    created_at timestamp default now()
);

-- Every role that walpost knows, and an extension of every type; once for each type of payload.
create table outbox_json (
    n bigint generated always as identity,
    id text not null,
    aggregate_type text not null,
    aggregate_id text,
    event_type text not null,
    occurred_at timestamptz,
    data json,
    content_type text,
    dataschema text,
    source text,
    subject text,
    partition_key text,
    traceparent text,
    tracestate text,
    correlation_id text,
    causation_id text,
    tenant_id text,
    headers jsonb,
    schema_version int,
    flag boolean,
    small smallint,
    whole int,
    large bigint,
    price numeric,
    at timestamptz,
    raw bytea,
    note text
);
create table outbox_text (like outbox_json including identity);
alter table outbox_text alter data type text;
create table outbox_bytes (like outbox_json including identity);
-- Its key is made of bytes too.
alter table outbox_bytes alter data type bytea using null, alter aggregate_id type bytea using null;
