"""The acts of deploy/test-tools/page: REPOSITORY WALPOST."""

import base64
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import websocket

REPO, WALPOST = (pathlib.Path(argument) for argument in sys.argv[1:])
ROOM = pathlib.Path(tempfile.mkdtemp(prefix="walpost-page."))
PICTURES = REPO / "target/page"
# Of ten neighbours: Postgres, two of Kafka's, two of walpost's, Chromium.
PORT = 20000 + os.getpid() % 1000 * 10
URL = f"postgres://postgres@127.0.0.1:{PORT}/postgres"
DEADLINE = 120
SIZES = {"desk": (1280, 800), "phone": (360, 740)}
started = {}

# What is asked of every page. Colours are those that the browser worked out; a background is laid over
# the ones of the elements around it until nothing shines through. Contrast as WCAG 2.2 defines it.
EXAMINE = r"""(() => {
  const parse = text => {
    const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number);
    return {r, g, b, a};
  };
  const over = (top, below) => ({
    r: top.r * top.a + below.r * (1 - top.a), g: top.g * top.a + below.g * (1 - top.a),
    b: top.b * top.a + below.b * (1 - top.a), a: 1,
  });
  const backdrop = element => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), {r: 255, g: 255, b: 255, a: 1});
  };
  const light = ({r, g, b}) => {
    const part = value => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const contrast = (element, style) => {
    const below = backdrop(element);
    const [one, two] = [light(over(parse(style.color), below)), light(below)];
    return (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
  };
  const faint = [];
  let texts = 0, least = 21;
  const note = (element, style, text) => {
    const ratio = contrast(element, style);
    texts += 1;
    least = Math.min(least, ratio);
    if (ratio < 4.5) faint.push(`${ratio.toFixed(2)}: ${text.trim().slice(0, 60)}`);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    const element = node.parentElement;
    if (!node.data.trim() || element.closest("svg")) continue;
    note(element, getComputedStyle(element), node.data);
  }
  for (const element of document.querySelectorAll("td")) {
    const style = getComputedStyle(element, "::before");
    if (style.content !== "none" && element.offsetParent) note(element, style, style.content);
  }
  const root = document.documentElement;
  const wide = [...document.body.querySelectorAll("*")].filter(element => {
    const box = element.getBoundingClientRect();
    return box.width > 1 && (box.right > root.clientWidth + 0.5 || box.left < -0.5);
  }).map(element => element.outerHTML.slice(0, 80));
  const bottom = selector => document.querySelector(selector)?.getBoundingClientRect().bottom ?? null;
  const top = selector => document.querySelector(selector)?.getBoundingClientRect().top ?? null;
  const drawing = document.querySelector("svg#lag");
  const box = drawing?.getBoundingClientRect();
  return {
    faint, texts, least, wide, scroll: root.scrollWidth - root.clientWidth, height: innerHeight,
    headline: document.querySelector("h1")?.innerText, said: bottom("#answer .sentence"), next: top("#answer .next"),
    advice: document.querySelector("#answer .next p")?.innerText ?? "",
    plot: box && {width: box.width, height: box.height, length: drawing.querySelector(".line").getTotalLength(),
                  title: drawing.querySelector("title").textContent, desc: drawing.querySelector("desc").textContent,
                  labels: [...document.querySelectorAll(".y span, .x span")].map(label => label.innerText)},
  };
})()"""


def say(text):
    print(f"page: {text}", file=sys.stderr, flush=True)


def fail(text):
    for port in (PORT + 3, PORT + 4):
        if found := status(port):
            say(f"of port {port}: {found['verdict']}; {json.dumps(found['lag'])}; {json.dumps(found['positions'])}")
    for log in ("walpost.log", "chromium.log"):
        if (ROOM / log).exists():
            say(f"the end of {log}:\n" + "\n".join((ROOM / log).read_text().splitlines()[-15:]))
    sys.exit(f"page: {text}")


def server(kind, command, *arguments):
    directory = ["--dir", ROOM / kind]
    subprocess.run([REPO / "deploy/dev" / kind, command, *directory, *arguments], check=True, stdout=subprocess.DEVNULL)


def sql(text):
    subprocess.run(["psql", "--quiet", "--no-psqlrc", "--set", "ON_ERROR_STOP=1", URL, "--command", text], check=True, stdout=subprocess.DEVNULL)


def start(name, command, environment=None):
    log = (ROOM / f"{name.split('-')[0]}.log").open("a")
    started[name] = subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def walpost(name, port):
    # A small memory in flight: it is full within a moment of Kafka's freezing.
    start(name, [WALPOST], {
        "DATABASE_URL": URL, "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{PORT + 1}", "WALPOST_NAME": "shop.orders",
        "WALPOST_MAX_IN_FLIGHT": "256KiB", "WALPOST_TOPIC_PARTITIONS": "6", "WALPOST_TOPIC_REPLICATION": "1",
        "PGPASSWORD": "canary-in-the-page", "WALPOST_HTTP_ADDR": f"127.0.0.1:{port}",
    })


