-- A shop: its own table, and the outbox with the columns Debezium's documentation proposes.
create table orders (
    id bigint generated always as identity primary key,
    customer text not null,
    total numeric(10, 2) not null,
    status text not null
);

create table outbox (
    id uuid primary key default gen_random_uuid(),
    aggregatetype text not null,
    aggregateid text not null,
    type text not null,
    payload jsonb not null,
    -- Not needed: without it an event carries the time of its commit.
    created_at timestamptz not null default clock_timestamp()
);

-- What an application does: the change and the event that tells of it, in one transaction.
create procedure place_order(customer text, total numeric) language plpgsql as $$
declare
    placed orders;
begin
    insert into orders (customer, total, status) values (customer, total, 'placed') returning * into placed;
    insert into outbox (aggregatetype, aggregateid, type, payload)
        values ('order', placed.id::text, 'OrderPlaced', to_jsonb(placed));
end $$;

create procedure move_order(number bigint, new_status text) language plpgsql as $$
declare
    moved orders;
begin
    update orders set status = new_status where id = number returning * into moved;
    if found then
        insert into outbox (aggregatetype, aggregateid, type, payload)
            values ('order', moved.id::text, 'Order' || initcap(new_status), to_jsonb(moved));
    end if;
end $$;
