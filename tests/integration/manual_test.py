#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""--help, the manual pages and the shell completions name the same options, for every program and command, and the pages
are without a warning. A shell or checker that is not installed here is left out, and said.

    manual_test.py --bin-dir DIR --source-dir DIR
"""
import argparse
import pathlib
import re
import shutil
import subprocess
import sys

HELP_OPTION = re.compile(r"^  (?:-(\w), )?--([a-z-]+)", re.M)
PAGE_OPTION = re.compile(r"^\.It Fl (?:(\w) , )?-([a-z-]+)", re.M)
ZSH_OPTION = re.compile(r"'\*?(?:\(-\w --[a-z-]+\)'\{-(\w),--([a-z-]+)\}'|--([a-z-]+))\[")
COMMANDS = ["send", "history", "tail", "network"]
SERVERS = ["chatchain-node", "chatchain-client"]
# cxxopts gives them, --help of the servers does not spell it out.
SILENT = {"-h"}

problems = []


def options_of(matches):
    names = set()
    for letter, name in matches:
        names.add("--" + name)
        if letter:
            names.add("-" + letter)
    return names


def compare(what, have, wanted, ignored=frozenset()):
    if missing := wanted - have - ignored:
        problems.append(f"{what} lacks {sorted(missing)}")
    if more := have - wanted - ignored:
        problems.append(f"{what} has {sorted(more)}, which --help has not")


def output(*command, stdin=""):
    done = subprocess.run([str(word) for word in command], input=stdin, capture_output=True, text=True, timeout=60,
                          check=False)
    if done.returncode != 0:
        problems.append(f"{' '.join(map(str, command))}: {done.returncode} {done.stderr}")
    return done.stdout


def help_options(bin_dir):
    """(program, command or None) -> its options."""
    known = {("chatchain", command): options_of(HELP_OPTION.findall(output(bin_dir / "chatchain", command, "--help")))
             for command in COMMANDS}
    known["chatchain", None] = options_of(HELP_OPTION.findall(output(bin_dir / "chatchain", "--help")))
    for server in SERVERS:
        known[server, None] = options_of(HELP_OPTION.findall(output(bin_dir / server, "--help")))
    for who, options in known.items():
        if "--help" not in options:
            problems.append(f"{who}: --help was not understood: {options}")
    return known


def check_pages(man_dir, known):
    for server in SERVERS:
        page = (man_dir / f"{server}.1").read_text(encoding="utf-8")
        compare(f"{server}.1", options_of(PAGE_OPTION.findall(page)), known[server, None], SILENT)
    page = (man_dir / "chatchain.1").read_text(encoding="utf-8")
    of_command = {command: set() for command in COMMANDS}
    for section in page.split("\n.Ss Options of ")[1:]:
        title, _, body = section.partition("\n")
        body = re.split(r"^\.S[hs] ", body, flags=re.M)[0]
        for command in COMMANDS if title == "every command" else title.split(" and "):
            of_command[command] |= options_of(PAGE_OPTION.findall(body))
    for command, options in of_command.items():
        compare(f"chatchain.1, {command}", options - {"--version"}, known["chatchain", command])
    for path in sorted(man_dir.glob("*.1")):
        if shutil.which("mandoc"):
            done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", path], capture_output=True, text=True,
                                  check=False)
            if done.returncode != 0:
                problems.append(f"mandoc: {done.stdout}{done.stderr}")
        else:
            print("mandoc is not installed: the pages are not linted")


def check_shell(name, known, completions):
    """`completions(program, words)`: what the shell offers for the last word."""
    for (program, command), options in known.items():
        words = [command, "-"] if command else ["-"]
        offered = {word for word in completions(program, words) if word.startswith("-")}
        compare(f"{name}, {program} {command or ''}", offered, options, SILENT)
    offered = {word for word in completions("chatchain", [""]) if not word.startswith("-")}
    compare(f"{name}, commands", offered, set(COMMANDS))


def bash_completions(script):
    def completions(program, words):
        code = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
                'f=$(complete -p "$1" | sed "s/.*-F \\([^ ]*\\).*/\\1/"); "$f"; printf "%s\\n" "${COMPREPLY[@]}"')
        return output("bash", "-c", code, "bash", script, program, *words).split()
    return completions


def fish_completions(script):
    def completions(program, words):
        code = f"source {script}; complete -C '{program} {' '.join(words)}'"
        found = set()
        # A lone dash gives the letters only, two give the names.
        for dash in ("", "-") if words[-1] == "-" else ("",):
            lines = output("fish", "--no-config", "-c", code[:-1] + dash + "'").splitlines()
            found |= {line.split("\t")[0] for line in lines}
        return found
    return completions


def check_zsh(script, known):
    text = script.read_text(encoding="utf-8")

    def options(part):
        return options_of((letter, name or lone) for letter, name, lone in ZSH_OPTION.findall(part))

    arrays = {name: options(body) for name, body in re.findall(r"^(\w+)=\(\n(.*?)^\)", text, re.M | re.S)}
    cases = dict(re.findall(r"^  ([a-z-]+)\)\n(.*?)^    ;;", text, re.M | re.S))
    for (program, command), wanted in known.items():
        if (program, command) == ("chatchain", None):
            continue
        body = cases.get(command or program, "")
        have = options(body)
        for name in re.findall(r"\$(\w+)", body):
            have |= arrays.get(name, set())
        compare(f"zsh, {program} {command or ''}", have, wanted, SILENT if command is None else frozenset())
    if shutil.which("zsh"):
        output("zsh", "-n", script)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin-dir", required=True, type=pathlib.Path)
    parser.add_argument("--source-dir", required=True, type=pathlib.Path)
    options = parser.parse_args()
    known = help_options(options.bin_dir)
    check_pages(options.source_dir / "docs/man", known)
    folder = options.source_dir / "deploy/completion"
    check_shell("bash", known, bash_completions(folder / "chatchain.bash"))
    check_zsh(folder / "chatchain.zsh", known)
    if shutil.which("fish"):
        check_shell("fish", known, fish_completions(folder / "chatchain.fish"))
    else:
        print("fish is not installed: its completion is not checked")
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print(f"ok: {sum(map(len, known.values()))} options, the same everywhere")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
