"""Find the program's patterns and functions that may read strangers' bytes.

No module is named here, so that modules can move.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, FunctionType, ModuleType
from typing import Any

import mailsync

# importing these runs a program or reads the environment
_PROGRAMS = ("__main__", "gunicorn_conf")

LONG = 10_000
"""The length in bytes of the text that shows which patterns a function uses."""
MUCH = 500
"""A pattern that gets this many characters reads strangers' text and must be measured."""


@functools.cache
def modules() -> tuple[ModuleType, ...]:
    """All modules of the program."""
    infos = pkgutil.walk_packages(mailsync.__path__, "mailsync.")
    return tuple(importlib.import_module(info.name) for info in infos if not info.name.endswith(_PROGRAMS))


@functools.cache
def _caches() -> tuple[Callable[[], object], ...]:
    """Functions that empty the caches: those of functools, and module-level containers in lower case."""
    clearing: dict[int, Callable[[], object]] = {}
    for module in modules():
        for name, value in vars(module).items():
            if isinstance(value, functools._lru_cache_wrapper):
                clearing[id(value)] = value.cache_clear
            elif name == name.lower() and not name.startswith("__") and _is_cache(value):
                clearing[id(value)] = value.clear
    return tuple(clearing.values())


def _is_cache(value: object) -> bool:
    kind = type(value)
    return hasattr(kind, "clear") and (isinstance(value, dict) or kind.__module__.startswith("mailsync"))


def forget() -> None:
    """Empty the program's caches, because cached results would hide the cost."""
    for clear in _caches():
        clear()


def patterns() -> dict[str, re.Pattern[Any]]:
    """All compiled patterns by ``module.NAME``, where ``module`` is only the last part of the name."""
    return {
        f"{_stem(module)}.{name}" + (f"[{i}]" if isinstance(value, tuple) else ""): pattern
        for module in modules()
        for name, value in vars(module).items()
        for i, pattern in enumerate(_inside(value))
    }


def _inside(value: object) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _inside(item)


def _stem(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


def patterns_in_functions() -> set[str]:
    """The modules, by the last part of their names, with a function that passes a plain pattern to `re`."""
    stems = set()
    for module in modules():
        tree = ast.parse(Path(str(module.__file__)).read_text("utf-8"))
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            name = ast.unparse(call.func)
            if re.fullmatch(r"re\.(match|search|fullmatch|sub|subn|findall|finditer|split)", name):
                stems.add(_stem(module))
    return stems


def functions() -> dict[str, FunctionType]:
    """The public functions whose first argument is bytes or a response, by ``module.name``."""
    return {
        f"{_stem(module)}.{name}": value
        for module in modules()
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
        if (first := next(iter(value.__annotations__.values()), None)) is not None
        if str(first) in ("bytes", "bytes | None", "list[bytes]")
    }


class Seen:
    """The code of the functions that were called, and the length of each pattern's longest text."""

    def __init__(self) -> None:
        self.codes: set[object] = set()
        self.lengths: dict[int, int] = {}


class _Watched:
    """A pattern that records the lengths of its texts."""

    def __init__(self, pattern: re.Pattern[Any], seen: Seen) -> None:
        self._pattern, self._seen = pattern, seen

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._pattern, name)
        if name not in ("match", "search", "fullmatch", "sub", "subn", "findall", "finditer", "split"):
            return value

        def call(*args: Any, **more: Any) -> Any:
            text = args[1] if name in ("sub", "subn") else args[0]
            longest = self._seen.lengths.get(id(self._pattern), 0)
            self._seen.lengths[id(self._pattern)] = max(longest, len(text))
            return value(*args, **more)

        return call


@contextmanager
def watching() -> Iterator[Seen]:
    """Record the texts of the program's patterns inside the context; see also :func:`noting_calls`."""
    seen = Seen()
    originals = [
        (module, name, value)
        for module in modules()
        for name, value in list(vars(module).items())
        if any(True for _ in _inside(value))
    ]
    for module, name, value in originals:
        setattr(module, name, _wrapped(value, seen))
    try:
        yield seen
    finally:
        for module, name, value in originals:
            setattr(module, name, value)


@contextmanager
def noting_calls(seen: Seen) -> Iterator[None]:
    """Record which functions this thread calls inside the context; slow."""

    def note(frame: FrameType, event: str, arg: object) -> None:
        if event == "call":
            seen.codes.add(frame.f_code)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(before)


def _wrapped(value: object, seen: Seen) -> object:
    if isinstance(value, re.Pattern):
        return _Watched(value, seen)
    return tuple(_wrapped(item, seen) for item in value) if isinstance(value, tuple) else value
