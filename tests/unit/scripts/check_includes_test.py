# SPDX-License-Identifier: MIT
"""What scripts/check_includes.py lets through and what it finds."""
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "scripts"))
import check_includes  # noqa: E402


class CheckIncludes(unittest.TestCase):
    def test_directions(self):
        allowed = [
            ("common/protocol/a.h", "common/util/b.h"),
            ("node/store/a.cc", "node/service/b.h"),
            ("node/app.cc", "node/store/b.h"),
            ("client/proxy/a.cc", "common/http/b.h"),
            ("node/store/a.cc", "SQLiteCpp/Database.h"),
            ("node/sync/a.cc", "vector"),
        ]
        forbidden = [
            ("common/util/a.h", "common/protocol/b.h"),
            ("common/protocol/a.h", "common/http/b.h"),
            ("common/http/a.cc", "node/config.h"),
            ("node/app.cc", "client/config.h"),
            ("client/app.cc", "node/config.h"),
            ("node/service/a.cc", "node/store/b.h"),
            ("node/sync/a.cc", "node/http/b.h"),
            ("node/sync/a.cc", "SQLiteCpp/Database.h"),
            ("node/sync/a.cc", "httplib.h"),
            ("common/util/a.cc", "tests/support/b.h"),
        ]
        for source, included in allowed:
            self.assertIsNone(check_includes.objection(source, included), (source, included))
        for source, included in forbidden:
            self.assertIsNotNone(check_includes.objection(source, included), (source, included))

    def test_a_tree(self):
        with tempfile.TemporaryDirectory() as name:
            root = pathlib.Path(name)
            self.assertEqual(check_includes.check(root)[0], 0)
            self.assertTrue(check_includes.check(root)[1])  # nothing found is no success
            (root / "common/util").mkdir(parents=True)
            (root / "node").mkdir()
            (root / "node/a.h").write_text("")
            (root / "common/util/a.h").write_text(
                '#pragma once\n#include <vector>\n  # include "node/a.h"\n#include "missing.h"\n'
            )
            count, problems = check_includes.check(root)
            self.assertEqual(count, 2)
            self.assertEqual(
                problems,
                [
                    "common/util/a.h:3: includes node/a.h: a lower folder includes a higher one",
                    "common/util/a.h:4: includes missing.h: there is no such file below the root",
                ],
            )


if __name__ == "__main__":
    unittest.main()
