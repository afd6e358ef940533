"""The worker's watchdog. It ends processes, so each test starts one of its own."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.support.run_directory import PATIENCE

WATCHED = """
import re, signal, sys, threading, time
from mailsync.worker.watchdog import Watchdog

def hang(secret):
    {hang}

watchdog = Watchdog({seconds})
watchdog.install()
watchdog.begin()
{before}
hang("a planted secret")
print("it came to its end")
"""


def watched(hang: str, before: str = "", seconds: float = 2.0) -> subprocess.CompletedProcess[str]:
    script = WATCHED.format(hang=hang, before=before, seconds=seconds)
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=False
    )


@pytest.mark.parametrize(
    "hang",
    [
        # C code that holds the GIL; sum() does not check for signals either
        're.match(r"(?:a+)+b", "a" * 100)',
        "sum(range(10**15))",
        # C code that has released the GIL
        "threading.Lock().acquire() and threading.Semaphore(0).acquire()",
        "while True: pass",
    ],
    ids=["regular expression", "C code", "waiting", "Python"],
)
def test_it_ends_a_hung_process_and_shows_the_stack_but_no_values(hang: str) -> None:
    ended = watched(hang)
    assert ended.returncode == -signal.SIGALRM
    assert "(most recent call first):" in ended.stderr
    assert " in hang\n" in ended.stderr
    assert "planted" not in ended.stderr + ended.stdout


def test_other_threads_do_not_reset_it_and_are_shown_too() -> None:
    other = "threading.Thread(target=lambda: [time.sleep(0.01) for _ in iter(int, 1)], daemon=True).start()"
    ended = watched("while True: pass", other)
    assert ended.returncode == -signal.SIGALRM
    assert " in hang\n" in ended.stderr
    assert " in <lambda>\n" in ended.stderr


@pytest.mark.parametrize(
    ("before", "seconds"),
    [
        ("for _ in range(8): time.sleep(0.5); watchdog.alive()\nwatchdog.pause()", 3.0),
        ("watchdog.pause(); watchdog.alive()", 0.5),
        ("watchdog.remove()", 0.5),
        # another handler may use the timer by then
        ("watchdog.release(); watchdog.begin(); watchdog.alive()", 0.5),
    ],
    ids=["alive", "paused", "removed", "released"],
)
def test_it_does_not_end_a_process_that_is_alive_or_not_watched(before: str, seconds: float) -> None:
    ended = watched("time.sleep(1)", before, seconds)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "it came to its end" in ended.stdout
