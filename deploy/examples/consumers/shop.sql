-- The shop: it writes an order and tells of it in one transaction. walpost turns each row into an event.
create table outbox (
    id uuid primary key default gen_random_uuid(),
    aggregatetype text not null,
    aggregateid text not null,
    type text not null,
    payload jsonb not null,
    -- The request that all of this is done for; it goes from service to service.
    correlation_id text,
    created_at timestamptz not null default clock_timestamp()
);

create procedure place_order(number bigint, sku text, quantity integer, request text) language sql as $$
    insert into outbox (aggregatetype, aggregateid, type, payload, correlation_id) values
        ('order', number::text, 'OrderPlaced', jsonb_build_object('order', number, 'sku', sku, 'quantity', quantity), request);
$$;
