"""Replacements for programs that need root, systemd or a platform; a directory plays the host.

The first argument is the name of the program. ``systemctl`` treats the units as systemd does: it starts
ExecStart with the variables of EnvironmentFile, waits for READY=1 on a real socket, sends SIGTERM, and
requires an end within TimeoutStopSec. The commands of platforms only check their arguments.
"""

from __future__ import annotations

import configparser
import os
import shlex
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

# not from tests: this file runs as a program
ROOT = Path(__file__).parents[2]
HOST = Path(os.environ.get("MAILSYNC_TEST_HOST", "/nowhere"))
PATHS = ("/opt/mailsync", "/etc/mailsync", "/etc/systemd/system", "/usr/local/bin", "/root/password")
"""Paths in the pages that are on the host, below its directory."""

PLATFORMS = {
    "heroku": ("create", "addons:create", "config:set", "ps:scale", "run"),
    "fly": ("launch", "secrets", "deploy", "scale", "ssh"),
    "git": ("add", "commit", "push"),
}


def placed(text: str) -> str:
    """The text with real paths of the host."""
    for path in PATHS:
        text = text.replace(path, f"{HOST}{path}")
    return text


def fail(text: str) -> int:
    """Print the reason to stderr; returns exit code 1."""
    print(f"{Path(sys.argv[0]).name}: {text}", file=sys.stderr)
    return 1


# -- systemd ---------------------------------------------------------------------------------------------


def systemctl(verb: str, *names: str) -> int:
    """The verbs that the pages use."""
    if verb == "daemon-reload":
        return 0
    now = "--now" in names
    units = [name if "." in name else f"{name}.service" for name in names if not name.startswith("--")]
    for unit in units:
        if not (HOST / "etc/systemd/system" / unit).exists():
            return fail(f"Unit {unit} could not be found.")
        if verb == "is-active":
            print("active" if _pid(unit) else "inactive")
        if verb in ("stop", "restart"):
            _stop(unit)
        if verb in ("start", "restart") or (verb == "enable" and now):
            _start(unit)
        if verb not in ("stop", "start", "restart", "enable", "is-active"):
            return fail(f"Unknown command verb {verb}.")
    return 0


def journalctl(*args: str) -> int:
    """``--unit U --output cat --lines N``."""
    given = dict(zip(args[::2], args[1::2], strict=True))
    assert given.pop("--output") == "cat"
    lines = _file(f"{given.pop('--unit')}.service", "log").read_text().splitlines()
    print("\n".join(lines[-int(given.pop("--lines")) :]))
    return fail(f"unknown: {given}") if given else 0


def _settings(unit: str) -> dict[str, str]:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(placed((HOST / "etc/systemd/system" / unit).read_text()))
    return dict(parser["Socket" if unit.endswith(".socket") else "Service"])


def _file(unit: str, kind: str) -> Path:
    (HOST / "run").mkdir(exist_ok=True)
    return HOST / "run" / f"{unit}.{kind}"


def _pid(unit: str) -> int | None:
    try:
        pid = int(_file(unit, "pid").read_text())
        os.kill(pid, 0)
        return pid
    except (FileNotFoundError, ProcessLookupError):
        return None


def _start(unit: str) -> None:
    if unit.endswith(".socket"):
        _file(unit, "pid").write_text("0")  # the service opens it: see _listening
        return
    settings = _settings(unit)
    lines = Path(settings["EnvironmentFile"]).read_text().splitlines()
    variables = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    variables |= dict([settings["Environment"].split("=", 1)])
    command = shlex.split(settings["ExecStart"])
    # a socket's path is short
    notices = Path(os.environ["MAILSYNC_TEST_RUN"]) / f"n{os.getpid()}-{time.monotonic_ns()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener, _file(unit, "log").open("ab") as log:
        listener.bind(str(notices))
        given = {**os.environ, **variables, "NOTIFY_SOCKET": str(notices)}
        given["WATCHDOG_USEC"] = str(int(settings["WatchdogSec"]) * 1_000_000)
        given.pop("PYTHONPATH", None)
        process = subprocess.Popen(
            _listening(unit, command), env=given, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
            start_new_session=True,
        )  # fmt: skip
        # the clean-up at the end of the run finds it here
        created = psutil.Process(process.pid).create_time()
        noted = Path(os.environ["MAILSYNC_TEST_RUN"]) / "pids" / str(process.pid)
        noted.write_text(f"{process.pid} {created}")
        _file(unit, "pid").write_text(str(process.pid))
        notice = b""
        listener.settimeout(0.1)
        while not notice and process.poll() is None:
            with suppress(TimeoutError):
                notice = listener.recv(200)
        assert notice.startswith(b"READY=1"), f"{unit} does not start: {_file(unit, 'log').read_text()}"
        # the service outlives this process
        process.returncode = 0


