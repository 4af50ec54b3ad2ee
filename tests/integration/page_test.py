#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The chat page as the proxy serves it, and as `cmake --install` lays it out.

    page_test.py --bin-dir DIR --build-dir DIR [-v]
"""
import argparse
import gzip
import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))

from programs import Reserved, World, call  # noqa: E402

BIN_DIR = None
BUILD_DIR = None
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
          "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
          "require-trusted-types-for 'script'; trusted-types 'none'")
TYPES = {"html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8",
         "js": "text/javascript; charset=utf-8", "png": "image/png"}

world = None
proxy = None
nobody = None  # in the place of a node: the page is there whether nodes are or not


def setUpModule():
    global world, proxy, nobody
    world = World(BIN_DIR)
    nobody = Reserved()
    proxy = world.proxy([nobody.address])


def tearDownModule():
    world.close()
    nobody.release()


def get(target, **headers):
    return call(proxy.address, "GET", target, None,
                {name.replace("_", "-"): value for name, value in headers.items()})


def names():
    """All files that the page names, and those that these name."""
    found, new = set(), {"index.html"}
    while new:
        name = new.pop()
        found.add(name)
        body = get("/" if name == "index.html" else f"/web/{name}").body
        if name.endswith((".html", ".js")):
            named = re.findall(r"""(?:/web/|from '\./)([\w.]+)['"]""", body.decode())
            new |= set(named) - found
    return found


class PageTest(unittest.TestCase):
    def test_all_files_come_with_the_fields_that_keep_a_browser_strict(self):
        found = names()
        self.assertGreater(len(found), 10)
        for name in found:
            with self.subTest(name):
                answer = get("/" if name == "index.html" else f"/web/{name}")
                self.assertEqual(answer.status, 200, answer)
                self.assertEqual(answer["Content-Type"], TYPES[name.rsplit(".", 1)[1]])
                self.assertEqual(answer["Content-Security-Policy"], POLICY)
                self.assertEqual(answer["X-Content-Type-Options"], "nosniff")
                self.assertEqual(answer["Referrer-Policy"], "no-referrer")
                self.assertEqual(answer["Cache-Control"], "no-cache")
                self.assertEqual(answer["Vary"], "Accept-Encoding")
                self.assertRegex(answer["ETag"], r'^"[0-9a-f]{64}"$')
                # No other host is named, and nothing makes markup of text.
                self.assertEqual(re.findall(rb"https?://[a-zA-Z0-9]", answer.body), [])
                for word in [b"innerHTML", b"outerHTML", b"insertAdjacent", b"document.write",
                             b"eval(", b" style=", b" onclick=\""]:
                    self.assertNotIn(word, answer.body)

    def test_head_and_304(self):
        for target in ["/", "/web/chat.js"]:
            with self.subTest(target):
                answer = get(target)
                head = call(proxy.address, "HEAD", target)
                self.assertEqual((head.status, head.body), (200, b""))
                self.assertEqual(head["Content-Length"], str(len(answer.body)))
                self.assertEqual(head["ETag"], answer["ETag"])
                same = get(target, If_None_Match=answer["ETag"])
                self.assertEqual((same.status, same.body), (304, b""))
                self.assertEqual(same["ETag"], answer["ETag"])
                self.assertEqual(get(target, If_None_Match='"other"').status, 200)

    def test_gzip_has_a_tag_of_its_own(self):
        plain = get("/web/chat.js")
        packed = get("/web/chat.js", Accept_Encoding="gzip")
        self.assertEqual(packed["Content-Encoding"], "gzip")
        self.assertEqual(packed["Vary"], "Accept-Encoding")
        self.assertEqual(gzip.decompress(packed.body), plain.body)
        self.assertLess(len(packed.body), len(plain.body) / 2)
        self.assertNotEqual(packed["ETag"], plain["ETag"])
        self.assertEqual(get("/web/chat.js", Accept_Encoding="gzip",
                             If_None_Match=packed["ETag"]).status, 304)
        self.assertEqual(get("/web/chat.js", If_None_Match=packed["ETag"]).status, 200)

    def test_what_is_no_file_of_the_page_is_not_there(self):
        for target in ["/web", "/web/", "/web/nothing.js", "/web/package.json", "/index.html",
                       "/web/../app.cc", "/web/..%2Fapp.cc", "/web/%2e%2e/app.cc", "/web/..%5capp.cc",
                       "/web//main.js", "/web/main.js/", "/web/%2Fetc%2Fpasswd", "/web/Main.js",
                       "/../../../../etc/passwd", "/web/./main.js"]:
            with self.subTest(target):
                # As it is: http.client does not tidy paths up.
                answer = get(target)
                self.assertEqual(answer.status, 404, answer)
                self.assertEqual(answer.type, "application/problem+json")
        self.assertEqual(get("/web/main.js%00").status, 400)
        self.assertEqual(get("/?x=1").status, 400)
        self.assertEqual(get("/web/main.js?x=1").status, 400)

    def test_other_methods(self):
        for target in ["/", "/web/main.js"]:
            answer = call(proxy.address, "POST", target, "x")
            self.assertEqual((answer.status, answer["Allow"]), (405, "GET, HEAD, OPTIONS"))
            self.assertEqual(call(proxy.address, "OPTIONS", target).status, 204)


class InstallationTest(unittest.TestCase):
    def test_the_installed_program_serves_the_installed_page(self):
        root = world.directory / "root"
        installed = subprocess.run(
            ["cmake", "--install", BUILD_DIR, "--prefix", "/opt/chat", "--component", "client"],
            env={**os.environ, "DESTDIR": str(root)}, capture_output=True, text=True, check=False)
        self.assertEqual(installed.returncode, 0, installed.stdout + installed.stderr)
        web = root / "opt/chat/share/chatchain/web"
        self.assertEqual({path.name for path in web.iterdir()}, names())
        index = web / "index.html"
        index.write_text(index.read_text(encoding="utf-8") + "<!-- the installed one -->", encoding="utf-8")
        other = World(root / "opt/chat/bin")
        try:
            served = other.proxy([nobody.address])
            self.assertIn(b"the installed one", call(served.address, "GET", "/").body)
            # Read at the start, whatever happens to the files.
            shutil.rmtree(web)
            self.assertEqual(call(served.address, "GET", "/web/main.js").status, 200)
        finally:
            other.close()

    def test_a_folder_that_is_configured_must_hold_the_page(self):
        empty = world.directory / "empty"
        empty.mkdir()
        config = world.config(f'[client]\nlisten = "127.0.0.1:0"\nweb_dir = "{empty}"\n')
        run = subprocess.run([world.bin_dir / "chatchain-client", "--config", config],
                             capture_output=True, text=True, timeout=20, check=False)
        self.assertEqual(run.returncode, 1)
        self.assertEqual(run.stderr.splitlines()[-1],
                         f"chatchain-client: client.web_dir: cannot read {empty}/index.html")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin-dir", required=True)
    parser.add_argument("--build-dir", required=True)
    arguments, rest = parser.parse_known_args()
    BIN_DIR, BUILD_DIR = arguments.bin_dir, arguments.build_dir
    unittest.main(argv=[sys.argv[0], *rest])
