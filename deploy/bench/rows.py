"""The outbox, its rows, and the slots through which they are read."""

import subprocess
import time

from settings import ROWS
from watch import say

# Like an order: about 362 bytes as text.
NOTE = "repeat('abcdefghij', 14)"
PAYLOAD = f"""jsonb_build_object(
    'orderId', n, 'customer', 'customer-' || n % 50000, 'currency', 'EUR', 'total', (n % 100000) / 100.0,
    'placedAt', '2026-01-01T12:00:00Z', 'note', {NOTE},
    'items', jsonb_build_array(jsonb_build_object('sku', 'A-' || n % 1000, 'quantity', n % 9 + 1),
                               jsonb_build_object('sku', 'B-' || n % 1000, 'quantity', 1)))"""
INSERT = "insert into outbox (aggregatetype, aggregateid, type, payload) "
SELECT = f"select 'order', 'customer-' || n % 10000, 'OrderPlaced', {PAYLOAD} from generate_series("
# With the writer's clock, as late before the COMMIT as a statement can say it.
STAMPED = INSERT + SELECT.replace(PAYLOAD, PAYLOAD.replace(
    "'orderId', n", "'stamp', extract(epoch from clock_timestamp()), 'orderId', n")) + ":n::int, :n::int) n;\n"
# About 5 kB that do not repeat: compression must not hide them.
LARGE = SELECT.replace(NOTE, "(select string_agg(md5((n * 151 + part)::text), '') from generate_series(1, 147) part)")


def make_outbox(servers):
    servers.sql("""create table outbox (id uuid primary key default gen_random_uuid(), aggregatetype text not null,
        aggregateid text not null, type text not null, payload jsonb,
        created_at timestamptz not null default clock_timestamp())""",
                "create publication walpost for table outbox "
                "with (publish = 'insert', publish_via_partition_root = true)")


def make_shards(servers, count):
    """The publications of the shards, as walpost writes them. No drain uses the role that comes with them."""
    setup = [servers.walpost, "setup", "--shards", str(count), "--apply", "--role", "bench"]
    subprocess.run(setup, env={"DATABASE_URL": servers.url()}, check=True, stdout=subprocess.DEVNULL)


def rows_of(shape):
    """How many rows are written: of the large ones a tenth."""
    return ROWS // 10 if shape == "5kB" else ROWS


def write_rows(servers, shape):
    """`shape` is the rows of a transaction; `all`; or `5kB`: larger rows, 100 a transaction."""
    servers.sql("truncate outbox")
    rows = rows_of(shape)
    each = {"all": rows, "5kB": 100}.get(shape) or int(shape)
    begin = time.time()
    servers.sql(f"""do $$ begin
        for start in 1..{rows} by {each} loop
            {INSERT} {LARGE if shape == "5kB" else SELECT}start, least(start + {each - 1}, {rows})) n;
            commit;
        end loop; end $$""")
    length = servers.sql("select round(avg(octet_length(payload::text))) from outbox")
    say(f"{rows} rows, {shape} a transaction, {length} bytes of payload, written in {time.time() - begin:.1f} s")
    return servers.sql("select pg_current_wal_lsn()")


def make_slot(servers, slot):
    servers.sql(f"select pg_create_logical_replication_slot('{slot}', 'pgoutput')")


def drop_slot(servers, slot):
    for _ in range(100):
        try:
            servers.sql("select pg_drop_replication_slot(slot_name) from pg_replication_slots "
                        f"where slot_name = '{slot}'")
            return
        except subprocess.CalledProcessError:
            time.sleep(0.1)
    raise SystemExit(f"slot {slot} is still active")