def _listening(unit: str, command: list[str]) -> list[str]:
    """The command, with the socket of an enabled .socket unit as descriptor 3."""
    given = _file(unit.replace(".service", ".socket"), "pid")
    if not given.exists():
        return command
    address = _settings(unit.replace(".service", ".socket"))["ListenStream"]
    assert address == "127.0.0.1:3000"
    code = (
        "import os, socket, sys; s = socket.create_server(('127.0.0.1', int(sys.argv[1])), reuse_port=False);"
        "os.dup2(s.fileno(), 3); os.set_inheritable(3, True);"
        "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid())); os.environ.pop('PORT');"
        "os.execv(sys.argv[2], sys.argv[2:])"
    )
    return [sys.executable, "-c", code, os.environ["PORT"], *command]


def _stop(unit: str) -> None:
    pid = _pid(unit)
    if unit.endswith(".socket"):
        _file(unit, "pid").unlink(missing_ok=True)
        return
    if pid is None:
        return
    os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + int(_settings(unit)["TimeoutStopSec"])
    while _alive(pid):
        assert time.monotonic() < until, f"{unit} does not end"
        time.sleep(0.05)
    _file(unit, "pid").unlink()


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


# -- the rest of a host ----------------------------------------------------------------------------------


def nothing(*args: str) -> int:
    """Programs that need root and whose effect the pages do not check."""
    return 0


def install(*args: str) -> int:
    """``install`` without owner and group."""
    kept = [arg for n, arg in enumerate(args) if arg not in ("-o", "-g") and args[n - 1] not in ("-o", "-g")]
    return subprocess.run(["/usr/bin/install", *kept], check=False).returncode


def runuser(*args: str) -> int:
    """``-u USER -- COMMAND``: runs the command as the present user."""
    assert args[:3] == ("-u", "mailsync", "--")
    os.execv(args[3], args[3:])


def python3(*args: str) -> int:
    """Python; its virtual environments have the test's packages and a pip that downloads nothing."""
    if args[:2] != ("-m", "venv"):
        return subprocess.run([sys.executable, *args], check=False).returncode
    home = Path(args[2])
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    python = home / "bin" / "python"
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    (Path(found.stdout.strip()) / "host.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    pip = home / "bin" / "pip"
    options = (
        "--no-deps --no-index --no-build-isolation --disable-pip-version-check --root-user-action ignore"
    )
    pip.write_text(f'#!/bin/sh\nexec {sys.executable} -m pip --python {python} "$@" {options}\n')
    pip.chmod(0o755)
    return 0


def platform(name: str, *args: str) -> int:
    """Check that the platform has the command, and that the project has the processes it names."""
    if args[0] not in PLATFORMS[name]:
        return fail(f"unknown command {args[0]}")
    if args[0] in ("ps:scale", "scale"):
        known = {line.partition(":")[0] for line in (ROOT / "Procfile").read_text().splitlines()} | {"api"}
        scaled = {word.partition("=")[0] for word in args[1:] if "=" in word}
        return 0 if scaled and scaled <= known else fail(f"no such process: {scaled - known}")
    if args[0] in ("run", "ssh"):
        words = list(args[1:]) if args[0] == "run" else shlex.split(args[args.index("--command") + 1])
        assert words[0] == "mailsync"
        help_ = [sys.executable, "-m", "mailsync", words[1], "--help"]
        return subprocess.run(help_, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
                              stdout=subprocess.DEVNULL).returncode  # fmt: skip
    return 0


PROGRAMS: dict[str, Callable[..., int]] = {
    "systemctl": systemctl,
    "journalctl": journalctl,
    "useradd": nothing,
    "chown": nothing,
    "install": install,
    "runuser": runuser,
    "python3": python3,
    **{name: lambda *args, name=name: platform(name, *args) for name in PLATFORMS},
}

if __name__ == "__main__":
    called, arguments = sys.argv[1], sys.argv[2:]
    sys.exit(PROGRAMS[called](*arguments))
