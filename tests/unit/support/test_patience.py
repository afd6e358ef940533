"""The helpers for waiting and measuring, and that tests use no other way."""

from __future__ import annotations

import ast
import functools
import multiprocessing
import os
import time

import pytest

from tests import ROOT
from tests.support import patience, run_directory
from tests.support.patience import Stopwatch, pause, stays

TESTS = ROOT / "tests"
# helpers that poll, programs outside of pytest, and programs of the documents
LEFT_OUT = (
    "benchmarks",
    "documents/stand_ins.py",
    "support/dovecot.py",
    "support/patience.py",
    "support/postgres.py",
    "support/programs.py",
    "support/proxy.py",
    "support/run_directory.py",
)


@functools.cache
def _sources() -> list[tuple[str, ast.Module]]:
    paths = [path.relative_to(TESTS) for path in TESTS.rglob("*.py")]
    return [
        (str(path), ast.parse((TESTS / path).read_text()))
        for path in paths
        if not str(path).startswith(LEFT_OUT)
    ]


def _calls(tree: ast.AST, *names: str) -> bool:
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return bool(called & set(names))


def test_tests_sleep_only_in_a_helper_that_says_why() -> None:
    sleeping = [
        f"{path}:{node.lineno}"
        for path, tree in _sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("time.sleep", "sleep")
    ]
    assert not sleeping, f"Use wait_until, stays or pause of tests/support/patience.py instead: {sleeping}"


def test_no_test_limits_wall_clock_time() -> None:
    limited = [
        f"{path}:{node.lineno}"
        for path, tree in _sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert) and _has_upper_limit(node.test)
    ]
    assert not limited, f"Use Stopwatch of tests/support/patience.py instead: {limited}"


def _has_upper_limit(test: ast.expr) -> bool:
    """Whether it is like ``time.monotonic() - began < 9``, which fails on a busy machine."""
    for node in ast.walk(test):
        if not isinstance(node, ast.Compare):
            continue
        terms = [node.left, *node.comparators]
        for small, sign, large in zip(terms, node.ops, terms[1:], strict=False):
            less, more = (small, large) if isinstance(sign, ast.Lt | ast.LtE) else (large, small)
            if isinstance(sign, ast.Lt | ast.LtE | ast.Gt | ast.GtE) and isinstance(less, ast.BinOp):
                clocks = ("time.monotonic", "time.perf_counter", "time.time")
                if isinstance(less.op, ast.Sub) and _calls(less, *clocks) and not _calls(more, *clocks):
                    return True
    return False


def test_a_stopwatch_is_a_clock_on_an_idle_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "runnable_per_processor", lambda: 0.5)
    began, watch = time.monotonic(), Stopwatch()
    pause(0.3, "what is measured")
    assert 0.1 <= watch.stop() <= time.monotonic() - began + 0.1


def test_a_stopwatch_divides_by_the_processes_that_share_a_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "runnable_per_processor", lambda: 4.0)
    began, watch = time.monotonic(), Stopwatch()
    pause(0.3, "what is measured")
    took = watch.stop()
    assert took <= (time.monotonic() - began) / 4
    assert watch.stop() == took
    assert watch.clock >= 0.3


def test_a_deadline_is_later_where_processes_share_a_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_directory, "runnable_per_processor", lambda: 0.5)
    idle = run_directory.Deadline(0.2)
    pause(0.3, "the limit passes")
    assert idle.is_over()
    monkeypatch.setattr(run_directory, "runnable_per_processor", lambda: 1000.0)
    busy = run_directory.Deadline(0.2)
    pause(0.3, "the limit would pass on an idle machine")
    assert not busy.is_over()


def test_runnable_processes_are_counted() -> None:
    busy = [multiprocessing.get_context("spawn").Process(target=_spin, daemon=True) for _ in range(4)]
    for process in busy:
        process.start()
    try:
        patience.wait_until(
            lambda: run_directory.runnable_per_processor() >= 4 / (os.cpu_count() or 1), "the load"
        )
    finally:
        for process in busy:
            process.kill()
            process.join()


def _spin() -> None:
    while True:
        pass


def test_stays_fails_as_soon_as_the_condition_does_not_hold() -> None:
    answers = iter([True, True, False])
    with pytest.raises(AssertionError, match="It did not stay so: all well"):
        stays(lambda: next(answers), "all well", seconds=60)
    stays(lambda: True, "all well", seconds=0.1)
