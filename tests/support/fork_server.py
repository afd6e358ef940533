"""The process that imports our modules and forks programs on request of tests/support/forking.py."""

from __future__ import annotations

import array
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import selectors
import socket
import sys
import threading
from typing import Any

from mailsync.ops import core_dumps

# A program, and modules that read the environment on import: gunicorn, and those that import it.
_LEFT_OUT = (
    "mailsync.__main__",
    "mailsync.web.server.connections",
    "mailsync.web.gunicorn_conf",
    "mailsync.web.server.run",
    "mailsync.web.server.gunicorn_worker",
)

VISIBLE = "MAILSYNC_TEST_VISIBLE"
"""With this variable, the ``/proc`` of a program is readable for an ordinary user who counts its files."""


def exactly(connection: socket.socket, size: int) -> bytes:
    """Read `size` bytes; raises ConnectionError if the other side closes before."""
    received = b""
    while len(received) < size:
        more = connection.recv(size - len(received))
        if not more:
            raise ConnectionError("the process that forks others is gone")
        received += more
    return received


def _import_everything() -> None:
    import mailsync

    for module in pkgutil.walk_packages(mailsync.__path__, "mailsync."):
        if module.name not in _LEFT_OUT and not module.name.startswith("mailsync.sql"):
            importlib.import_module(module.name)
    assert "gunicorn" not in sys.modules
    assert threading.active_count() == 1, "an import has started a thread, which a fork would not have"


def _serve(address: str) -> dict[str, Any]:
    """Fork for each connection; returns only in the forks, each with its request."""
    _import_everything()
    gc.collect()
    gc.freeze()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(100)
    children: dict[int, tuple[int, socket.socket]] = {}
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(0, selectors.EVENT_READ)
    os.write(1, b"ready\n")
    while True:
        for key, _ in selector.select():
            if key.fd == 0:
                # Forks that still run are ended by their pids, as all processes of the run.
                os._exit(0)
            if key.fileobj is not listener:
                selector.unregister(key.fd)
                pid, connection = children.pop(key.fd)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                os.close(key.fd)
                with contextlib.suppress(OSError), connection:
                    connection.sendall(code.to_bytes(8, "big", signed=True))
                continue
            connection, _ = listener.accept()
            request = _request(connection)
            if request is None:
                continue
            pid = os.fork()
            if pid == 0:
                selector.close()
                return request
            for number in request["streams"]:
                os.close(number)
            handle = os.pidfd_open(pid)
            children[handle] = pid, connection
            selector.register(handle, selectors.EVENT_READ)
            with contextlib.suppress(OSError):
                connection.sendall(pid.to_bytes(8, "big"))


def _request(connection: socket.socket) -> dict[str, Any] | None:
    streams = array.array("i")
    try:
        size, passed, _, _ = connection.recvmsg(8, socket.CMSG_SPACE(3 * streams.itemsize))
        for _, _, data in passed:
            streams.frombytes(data)
        request: dict[str, Any] = json.loads(exactly(connection, int.from_bytes(size, "big")))
    except (OSError, ValueError):
        connection.close()
        return None
    request["streams"] = list(streams)
    return request


def _become(request: dict[str, Any]) -> None:
    """In a fork: become ``python -m module args``, and run it."""
    for number, stream in enumerate(request["streams"]):
        os.dup2(stream, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    # As Python opens them in the locale C.UTF-8.
    like_python = {"encoding": "utf-8", "errors": "surrogateescape", "closefd": False}
    sys.stdin = os.fdopen(0, "r", **like_python)
    sys.stdout = os.fdopen(1, "w", **like_python)
    sys.stderr = os.fdopen(2, "w", 1, **like_python | {"errors": "backslashreplace"})
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.path[0] = request["cwd"]
    if VISIBLE in request["env"]:
        core_dumps.forbid = lambda: None
    sys.argv = ["-m", *request["args"]]
    sys.orig_argv = [sys.executable, "-m", request["module"], *request["args"]]
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _become(_serve(sys.argv[1]))
