#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What operators see: metrics of a real node and a real proxy, and that alert rules and dashboard name nothing
that does not exist. Exit code 77 where promtool is missing, after all that needs no promtool.
"""
import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from programs import Failure, Reserved, World, call, wait_ready  # noqa: E402  (needs the path above)

SKIPPED = 77
SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
NAMED = re.compile(r'\bchatchain_[a-z0-9_]+')


def require(holds, what):
    if not holds:
        raise Failure(what)


def samples_of(page):
    """(name, labels as a sorted tuple, value) of each line."""
    samples = []
    for line in page.splitlines():
        if not line or line.startswith("#"):
            continue
        match = SAMPLE.match(line)
        require(match, f"not a sample: {line}")
        labels = tuple(sorted(LABEL.findall(match[2] or "")))
        samples.append((match[1], labels, float(match[3])))
    return samples


def check_page(who, page):
    """What promtool overlooks: series twice, families twice or torn apart, histograms that are none."""
    families, types = [], {}
    for line in page.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            require(name not in types, f"{who}: {name} has two types")
            types[name] = kind
            families.append(name)
    samples = samples_of(page)
    seen, last_family, closed = set(), None, set()
    histograms = {}
    for name, labels, value in samples:
        require((name, labels) not in seen, f"{who}: {name}{labels} is there twice")
        seen.add((name, labels))
        family = name if name in types else re.sub(r"_(bucket|sum|count)$", "", name)
        require(family in types, f"{who}: {name} has no type")
        if family != last_family:
            require(family not in closed, f"{who}: the samples of {family} are not together")
            closed.add(family)
            last_family = family
        if types[family] == "counter":
            require(name.endswith("_total") and value >= 0, f"{who}: {name} is no counter")
        if types[family] == "histogram":
            rest = tuple(label for label in labels if label[0] != "le")
            parts = histograms.setdefault((family, rest), {"buckets": []})
            if name.endswith("_bucket"):
                parts["buckets"].append((float(dict(labels)["le"].replace("+Inf", "inf")), value))
            else:
                parts[name[len(family) + 1:]] = value
    for key, parts in histograms.items():
        bounds = [bound for bound, _ in parts["buckets"]]
        counts = [count for _, count in parts["buckets"]]
        require(bounds == sorted(set(bounds)) and bounds[-1] == float("inf"), f"{who}: bounds of {key}: {bounds}")
        require(counts == sorted(counts), f"{who}: {key} is not monotonic: {counts}")
        require(counts[-1] == parts["count"], f"{who}: {key} counts {parts['count']}, its buckets {counts[-1]}")
    require(len(families) > 10, f"{who}: only {families}")
    return {name for name, _, _ in samples} | set(families)


def known_names(name, known):
    # A rule may name a family or one of its series.
    return name in known or re.sub(r"_(bucket|sum|count)$", "", name) in known


def expressions(dashboard):
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def promtool(*arguments, text=None):
    done = subprocess.run(["promtool", *map(str, arguments)], input=text, capture_output=True, text=True, timeout=60,
                          check=False)
    require(done.returncode == 0, f"promtool {' '.join(map(str, arguments))}: {done.stdout}{done.stderr}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin-dir", required=True)
    parser.add_argument("--source-dir", required=True, type=pathlib.Path)
    options = parser.parse_args()
    rules = options.source_dir / "deploy/prometheus/chatchain.rules.yml"
    dashboard = json.loads((options.source_dir / "deploy/grafana/chatchain.json").read_text(encoding="utf-8"))

    with World(options.bin_dir) as world:
        nobody = Reserved()
        node = world.node("a", peers=[nobody.address])
        proxy = world.proxy([node.address, nobody.address])
        wait_ready(proxy.address)
        for number in range(20):
            message = {"sender": "a", "recipient": "b", "text": str(number)}
            require(call(proxy.address, "POST", "/messages", message).status == 201, "a message is taken")
        require(call(proxy.address, "GET", "/messages").status == 200, "they are read")
        pages = {who: call(program.address, "GET", "/metrics").body.decode()
                 for who, program in (("node", node), ("proxy", proxy))}
        known = set()
        for who, page in pages.items():
            known |= check_page(who, page)
        nobody.release()

    used = {name for name in NAMED.findall(rules.read_text(encoding="utf-8"))}
    require(len(used) > 10, f"the rules name {used}")
    for title, expression in expressions(dashboard):
        names = NAMED.findall(expression)
        require(names, f"panel {title} shows nothing of ours")
        used |= set(names)
    unknown = sorted(name for name in used if not known_names(name, known))
    require(not unknown, f"rules or dashboard name what neither program exports: {unknown}")
    ids = [panel["id"] for panel in dashboard["panels"]]
    require(len(ids) == len(set(ids)), "panels of the dashboard share an id")

    if shutil.which("promtool") is None:
        print("skipped what needs promtool (Debian package prometheus)", file=sys.stderr)
        return SKIPPED
    for page in pages.values():
        promtool("check", "metrics", text=page)
    promtool("check", "rules", rules)
    for title, expression in expressions(dashboard):
        # Grafana puts the interval in; promtool parses what is left in a rule.
        rule = {"groups": [{"name": "panel", "rules": [
            {"record": "panel", "expr": expression.replace("$__rate_interval", "1m")}]}]}
        with World(options.bin_dir) as scratch:
            promtool("check", "rules", scratch.config(json.dumps(rule)))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        print(f"FAILED: {failure}", file=sys.stderr)
        sys.exit(1)