def until(what, condition, deadline=DEADLINE):
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.2)
    fail(f"waited {deadline} s for {what} in vain")


def status(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/status.json", timeout=5) as answer:
            return json.load(answer)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None


def freeze(name):
    os.kill(int((ROOM / "kafka/pid").read_text()), name)


# place(ROWS): orders of many customers and one busy one, and a few payments, each row a transaction.
def place(rows):
    sql(f"""do $$ begin for n in 1..{rows} loop
        insert into outbox (aggregatetype, aggregateid, type, payload) values (
            case when n % 7 = 0 then 'payment' else 'order' end,
            case when n % 3 = 0 then 'busy' else (n % 97)::text end,
            'Placed', json_build_object('n', n, 'filling', repeat('x', 200)));
        commit; end loop; end $$""")


class Browser:
    """A tab of Chromium, spoken to by the DevTools protocol."""

    def __init__(self):
        flags = ["--headless=new", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                 "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--remote-allow-origins=*"]
        if os.getuid() == 0:
            flags.append("--no-sandbox")
        start("chromium", ["chromium", *flags, f"--remote-debugging-port={PORT + 6}", f"--user-data-dir={ROOM}/profile", "about:blank"])
        tab = until("Chromium", self._tab)
        self.socket = websocket.create_connection(tab["webSocketDebuggerUrl"], timeout=DEADLINE)
        self.number = 0
        self.events = []
        for domain in ("Page", "Runtime", "Log", "Network", "Audits"):
            self.call(f"{domain}.enable")

    @staticmethod
    def _tab():
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT + 6}/json/list", timeout=5) as answer:
                return next((tab for tab in json.load(answer) if tab["type"] == "page"), None)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return None

    def _receive(self):
        message = json.loads(self.socket.recv())
        if "method" in message:
            self.events.append(message)
        return message

    def call(self, method, **parameters):
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while (message := self._receive()).get("id") != self.number:
            pass
        if "error" in message:
            fail(f"{method}: {message['error']}")
        return message["result"]

    def wait_for(self, method):
        while self._receive().get("method") != method:
            pass

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in result:
            fail(f"the examination failed: {result['exceptionDetails']}")
        return result["result"].get("value")

    def open(self, address, scheme, size):
        width, height = SIZES[size]
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=size == "phone")
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self.call("Page.navigate", url=address)
        self.wait_for("Page.loadEventFired")

    def picture(self, name):
        picture = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        (PICTURES / f"{name}.png").write_bytes(base64.b64decode(picture["data"]))

    def complaints(self, origin):
        """What the browser has to complain of, and what it asked of others."""
        found = []
        for event in self.events:
            kind, told = event["method"], event["params"]
            if kind == "Runtime.exceptionThrown" or (kind == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert")):
                found.append(f"console: {told}")
            elif kind == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
                found.append(f"{told['entry']['source']}: {told['entry']['text']}")
            elif kind == "Audits.issueAdded":
                found.append(f"issue: {told['issue']['code']}")
            elif kind == "Network.requestWillBeSent" and not told["request"]["url"].startswith(f"{origin}/"):
                found.append(f"a request to {told['request']['url']}")
        return found


def faults(browser, origin):
    """Everything that is wrong with the page that is open, and what was measured."""
    page = browser.evaluate(EXAMINE)
    found = browser.complaints(origin)
    found += [f"contrast {text}" for text in page["faint"]]
    found += [f"wider than the screen: {text}" for text in page["wide"]]
    if page["scroll"] > 0:
        found.append(f"it scrolls sideways by {page['scroll']} pixels")
    if not page["headline"] or page["said"] is None or page["said"] > page["height"]:
        found.append(f"the verdict cannot be seen without scrolling: {page['said']}")
    if page["next"] is not None and page["next"] + 60 > page["height"]:
        found.append(f"what to do cannot be seen without scrolling: {page['next']}")
    plot = page["plot"]
    if not plot or plot["width"] < 200 or plot["height"] < 80 or plot["length"] <= 0 or not plot["title"] or not plot["desc"]:
        found.append(f"no plot: {plot}")
    elif len(plot["labels"]) != 8 or not all(plot["labels"]) or "min ago" not in " ".join(plot["labels"]):
        found.append(f"axes without labels: {plot['labels']}")
    return found, page


def look(browser, act, port, headline, advice=""):
    origin = f"http://127.0.0.1:{port}"
    for scheme in ("light", "dark"):
        for size in SIZES:
            browser.open(f"{origin}/", scheme, size)
            found, page = faults(browser, origin)
            browser.picture(f"{act}-{scheme}-{size}")
            where = f"{act}, {scheme}, {size}"
            if found:
                fail(f"{where}:\n  " + "\n  ".join(found))
            if page["headline"] != headline:
                fail(f"{where}: it says `{page['headline']}` and not `{headline}`")
            if not page["advice"].startswith(advice) or bool(page["advice"]) != bool(advice):
                fail(f"{where}: what to do is `{page['advice']}` and not `{advice}`")
            text = browser.evaluate("document.documentElement.outerHTML")
            if "canary" in text or "***" not in text:
                fail(f"{where}: the configuration shows a secret, or hides that there is one")
    say(f"{act}: `{headline}`, {page['texts']} texts, least contrast {page['least']:.2f}")


def eyes_are_open(browser, port):
    """What would be wrong is seen: each fault is made in the open page, and found."""
    origin = f"http://127.0.0.1:{port}"
    made = {
        "contrast": "document.querySelector('h1').style.color = '#888'",
        "wider than the screen": "document.querySelector('footer').style.width = '2000px'",
        "sideways": "document.querySelector('footer').style.width = '2000px'",
        "cannot be seen": "document.querySelector('header').style.marginTop = '2000px'",
        "no plot": "document.querySelector('svg .line').setAttribute('d', '')",
        "axes": "document.querySelector('.x span').textContent = ''",
        "issue: ContentSecurityPolicyIssue": "document.body.insertAdjacentHTML('beforeend', '<style>b{}</style>')",
        "Content Security Policy": "document.body.insertAdjacentHTML('beforeend', '<p style=\"color:red\">')",
        "console": "console.error('it')",
        "a request to": f"location.href = 'http://127.0.0.1:{PORT + 9}/'",
    }
    for fault, script in made.items():
        browser.open(f"{origin}/", "light", "phone")
        if before := faults(browser, origin)[0]:
            fail(f"before `{fault}`: {before}")
        browser.evaluate(script)
        if fault == "a request to":
            browser.wait_for("Network.requestWillBeSent")
            found = browser.complaints(origin)
        else:
            found = faults(browser, origin)[0]
        if not any(fault in text for text in found):
            fail(f"`{script}` was not noticed: {found}")
    say(f"{len(made)} faults made, all found")


def refreshes(browser, port):
    browser.open(f"http://127.0.0.1:{port}/", "light", "desk")
    before = time.monotonic()
    browser.wait_for("Page.loadEventFired")
    say(f"it loaded itself again after {time.monotonic() - before:.1f} s")


def acts():
    server("postgres", "start", "--major", "18", "--port", str(PORT), "--with-parent", str(os.getpid()), "-c", "max_slot_wal_keep_size=1GB")
    # Frozen, it must not lose its own session with its controller: that is another outage.
    server("kafka", "start", "--port", str(PORT + 1), "--with-parent", str(os.getpid()), "--", "broker.session.timeout.ms=300000")
    sql("create table outbox (id bigint generated always as identity primary key, aggregatetype text, aggregateid text, type text, payload jsonb)")
    first, second = PORT + 3, PORT + 4
    walpost("walpost-a", first)
    until("readiness", lambda: (status(first) or {"ready": {"ok": False}})["ready"]["ok"])
    browser = Browser()

    begun = time.monotonic()
    while time.monotonic() - begun < 25:
        place(300)
        time.sleep(0.5)
    look(browser, "streaming", first, "All is well")
    topic = next(topic for topic in status(first)["topics"] if topic["topic"].endswith("order"))
    say(f"of the orders: {topic}")

    until("being caught up", lambda: status(first)["lag"]["caught_up"])
    time.sleep(3)
    look(browser, "idle", first, "All is well")
    refreshes(browser, first)
    eyes_are_open(browser, first)

    walpost("walpost-b", second)
    until("the standby", lambda: (status(second) or {"state": ""})["state"] == "standby")
    until("a point of its plot", lambda: status(second)["history"])
    look(browser, "standby", second, "All is well: standing by")
    started.pop("walpost-b").terminate()

    freeze(signal.SIGSTOP)
    place(3000)
    until("backpressure", lambda: status(first)["state"] == "backpressured")
    until("not being ready", lambda: not status(first)["ready"]["ok"])
    look(browser, "backpressured", first, "Waiting for Kafka", "See to the Kafka cluster.")
    freeze(signal.SIGCONT)
    until("being caught up", lambda: status(first)["lag"]["caught_up"])

    sql("drop publication walpost")
    until("the halt", lambda: status(first)["state"] == "halted")
    look(browser, "halted", first, "Halted: a person has to decide", "Rows committed")


def end():
    for process in started.values():
        process.kill()
    try:
        freeze(signal.SIGCONT)
    except (OSError, ValueError):
        pass
    for kind in ("postgres", "kafka"):
        server(kind, "kill")
    shutil.rmtree(ROOM, ignore_errors=True)


PICTURES.mkdir(parents=True, exist_ok=True)
try:
    acts()
    say(f"the pictures are in {PICTURES}")
finally:
    end()
