#!/usr/bin/env python3
"""Writes JSON Schemas as kubeconform wants them: FOLDER VERSION,… CRD-FILE…

Kubernetes' own come with the Python package kubernetes-validate, but refer to one file of definitions
by an address that is none, which kubeconform would take for a schema that is missing. So each file
gets the definitions that it needs. Those of custom resources are in the definitions themselves;
there, fields that are not described are refused, as kubeconform's -strict has it.
"""

import json
import pathlib
import re
import sys

import kubernetes_validate
import yaml

SHARED = "/api/_definitions.json#/$defs/"


def references(node, found):
    if isinstance(node, dict):
        for key, value in node.items():
            # A field of a custom resource's definition is itself called $ref.
            if key == "$ref" and isinstance(value, str) and value.startswith(SHARED):
                found.add(value.removeprefix(SHARED))
                node[key] = "#/$defs/" + value.removeprefix(SHARED)
            elif key == "$ref" and isinstance(value, str) and value.startswith("#/$defs/"):
                found.add(value.removeprefix("#/$defs/"))
            else:
                references(value, found)
    elif isinstance(node, list):
        for value in node:
            references(value, found)
    return found


def bundle(schema, definitions):
    wanted, needed = references(schema, set()), {}
    while wanted:
        name = wanted.pop()
        if name not in needed:
            needed[name] = json.loads(definitions[name])
            wanted |= references(needed[name], set())
    schema["$defs"] = needed
    return schema


def close(node):
    if isinstance(node, dict):
        if "properties" in node and not node.get("x-kubernetes-preserve-unknown-fields"):
            node.setdefault("additionalProperties", False)
        for value in node.values():
            close(value)
    elif isinstance(node, list):
        for value in node:
            close(value)


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    pass


# YAML 1.1 has a type for a lone `=`, which an operator of Prometheus' is.
Loader.add_constructor("tag:yaml.org,2002:value", Loader.construct_yaml_str)


def main():
    to, versions, *crds = sys.argv[1:]
    own = pathlib.Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
    for version in versions.split(","):
        source = own / f"v{version}.0-local-strict"
        target = pathlib.Path(to) / f"v{version}.0"
        target.mkdir(parents=True)
        definitions = json.loads((source / "_definitions.json").read_text())["$defs"]
        definitions = {name: json.dumps(value) for name, value in definitions.items()}
        for path in source.glob("*.json"):
            # One kind of one group and version: deployment-apps-v1.json, pod-v1.json.
            if re.search(r"-v\d+\.json$", path.name) and not path.name.startswith("_"):
                schema = bundle(json.loads(path.read_text()), definitions)
                (target / path.name).write_text(json.dumps(schema))
        for path in crds:
            for crd in yaml.load_all(pathlib.Path(path).read_text(), Loader):
                if not crd:
                    continue
                group = crd["spec"]["group"].split(".")[0]
                kind = crd["spec"]["names"]["kind"].lower()
                for one in crd["spec"]["versions"]:
                    schema = one["schema"]["openAPIV3Schema"]
                    close(schema)
                    schema["properties"]["metadata"] = {"type": "object"}
                    (target / f"{kind}-{group}-{one['name']}.json").write_text(json.dumps(schema))


if __name__ == "__main__":
    main()
