#!/usr/bin/env python3
"""Checks the chart's values against what is made of them: HELM WALPOST CHART [FOLDER]

- Each value in values.yaml changes something that is rendered, and is in the schema.
- Every variable that any rendering with a file of ci/ sets is one that `walpost config` accepts.
- No placeholder is left in the rules.

With FOLDER, only the second, for the values files in there.
"""

import concurrent.futures
import copy
import functools
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import yaml

HELM, WALPOST, CHART, *FOLDER = sys.argv[1:]
CHART = pathlib.Path(CHART)
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())

# Everything on, so that whatever a value touches is rendered.
BASE = {
    "database": {"existingSecret": "db"},
    "kafka": {"bootstrapServers": "kafka:9092", "existingSecret": "user"},
    "replicaCount": 3,
    "networkPolicy": {"enabled": True},
    "service": {"enabled": True},
    "podMonitor": {"enabled": True},
    "serviceMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True},
    "grafanaDashboard": {"enabled": True},
    "preflight": {"enabled": True},
    "dropSlotOnDelete": {"enabled": True},
}
# Values that only matter beside others.
BESIDE = {
    r"database\.secretKeys\.(host|username|password|port|dbname)": {"database": {"secretKeys": {"host": "h"}}},
    r"database\.(port|name|user)": {"database": {"host": "h"}},
    r"database\.secretPreset": {"database": {"existingSecret": "db-app"}},
    r"service\.enabled": {"serviceMonitor": {"enabled": False}},
    r"database\.caSecret\.key": {"database": {"caSecret": {"name": "ca"}}},
    r"database\.clientCertSecret\.(certKey|keyKey)": {"database": {"clientCertSecret": {"name": "c"}}},
    r"kafka\.caSecret\.key": {"kafka": {"caSecret": {"name": "ca"}}},
    r"kafka\.clientCertSecret\.(certKey|keyKey)": {"kafka": {"clientCertSecret": {"name": "c"}}},
    r"http\.auth\.secretKeys\..*": {"http": {"auth": {"existingSecret": "page"}}},
}
# A value of the right form, where none follows from the type.
SAMPLES = {
    "connectors": {"one": {}},
    "database.secretPreset": "cnpg",
    "database.existingSecret": "db-app",
    "database.sslmode": "require",
    "kafka.secretPreset": "msk-scram",
    "kafka.securityProtocol": "SSL",
    "kafka.properties": {"linger.ms": 1},
    "config": {"WALPOST_TABLE": "t"},
    "secretsAs": "env",
    "memory": "300Mi",
    "image.digest": "sha256:" + "0" * 64,
    "image.pullPolicy": "Always",
    "service.type": "NodePort",
    "podDisruptionBudget.unhealthyPodEvictionPolicy": "IfHealthyBudget",
    "dnsPolicy": "Default",
    "prometheusRule.scope": "all",
    "prometheusRule.excludeRules": ["WalpostDown"],
    "prometheusRule.thresholds.fresh.objective": 0.5,
    "prometheusRule.thresholds.residentMemoryBytes": 7,
    "networkPolicy.databasePorts": [1234],
    "networkPolicy.kafkaPorts": [1234],
    "networkPolicy.egressCIDRs": ["10.0.0.0/8"],
    "extraRootKeysAllowed": ["other"],
    "global.imagePullSecrets": [{"name": "everyone"}],
    "extraObjects": {"a": {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}}},
}
# About keys that the chart does not have: nothing is rendered.
OPEN = ("extraRootKeysAllowed",)


def leaves(node, path=()):
    for key, value in node.items():
        if isinstance(value, dict) and value and key not in ("updateStrategy", "resources", "labels") and not key.endswith(("Probe", "ecurityContext")):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def sample(path, value):
    name = ".".join(path)
    if name in SAMPLES:
        return SAMPLES[name]
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1 if value >= 1 else value / 2
    if isinstance(value, str):
        return "other"
    if isinstance(value, list):
        return ["probe"] if name.endswith(("Labels", "Rules")) and name != "prometheusRule.extraRules" else [{"name": "probe"}]
    if "Probe" in name or name in ("lifecycle", "affinity", "dnsConfig", "updateStrategy", "resources") or name.endswith("ecurityContext"):
        return {"probe": {"probe": "x"}}
    return {"probe": "x"}


def overlay(base, over):
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            overlay(base[key], value)
        else:
            base[key] = value
    return base


