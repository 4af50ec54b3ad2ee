# SPDX-License-Identifier: MIT
"""Namespaces of a run's own: when its first process ends, in whatever way, the kernel ends all
processes, mounts, loop devices and network interfaces that it has made."""
import os
import shutil
import subprocess
import sys

SKIPPED = 77
_MARK = "CHATCHAIN_TEST_ISOLATED"
_UNSHARE = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child",
            "--mount-proc", "--net"]


def why_impossible(tools):
    """None, or what is missing here."""
    if os.geteuid() != 0:
        return "this needs root"
    for tool in ("unshare", *tools):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    if subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False).returncode != 0:
        return "namespaces are not permitted here"
    return None


def inside():
    return _MARK in os.environ


def enter():
    """Runs this program again, with the same arguments, in namespaces of its own; does not return."""
    os.environ[_MARK] = "1"
    os.execvp("unshare", [*_UNSHARE, sys.executable, "-B", *sys.argv])


def begin():
    """First thing inside."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
