#!/usr/bin/env python3
"""Tests of the kit's own parts, without a GPU: python3 .ci/kit/test.py"""
import argparse, json, os, sys, tempfile, unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
sys.dont_write_bytecode = True

import checks, turns
from session import Failed, Late, Later, Session, Skipped
from table import report


class Kit(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def session(self, version="1", **options):
        defaults = dict(out=os.path.join(self.folder, "out"), quick=False, limit=60.0, pairs=2, data="", shared="", python=sys.executable)
        s = Session(argparse.Namespace(**dict(defaults, **options)), version)
        self.addCleanup(s.log.close)
        s.known, s.say = ["fp32"], lambda text: None
        return s

    def test_medians_and_ratios(self):
        self.assertEqual(turns.figure(turns.objects('warning\n{"ms": 3, "peak_memory_bytes": 7}\n{"ms": 2}\n'), "ms"), (2, 7))
        self.assertRaises(ValueError, turns.figure, [{"ms": 1}], "s")
        self.assertEqual(turns.ratios([1, 2, 4], [4, 4, 4]), (2, 1, 4))
        self.assertEqual(turns.row("w", [(1, 10), (3, 20), (2, 30)]), "| w | 2.00 | 20 | - | - | - | - |")
        self.assertEqual(turns.row("w", [(1, 10), (3, 20)], [(4, 5), (6, 6)]), "| w | 2.00 | 15 | 5.00 | 6 | 2.50 | 2.00 to 4.00 |")

    def test_what_is_over_is_not_done_again(self):
        done = []
        s = self.session()
        s.item("a", 1, lambda: done.append("a"))

        def refuse():
            raise Failed("no")

        def skip():
            raise Skipped("not here")

        def later():
            raise Later("c")

        s.item("b", 1, refuse)
        s.item("s", 1, skip)
        self.assertRaises(Later, s.item, "c", 1, later)
        s = self.session()
        for name in "absc":
            s.item(name, 1, lambda: done.append(name))
        self.assertEqual(done, ["a", "c"])
        self.assertEqual({n: i["verdict"] for n, i in s.record["items"].items()}, {"a": "ok", "b": "FAILED", "s": "skipped", "c": "ok"})
        self.assertEqual((s.figures("a"), s.figures("b")), ({}, None))
        self.assertRaises(Failed, self.session, version="2")
        self.assertRaises(Later, self.session(limit=0.0).item, "d", 1, lambda: None)

    def test_a_command_has_its_time(self):
        s = self.session()
        self.assertEqual(s.command([sys.executable, "-c", "import sys; print(1); sys.exit(3)"]), (3, "1\n", ""))
        self.assertRaisesRegex(Failed, "cannot be started", s.command, ["/nowhere"])
        wait = [sys.executable, "-c", "import signal; signal.pause()"]
        self.assertRaises(Late, s.command, wait, limit=0.1)
        # With little of the call left it is for the next one.
        s.began -= 60 - 12.1
        self.assertRaises(Later, s.command, wait, limit=50)

    def test_a_failed_test_says_why(self):
        out = "=== RUN   T\n=== RUN   T/a\n    x_test.go:1: fine\n=== RUN   T/b\n    x_test.go:2: first\n    x_test.go:3: off by 3\n--- FAIL: T (0.0s)\n    --- PASS: T/a (0.0s)\n    --- FAIL: T/b (0.0s)\n"
        self.assertEqual(checks.complaint(out, "T/b"), "off by 3")
        self.assertEqual(checks.complaint(out, "T/c"), "see the log")

    def test_the_table_holds_us_to_the_best_peer(self):
        s = self.session()
        for turn, (ours, graph, compiled) in enumerate([(1.0, 2.0, 1.4), (1.2, 2.2, 1.5)]):
            of = lambda who, **figures: s.item("bench/ResNet-56 batch 64 fp32/%s/%d" % (who, turn), 1, lambda: figures)
            of("dither", step_ms=ours, host_ms=0.11, device_memory_bytes=3 << 20)
            of("graph", step_ms=graph, device_memory_bytes=None)
            of("compile", step_ms=compiled, device_memory_bytes=6 << 20)
        text = report(s)
        self.assertIn("| ResNet-56 batch 64 fp32, ms a step | 1.100 | 2.100 | 1.450 | 1.32 (1.25 to 1.40) | 1.5, aim 3: MISSED |", text)
        self.assertIn("ResNet-56 batch 64 fp32: 3.0 MiB of device memory, PyTorch's tensors 6.0: 0.50 (at most 0.7, aim 0.4)", text)
        self.assertIn("0.110 ms of a step in which the device waits for the host, 10.0 % (less than 5 %)", text)
        s.record["items"]["bench/ResNet-56 batch 64 fp32/compile/1"].update(verdict="skipped", why="no compiler")
        text = report(s)
        self.assertIn("| 1.40 (1.40 to 1.40) |", text)
        self.assertIn("skipped bench/ResNet-56 batch 64 fp32/compile/1: no compiler", text)
        with open(s.path("table.md")) as kept:
            self.assertEqual(kept.read(), text + "\n")
        with open(s.path("results.json")) as kept:
            self.assertEqual(len(json.load(kept)["items"]), 6)


if __name__ == "__main__":
    unittest.main()