def at(node, path):
    for key in path:
        node = node.get(key, {}) if isinstance(node, dict) else {}
    return node


@functools.cache
def rendered(text):
    done = subprocess.run(
        [HELM, "template", "shop", str(CHART), "--namespace", "relay", "--values", "-"],
        input=text, capture_output=True, text=True, check=False,
    )
    return done.returncode, done.stdout, done.stderr


def render(values):
    return rendered(yaml.safe_dump(values))


def in_schema(path):
    node = SCHEMA
    for key in path:
        node = node.get("properties", {}).get(key)
        if node is None:
            return False
    return True


def unused(leaf):
    """What is wrong with one value of values.yaml, or nothing."""
    path, value = leaf
    name = ".".join(path)
    if not in_schema(path):
        return f"{name} is not in values.schema.json"
    if name in OPEN:
        return None
    base = copy.deepcopy(BASE)
    for pattern, beside in BESIDE.items():
        if re.fullmatch(pattern, name):
            overlay(base, copy.deepcopy(beside))
    # A switch may already be on in the base.
    changed = not at(base, path) if at(base, path) is True else sample(path, value)
    for key in reversed(path):
        changed = {key: changed}
    changed = overlay(copy.deepcopy(base), changed)
    code, before, said = render(base)
    if code:
        return f"{name}: the base is refused: {said}"
    code, after, said = render(changed)
    if code:
        return f"{name}: a sample is refused: {said}"
    return f"{name} changes nothing that is rendered" if before == after else None


def containers(documents):
    for document in documents:
        spec = (document or {}).get("spec", {})
        pod = spec.get("template", {}).get("spec", spec if (document or {}).get("kind") == "Pod" else {})
        for container in pod.get("containers", []):
            if "walpost" in container["image"] and container.get("args"):
                yield document["kind"], container, pod.get("volumes", [])


SECRETS = {"DATABASE_URL": "postgres://walpost:secret@db:5432/shop", "PGPORT": "5432"}


def refused(file):
    """What `walpost config` says against the variables of one rendering."""
    code, out, said = render(yaml.safe_load(file.read_text()))
    if code:
        return [f"{file.name}: {said}"], 0
    wrong, count = [], 0
    if re.search(r"<[a-zA-Z.]+>", "".join(part for part in out.split("\n---") if "kind: PrometheusRule" in part)):
        wrong.append(f"{file.name}: a placeholder is left in the rules")
    for kind, container, volumes in containers(yaml.safe_load_all(out)):
        with tempfile.TemporaryDirectory() as room:
            environment = {}
            mounted = {item["path"] for volume in volumes for source in volume.get("projected", {}).get("sources", []) for item in source["secret"]["items"]}
            for one in container["env"]:
                name, value = one["name"], one.get("value")
                if value is None:
                    value = SECRETS.get(name, "secret")
                elif value.startswith("/etc/walpost/credentials/"):
                    path = value.removeprefix("/etc/walpost/credentials/")
                    if path not in mounted:
                        wrong.append(f"{file.name}: {name} is {value}, which nothing mounts")
                    value = f"{room}/{path.replace('/', '-')}"
                    pathlib.Path(value).write_text(SECRETS.get(name.removesuffix("_FILE"), "secret"))
                environment[name] = value
                count += 1
            done = subprocess.run([WALPOST, "config"], env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                wrong.append(f"{file.name}, {kind}: {done.stderr}")
    return wrong, count


def main():
    wrong = []
    all_leaves = [] if FOLDER else list(leaves(VALUES))
    folder = pathlib.Path(*FOLDER) if FOLDER else CHART / "ci"
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        wrong += [found for found in pool.map(unused, all_leaves) if found]
        variables = 0
        for found, count in pool.map(refused, sorted(folder.glob("*-values.yaml"))):
            wrong += found
            variables += count
    known = re.search(r'define "walpost.rootKeys" -}}\n(.*)\n', (CHART / "templates/_check.tpl").read_text())
    if sorted(known.group(1).split()) != sorted(VALUES):
        wrong.append("walpost.rootKeys in templates/_check.tpl differs from values.yaml")
    if sorted(SCHEMA["properties"]) != sorted(VALUES):
        wrong.append("values.schema.json differs from values.yaml at the top")
    for one in wrong:
        print(one, file=sys.stderr)
    if wrong or variables < 50:
        sys.exit(1)
    print(f"{len(all_leaves)} values are used, {variables} variables are accepted by walpost config", file=sys.stderr)


if __name__ == "__main__":
    main()
