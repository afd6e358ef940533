"""Find everything in the program that could read strangers' bytes: its patterns and functions.

Nothing here names a module, so that a module may move.
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

# these are programs: importing them runs them, or reads the environment
_PROGRAMS = ("__main__", "gunicorn_conf")

LONG = 10_000
"""Bytes of the text that is read to see which patterns a function uses."""
MUCH = 500
"""A pattern that gets so many characters reads what strangers send, and has to be measured."""


@functools.cache
def modules() -> tuple[ModuleType, ...]:
    """All modules of the program."""
    found = pkgutil.walk_packages(mailsync.__path__, "mailsync.")
    return tuple(importlib.import_module(each.name) for each in found if not each.name.endswith(_PROGRAMS))


@functools.cache
def _caches() -> tuple[Callable[[], object], ...]:
    """The functions that empty the caches: those of functools, and module-level containers in lower case."""
    found: dict[int, Callable[[], object]] = {}
    for module in modules():
        for name, value in vars(module).items():
            if isinstance(value, functools._lru_cache_wrapper):
                found[id(value)] = value.cache_clear
            elif name == name.lower() and not name.startswith("__") and _is_cache(value):
                found[id(value)] = value.clear
    return tuple(found.values())


def _is_cache(value: object) -> bool:
    kind = type(value)
    return hasattr(kind, "clear") and (isinstance(value, dict) or kind.__module__.startswith("mailsync"))


def forget() -> None:
    """Empty the program's caches, because a cached result takes no time."""
    for clear in _caches():
        clear()


def patterns() -> dict[str, re.Pattern[Any]]:
    """All compiled patterns by ``module.NAME``, with the module's last name only."""
    return {
        f"{_stem(module)}.{name}" + (f"[{at}]" if isinstance(value, tuple) else ""): pattern
        for module in modules()
        for name, value in vars(module).items()
        for at, pattern in enumerate(_inside(value))
    }


def _inside(value: object) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from _inside(each)


def _stem(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


def patterns_in_functions() -> set[str]:
    """The modules, by their last names, in which a function gives `re` a pattern that is not compiled."""
    found = set()
    for module in modules():
        tree = ast.parse(Path(str(module.__file__)).read_text("utf-8"))
        for node in (each for each in ast.walk(tree) if isinstance(each, ast.Call)):
            called = ast.unparse(node.func)
            if re.fullmatch(r"re\.(match|search|fullmatch|sub|subn|findall|finditer|split)", called):
                found.add(_stem(module))
    return found


def functions() -> dict[str, FunctionType]:
    """The public functions that take bytes, or a response, first, by ``module.name``."""
    return {
        f"{_stem(module)}.{name}": value
        for module in modules()
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
        if (first := next(iter(value.__annotations__.values()), None)) is not None
        if str(first) in ("bytes", "bytes | None", "list[bytes]")
    }


class Seen:
    """The functions that were called, by their code, and the longest text that each pattern got."""

    def __init__(self) -> None:
        self.codes: set[object] = set()
        self.lengths: dict[int, int] = {}


class _Watched:
    """A pattern that notes the length of what it is given."""

    def __init__(self, pattern: re.Pattern[Any], seen: Seen) -> None:
        self._pattern, self._seen = pattern, seen

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._pattern, name)
        if name not in ("match", "search", "fullmatch", "sub", "subn", "findall", "finditer", "split"):
            return value

        def call(*args: Any, **more: Any) -> Any:
            text = args[1] if name in ("sub", "subn") else args[0]
            known = self._seen.lengths.get(id(self._pattern), 0)
            self._seen.lengths[id(self._pattern)] = max(known, len(text))
            return value(*args, **more)

        return call


@contextmanager
def watching() -> Iterator[Seen]:
    """Note what the program's patterns are given inside; see :func:`noting_calls`, too."""
    seen = Seen()
    kept = [
        (module, name, value)
        for module in modules()
        for name, value in list(vars(module).items())
        if any(True for _ in _inside(value))
    ]
    for module, name, value in kept:
        setattr(module, name, _wrapped(value, seen))

    try:
        yield seen
    finally:
        for module, name, value in kept:
            setattr(module, name, value)


@contextmanager
def noting_calls(seen: Seen) -> Iterator[None]:
    """Note which functions are called inside, in this thread; slow."""

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
    return tuple(_wrapped(each, seen) for each in value) if isinstance(value, tuple) else value
