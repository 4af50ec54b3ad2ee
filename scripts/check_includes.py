#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks the direction of includes: common/util < common/protocol < common/http < common/feed < node, client.

A lower folder never includes a higher one, node and client never include each other, and what
decides (node/service, node/sync) knows neither what stores nor what serves. The linker cannot say
so, since all headers lie on one include path.

usage: check_includes.py [ROOT]
"""
import pathlib
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')
LAYERS = ["common/util", "common/protocol", "common/http", "common/feed"]
PROGRAMS = ["node", "client"]
# Folders whose code is pure, and what it must not see.
PURE = ["node/service", "node/sync"]
IMPURE = ["node/store", "node/http", "common/http", "sqlite3.h", "SQLiteCpp", "httplib.h"]


def inside(path, folder):
    return path == folder or path.startswith(folder + "/")


def layer(path):
    """The height of a file's folder; None for files outside of the order (tests, libraries)."""
    for height, folder in enumerate(LAYERS):
        if inside(path, folder):
            return height
    return len(LAYERS) if any(inside(path, folder) for folder in PROGRAMS) else None


def objection(source, included):
    """Why `source` must not include `included`; None if it may."""
    height = layer(included)
    if height is not None and height > layer(source):
        return "a lower folder includes a higher one"
    for mine, other in (PROGRAMS, reversed(PROGRAMS)):
        if inside(source, mine) and inside(included, other):
            return f"{mine} and {other} never include each other"
    for pure in PURE:
        if inside(source, pure) and any(inside(included, impure) for impure in IMPURE):
            return f"{pure} is pure: it declares the interfaces it needs"
    if inside(included, "tests"):
        return "a program includes a test"
    return None


def check(root):
    problems = []
    count = 0
    for folder in ["common"] + PROGRAMS:
        for file in sorted((root / folder).rglob("*")):
            if file.suffix not in (".h", ".cc"):
                continue
            count += 1
            source = file.relative_to(root).as_posix()
            for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
                match = INCLUDE.match(line)
                if not match:
                    continue
                quoted, included = match.group(1) == '"', match.group(2)
                reason = objection(source, included)
                if quoted and not reason and not (root / included).is_file():
                    reason = "there is no such file below the root"
                if reason:
                    problems.append(f"{source}:{number}: includes {included}: {reason}")
    if count == 0:
        problems.append(f"{root}: no sources found")
    return count, problems


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else __file__).resolve()
    if len(sys.argv) < 2:
        root = root.parent.parent
    count, problems = check(root)
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print(f"ok: the includes of {count} files point inward")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
