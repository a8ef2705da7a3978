"""Compares what the SDKs saw with what the rows say: compare.py FOLDER SDK…

FOLDER/expected has one line for each row (expected.sql), FOLDER/SDK one for each event (the readers). A difference
that is not in differences.py fails, and so does one that is there and no longer seen, or is not told in docs.
"""

import base64
import json
import pathlib
import sys
from datetime import datetime, timezone

import differences

FIELDS = ("id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "extensions", "data")


def instant(text):
    """Microseconds since 1970; digits after the sixth would be invented by the SDK."""
    if text is None:
        return None
    time = datetime.fromisoformat(text.replace("Z", "+00:00")) - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return (time.days * 86_400 + time.seconds) * 1_000_000 + time.microseconds


def expectation(line, mode):
    """The event that a row has to become, in the form that `observation` gives what was read."""
    data = line["data"]
    event = {name: line[name] for name in FIELDS} | {"error": None, "note": None}
    event |= {"topic": f"{mode}.{line['topic']}", "offset": line["offset"]}
    event["key"] = None if line["key"] is None else bytes.fromhex(line["key"])
    event["headers"] = line["headers"]
    event["time"] = instant(line["time"])
    event["data"] = None if data is None else ("bytes", bytes.fromhex(data))
    if mode == "binary":
        # A header is a string: the type of an extension does not travel.
        event["extensions"] = {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in line["extensions"].items()
        }
    return event


def observation(line):
    event = {name: line.get(name) for name in (*FIELDS, "error", "note", "headers", "topic", "offset")}
    event["extensions"] = event["extensions"] or {}
    event["time"] = instant(event["time"])
    event["key"] = None if line["key"] is None else base64.b64decode(line["key"])
    match event["data"]:
        case {"bytes": text}:
            event["data"] = ("bytes", base64.b64decode(text))
        case {"text": text}:
            event["data"] = ("text", text)
        case {"json": text}:
            event["data"] = differences.handed(differences.value(text))
    return event


def apart(expected, seen):
    """Names of the fields in which two events differ; one that could not be read is told by `error` alone."""
    if expected["error"] or seen["error"]:
        return [] if expected["error"] and (seen["error"] or "").startswith(expected["error"]) else ["error"]
    names = [name for name in expected if name != "data" and not same(expected[name], seen[name])]
    data, got = expected["data"], seen["data"]
    if data and got and data[0] == "printed" and got[0] == "bytes":
        # Bytes that the SDK printed: JSON of the same value.
        got = ("printed", differences.value(got[1].decode()))
    return names if same(data, got) else [*names, "data"]


def same(one, other):
    # `True == 1` in Python, but not in an event.
    return one == other and kinds(one) == kinds(other)


def kinds(parsed):
    if isinstance(parsed, dict):
        return {name: kinds(member) for name, member in parsed.items()}
    if isinstance(parsed, (list, tuple)):
        return [kinds(item) for item in parsed]
    return type(parsed)


def shortened(value):
    text = repr(value)
    return text if len(text) < 300 else f"{text[:300]}… ({len(text)} characters)"


def check(sdk, rows, lines, used):
    """Prints and counts what is not as it should be; adds the differences that were met to `used`."""
    wrong = 0
    places = {(line["topic"], line["offset"]) for line in lines}
    if not len(lines) == len(places) == 2 * len(rows):
        print(f"{sdk}: {len(lines)} events from {len(places)} records, expected {2 * len(rows)}")
        wrong += 1
    for line in lines:
        mode, _, topic = line["topic"].partition(".")
        row = rows.get((topic, line["offset"]))
        if row is None:
            print(f"{sdk}: no row for {line['topic']} at offset {line['offset']}")
            wrong += 1
            continue
        expected, seen = expectation(row, mode), observation(line)
        place = f"{topic}/{row['row']}"
        for difference in differences.DIFFERENCES:
            if difference.meets(sdk, mode, place):
                changed = difference.change(expected)
                if changed != expected:
                    used.add(difference)
                expected = changed
        for name in apart(expected, seen):
            print(f"{sdk}, {mode}, {place}, {name}\n  expected {shortened(expected[name])}\n  read     {shortened(seen[name])}")
            if name == "error" and seen["error"] is None:
                print("  (it was read without an error)")
            wrong += 1
    return wrong


def main(folder, *sdks):
    folder = pathlib.Path(folder)
    rows, counts = {}, {}
    for line in map(json.loads, (folder / "expected").read_text().rstrip("\n").split("\n")):
        offset = counts.get(line["topic"], 0)
        rows[line["topic"], offset] = line | {"offset": offset}
        counts[line["topic"]] = offset + 1
    used, wrong = set(), 0
    for sdk in sdks:
        lines = [json.loads(line) for line in (folder / sdk).read_text().rstrip("\n").split("\n")]
        wrong += check(sdk, rows, lines, used)
    here = pathlib.Path(__file__).parent
    page = (here.parents[1] / "deploy/docs/sdks.md").read_text()
    for difference in differences.DIFFERENCES:
        if difference.sdk in sdks and difference not in used:
            print(f"differences.py: never met: {difference}")
            wrong += 1
        if difference.says not in page:
            print(f"deploy/docs/sdks.md does not say: {difference.says}")
            wrong += 1
    for sdk in sdks:
        (source,) = (here / sdk).glob("consumer/main.go" if sdk == "go" else "[cC]onsumer.*")
        if source.read_text() not in page:
            print(f"deploy/docs/sdks.md does not show {source.name} of {sdk} as it is")
            wrong += 1
    if wrong:
        sys.exit(f"{wrong} differences that nobody knows of")
    print(f"{len(rows)} rows in two modes, read by {', '.join(sdks)}: {len(used)} known differences, no other")


main(*sys.argv[1:])
