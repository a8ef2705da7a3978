-- The inventory: a database of its own, which each of the five programs follows orders with.
create table stock (
    sku text primary key,
    quantity integer not null check (quantity >= 0)
);

-- What was handled. An event is known by its source and id together: two sources may use the same id.
create table inbox (
    source text not null,
    id text not null,
    handled_at timestamptz not null default now(),
    primary key (source, id)
);
-- For deleting what is old.
create index on inbox (handled_at);

-- What the inventory tells others, by a walpost of its own.
create table outbox (
    id uuid primary key default gen_random_uuid(),
    aggregatetype text not null,
    aggregateid text not null,
    type text not null,
    payload jsonb not null,
    correlation_id text not null,
    causation_id text not null,
    created_at timestamptz not null default clock_timestamp()
);

-- A consumer that waits for a lock does not ask Kafka for records, and Kafka would give its partitions to
-- another. So a statement ends after a while; the consumer says that it lives, and tries again.
do $$ begin
    execute format('alter database %I set statement_timeout = %L', current_database(), '3s');
end $$;

insert into stock values ('apple', 1000000), ('pear', 1000000), ('plum', 1000000);
