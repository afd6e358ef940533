"""gunicorn's worker has the methods that ours overrides to limit clients."""

from __future__ import annotations

import pytest
from gunicorn.workers.gthread import ThreadWorker

from mailsync.errors import ConfigError
from mailsync.web.server.connections import check_hooks
from mailsync.web.server.gunicorn_worker import Worker


class Base:
    def accept(self, listener: object) -> None: ...

    def finish_request(self, conn: object, fs: object) -> None: ...


class Ours(Base):
    def accept(self, listener: object) -> None: ...

    def finish_request(self, conn: object, fs: object) -> None: ...

    def _helper(self) -> None: ...


class Renamed:
    def accept(self, listener: object) -> None: ...

    def end_request(self, conn: object, fs: object) -> None: ...


class Changed(Base):
    def finish_request(self, fs: object) -> None: ...  # type: ignore[override]


def test_the_installed_gunicorn_has_all_our_hooks() -> None:
    check_hooks(Worker)
    assert {"accept", "enqueue_req", "handle_error", "murder_pending"} <= {
        name for kind in Worker.__mro__[:2] for name in vars(kind)
    }
    assert issubclass(Worker, ThreadWorker)


def test_a_missing_or_changed_hook_is_named() -> None:
    check_hooks(Ours, Base)
    for base in (Renamed, Changed):
        with pytest.raises(ConfigError, match=r"has no method finish_request\(self, conn, fs\), which"):
            check_hooks(Ours, base)
