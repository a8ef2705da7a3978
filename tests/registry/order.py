"""The order of src/registry/avro/recorded/order.json as Python has it."""
import datetime
import uuid
from decimal import Decimal


def order(following):
    utc = datetime.timezone.utc
    return {
        "id": 9007199254740993, "small": -2147483648, "total": Decimal("12.30"), "fee": Decimal("-1.005"), "name": "g\u00fcrn",
        "at": datetime.datetime(2024, 5, 1, 10, 0, 0, 123456, tzinfo=utc),
        "ms": datetime.datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=utc),
        "local": datetime.datetime(2024, 5, 1, 10, 0, 0, 123456), "day": datetime.date(2024, 5, 1),
        "hour": datetime.time(10, 0, 0, 5000), "key": uuid.UUID("0189791762231041b3b8f63fbb9dd6f1"), "raw": b"\x00\xff",
        "state": "PAID", "tags": ["a", "b"], "extra": {"n": 1, "f": 1.5, "b": True, "s": "x"}, "next": following,
        "ratio": 0.1, "part": 0.1, "ok": True, "defaulted": Decimal("-2.56"),
    }
