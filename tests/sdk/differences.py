"""What an SDK sees otherwise than it was written.

Each entry changes the expected event into what that SDK makes of it, so that the comparison stays exact. An event that
several entries meet is changed by each, in the order of the table. `says` stands in deploy/docs/sdks.md, word by word.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase


def value(text):
    """JSON as a value whose numbers are exact; of a key that is there twice the last one counts."""
    parsed = json.loads(text, parse_int=Decimal, parse_float=Decimal, parse_constant=Decimal)
    # JSON has no word for it; the readers print this one.
    return numbers(parsed, lambda number: "Infinity" if number.is_infinite() else number)


def numbers(parsed, change):
    if isinstance(parsed, dict):
        return {name: numbers(member, change) for name, member in parsed.items()}
    if isinstance(parsed, list):
        return [numbers(item, change) for item in parsed]
    return change(parsed) if isinstance(parsed, Decimal) else parsed


def is_whole(number):
    return number.as_tuple().exponent >= 0 and not re.search("[eE]", str(number))


def double(number):
    rounded = float(number)
    return "Infinity" if rounded == float("inf") else Decimal(repr(rounded))


@dataclass(frozen=True)
class Difference:
    sdk: str
    # `binary`, `structured` or `*`, then patterns of topic and row; several separated by a comma.
    where: str
    change: Callable
    says: str

    def meets(self, sdk, mode, row):
        place = f"{mode}/{row}"
        return sdk == self.sdk and any(fnmatchcase(place, pattern) for pattern in self.where.split(", "))


def data(change, *kinds):
    """Changes the data, if there is any of one of these kinds (`expectation` in compare.py)."""

    def changed(event):
        if event["data"] is None or event["data"][0] not in kinds:
            return event
        return event | {"data": change(event["data"][1])}

    return changed


def of_json(change):
    """As `data`, for a JSON media type alone."""

    def changed(event):
        is_json = re.match(r"application/([^;]*\+)?json", event["datacontenttype"] or "")
        return data(change, "bytes")(event) if is_json else event

    return changed


def handed(parsed):
    """A parsed value as a reader prints it: a string is told as any text is."""
    return ("text" if isinstance(parsed, str) else "value", parsed)


def parsed(content):
    return handed(value(content.decode()))


def printed(content):
    return ("printed", value(content.decode()))


def text(content):
    return ("text", content.decode())


def no_data_if_empty(content):
    return ("bytes", content) if content else None


def text_if_utf8(content):
    try:
        return text(content)
    except UnicodeDecodeError:
        return ("bytes", content)


def in_value(change):
    """Changes the numbers in JSON data that was parsed, or parsed and printed."""

    def changed(event):
        if event["data"] is None or event["data"][0] not in ("value", "printed"):
            return event
        kind, content = event["data"]
        return event | {"data": (kind, numbers(content, change))}

    return changed


def null_is_none(event):
    return event | {"data": None} if event["data"] == ("value", None) else event


def extension(name, of):
    return lambda event: event | {"extensions": event["extensions"] | {name: of(event)}}


def key_text(event):
    return None if event["key"] is None else event["key"].decode(errors="replace")


def key_as_partitionkey(event):
    return event if event["key"] is None else extension("partitionkey", key_text)(event)


def error(begin):
    return lambda event: event | {"error": begin}


JSON_OF_BYTES = "structured/bytes/*"

DIFFERENCES = (
    # Python
    Difference("python", "binary/*, structured/plain/*, structured/own/*, structured/json/*, structured/text/*", of_json(parsed),
               "JSON data is a parsed value: of two equal keys the last one stays, white space is gone."),
    Difference("python", "*", in_value(lambda number: number if is_whole(number) else double(number)),
               "A number with a fraction or an exponent is a `float` (`1e400` is infinite); integers are exact."),
    Difference("python", "*", null_is_none,
               "JSON `null` and no data (a NULL payload) are both `None`."),
    Difference("python", "binary/*", data(no_data_if_empty, "bytes"),
               "Empty data is `None` in binary mode."),
    Difference("python", "binary/*, structured/text/*", data(text_if_utf8, "bytes"),
               "In binary mode data that happens to be UTF-8 is a `str`, `bytes` otherwise, whatever its content type."),
    Difference("python", "*", key_as_partitionkey,
               "The record key becomes the extension `partitionkey`."),
    Difference("python", "*/bytes/key of bytes", error("UnicodeDecodeError: "),
               "A key that is not UTF-8 (a `bytea` column) cannot be read: pass `None` for the key."),
    # JavaScript
    Difference("javascript", "*", lambda event: event | {"time": event["time"] // 1000 * 1000},
               "`time` is cut to milliseconds."),
    Difference("javascript", "structured/plain/*, structured/own/*, structured/json/*, structured/text/*", of_json(parsed),
               "JSON data is a parsed value: of two equal keys the last one stays, white space is gone."),
    Difference("javascript", "binary/*", lambda event: event if "+" in (event["datacontenttype"] or "") else of_json(parsed)(event),
               "In binary mode only `application/json` is parsed: JSON of another media type (`…+json`) is a `Buffer`."),
    Difference("javascript", "*", in_value(double),
               "Numbers are doubles: integers beyond 2^53 are rounded, `1e400` is infinite."),
    Difference("javascript", "*", null_is_none,
               "JSON `null` and no data (a NULL payload) look alike."),
    Difference("javascript", "structured/text/*", data(text, "bytes"),
               "Text is a `string` in structured mode and a `Buffer` in binary mode."),
    Difference("javascript", JSON_OF_BYTES, data(no_data_if_empty, "bytes"),
               "Empty bytes are no data in structured mode."),
    Difference("javascript", "*", extension("partitionkey", key_text),
               "The record key becomes the extension `partitionkey`, a `Buffer`; `null` where there is no key."),
    Difference("javascript", "binary/*/NULL, binary/plain/tombstone", error("TypeError: Value is null or undefined"),
               "A NULL payload in binary mode (a null value) is refused: give an empty buffer instead."),
    # Java
    Difference("java", "structured/plain/*, structured/own/*, structured/json/*, structured/text/*", of_json(printed),
               "In structured mode JSON data is parsed and printed again: of two equal keys the last one stays, white space is gone."),
    Difference("java", "*", in_value(lambda number: number if is_whole(number) else double(number)),
               "Then a number with a fraction or an exponent is a double (`1e400` is the text `\"Infinity\"`); integers are exact."),
    Difference("java", "structured/json/lone surrogate", lambda event: event | {"data": ("printed", "?")},
               "Half a surrogate pair becomes `?` in structured mode."),
    Difference("java", "binary/*", data(no_data_if_empty, "bytes"),
               "Empty data is no data in binary mode."),
    Difference("java", "binary/*/NULL, binary/plain/tombstone", lambda event: event | {"note": "record.value() is null"},
               "A NULL payload in binary mode: `record.value()` is null, and the attributes are in the headers alone."),
    Difference("java", "structured/json/vendor type", error("EventDeserializationException: com.fasterxml.jackson.databind.exc.MismatchedInputException: Wrong type OBJECT for attribute data"),
               "In structured mode JSON data of a media type with a dot before `+json` (`application/vnd.example.v1+json`) cannot be read."),
    # Go
    Difference("go", "binary/*", lambda event: event | {"extensions": event["extensions"] | {"kafkatopic": event["topic"], "kafkapartition": "0", "kafkaoffset": str(event["offset"])}},
               "Binary events gain the extensions `kafkatopic`, `kafkapartition` and `kafkaoffset`."),
    Difference("go", "structured/plain/*, structured/own/*, structured/json/*, structured/text/*", of_json(lambda content: ("bytes", content.rstrip())),
               "In structured mode white space after JSON data is gone; all else is byte for byte."),
    Difference("go", "binary/*", data(no_data_if_empty, "bytes"),
               "Empty data is no data in binary mode."),
    Difference("go", "structured/json/vendor type, structured/json/plus json", error("unexpected data payload for media type"),
               "In structured mode JSON data of any media type `…+json` cannot be read: label it `application/json`."),
    # Rust
    Difference("rust", "structured/*", of_json(parsed),
               "In structured mode JSON data is a `serde_json::Value`, also of a `bytea` labelled as JSON: of two equal keys the last one stays, keys are sorted, white space is gone."),
    Difference("rust", "structured/*", in_value(lambda number: number if is_whole(number) and abs(number) < 2**63 else double(number)),
               "Then a number that is no 64-bit integer is a double."),
    Difference("rust", "structured/text/*", data(text, "bytes"),
               "Text is `Data::String` in structured mode and `Data::Binary` in binary mode."),
    Difference("rust", "structured/json/beyond a double", error("Error while serializing/deserializing to json: number out of range"),
               "In structured mode data with a number beyond a double (`1e400`) cannot be read."),
    Difference("rust", "structured/json/nested 200", error("Error while serializing/deserializing to json: recursion limit exceeded"),
               "In structured mode data nested deeper than about 125 levels cannot be read (200 in the test)."),
    Difference("rust", "structured/json/lone surrogate", error("Error while serializing/deserializing to json: unexpected end of hex escape"),
               "In structured mode data with half a surrogate pair cannot be read."),
)
