"""What an SDK sees otherwise than it was written. Each entry changes the expected event into what that SDK makes of
it, so that the comparison stays exact; `says` is the line of deploy/docs/sdks.md that tells users."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, localcontext


def value(text):
    """JSON as a value whose numbers are exact; of a key that is there twice the last one counts."""
    return canonical(json.loads(text, parse_int=Decimal, parse_float=Decimal, parse_constant=Decimal))


def canonical(parsed):
    if isinstance(parsed, dict):
        return {name: canonical(member) for name, member in parsed.items()}
    if isinstance(parsed, list):
        return [canonical(item) for item in parsed]
    if isinstance(parsed, Decimal) and parsed.is_infinite():
        return "Infinity"
    return parsed


def types(parsed):
    if isinstance(parsed, dict):
        return {name: types(member) for name, member in parsed.items()}
    if isinstance(parsed, (list, tuple)):
        return [types(item) for item in parsed]
    return type(parsed).__name__


@dataclass(frozen=True)
class Difference:
    sdk: str
    modes: tuple
    # "topic/row", or "*" for all rows.
    rows: tuple
    change: Callable
    says: str

    def meets(self, sdk, mode, row):
        return sdk == self.sdk and mode in self.modes and (row in self.rows or "*" in self.rows)


DIFFERENCES = ()
