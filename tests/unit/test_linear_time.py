"""Text from mail servers, messages and clients is read in linear time.

A regular expression cannot be interrupted, and a line may have 16 MiB. So a table (``growing/``) lists each
function that reads strangers' bytes with its worst texts. A pattern or function without a line in the table
fails a test here.
"""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mailsync.mail import date_reader
from tests.unit.growing import discovery
from tests.unit.growing.authorization_servers import AUTHORIZATION_SERVERS
from tests.unit.growing.clients import CLIENTS
from tests.unit.growing.entries import MARKS, Reads
from tests.unit.growing.fetch_answers import FETCH_ANSWERS
from tests.unit.growing.mail_servers import MAIL_SERVERS
from tests.unit.growing.measuring import Worst, growth
from tests.unit.growing.messages import MESSAGES
from tests.unit.growing.web_servers import WEB_SERVERS

TABLE = [
    *MAIL_SERVERS, *FETCH_ANSWERS, *MESSAGES, *CLIENTS, *AUTHORIZATION_SERVERS, *WEB_SERVERS,
]  # fmt: skip

# modules that read no text of strangers, by the last part of their names, and what they read
TRUSTED = {
    "add_account": "the command line",
    "catalogue": "our own statements",
    "postgres": "a path of our own",
    "server": "messages of our own Postgres",
    "openapi": "our own routes",
    "openapi_responses": "our own routes",
    "database_url": "the settings",
    "statements": "our own statements",
    "readiness": "the words of Postgres",
    "schema_comparison": "the catalogue of Postgres",
    "fields": "the settings",
    "name_server": "the settings",
}
# patterns that get only short texts
BOUNDED = {
    "id_token._ADDRESS": "a name of 320 characters",
    "providers._LABEL": "a label of 63 characters",
    "autoconfig._HOST_NAME": "a name of 253 characters",
    "arguments._SECTION": "a section that our own modules ask for",
    "uuencode._BEGIN": "a line of 1,000 bytes",
    "uuencode._NOT_ALPHABET": "a line of 63 bytes",
    "base64_lines._TOKEN": "1,000 bytes of a line",
    "base64_lines._WORD": "1,000 bytes of a line",
    "readable_text._ODD": "400 bytes of a text",
    "readable_text._ODD_PAIR": "400 bytes of a text",
    "readable_text._HAN": "400 bytes of a text",
    "readable_text._OTHER_LARGE": "400 bytes of a text",
    "content_fields._NOT_WORD": "200 characters of an encoding",
    **{
        f"date_reader.{name}": "200 characters of a date"
        for name in vars(date_reader)
        if isinstance(getattr(date_reader, name), re.Pattern)
    },
    "charset_names._NOT_NAME": "64 characters of a charset",
    "charset_names._WORD": "64 characters of a charset",
}
TRUSTED_FUNCTIONS = {
    "crypto.key_id": "the settings",
    "folder_roles.is_inbox": "only compares",
}
# these search for secrets passed to `keep_secret`
TRUSTED_CALLS = {"secret_forms": "secrets of our own"}

LARGE = 1024 * 1024


@pytest.mark.parametrize("entry", TABLE, ids=str)
def test_the_worst_texts_take_linear_time(entry: Reads) -> None:
    for worst in entry.worst:
        measured = growth(entry.read, worst)
        assert measured.is_linear, f"{entry}: {worst}: {measured}"


@pytest.mark.long
@pytest.mark.parametrize("entry", TABLE, ids=str)
def test_the_worst_texts_take_linear_time_where_they_are_very_long(entry: Reads) -> None:
    # a function that repeatedly copies the rest of the text looks linear on short texts
    for worst in entry.worst:
        measured = growth(entry.read, worst, least=0.01, largest=LARGE)
        assert measured.is_linear, f"{entry}: {worst}: {measured}"


def _random(entry: Reads) -> st.SearchStrategy[Worst]:
    pieces = st.sampled_from([*entry.words, *MARKS])
    around = st.lists(pieces, max_size=3).map(b"".join)
    return st.builds(Worst, around, st.lists(pieces, min_size=1, max_size=4).map(b"".join), around)


def _try_random(entry: Reads, examples: int) -> None:
    @settings(
        derandomize=True, deadline=None, max_examples=examples, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(_random(entry))
    def takes_linear_time(worst: Worst) -> None:
        measured = growth(entry.read, worst, least=0.0002)
        assert measured.is_linear, f"{entry}: {worst}: {measured}"

    takes_linear_time()


@pytest.mark.parametrize("entry", TABLE, ids=str)
def test_random_texts_take_linear_time(entry: Reads) -> None:
    _try_random(entry, 2 if entry in CLIENTS else 5)


@pytest.mark.long
@pytest.mark.parametrize("entry", TABLE, ids=str)
def test_many_random_texts_take_linear_time(entry: Reads) -> None:
    _try_random(entry, 20)


# -- nothing is missing ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seen() -> discovery.Seen:
    """The patterns and functions that are used when each text of the table is read once."""
    with discovery.watching() as found:
        for entry in TABLE:
            for worst in entry.worst:
                discovery.forget()
                with suppress(Exception):
                    entry.read(worst.of(discovery.LONG))
            with discovery.noting_calls(found), suppress(Exception):
                entry.read(entry.worst[0].of(1))
    return found


def test_every_pattern_gets_a_long_text_from_a_line_of_the_table(seen: discovery.Seen) -> None:
    missing = [
        name
        for name, pattern in discovery.patterns().items()
        if name.partition(".")[0] not in TRUSTED and name not in BOUNDED
        if seen.lengths.get(id(pattern), 0) < discovery.MUCH
    ]
    assert not missing, f"Add lines to the tables in tests/unit/growing that use these patterns: {missing}"


def test_every_function_that_takes_bytes_is_called_by_a_line_of_the_table(seen: discovery.Seen) -> None:
    missing = [
        name
        for name, function in discovery.functions().items()
        if function.__code__ not in seen.codes and name not in TRUSTED_FUNCTIONS
    ]
    assert not missing, f"Add lines to the tables in tests/unit/growing that call these: {missing}"


def test_patterns_for_text_of_strangers_are_compiled_at_module_level() -> None:
    hidden = discovery.patterns_in_functions() - TRUSTED.keys() - TRUSTED_CALLS.keys()
    assert not hidden, f"Compile these patterns at module level: {hidden}"


def test_every_exception_still_exists() -> None:
    names = {module.__name__.rpartition(".")[2] for module in discovery.modules()}
    assert names >= TRUSTED.keys() | TRUSTED_CALLS.keys()
    assert discovery.functions().keys() >= TRUSTED_FUNCTIONS.keys()
    assert discovery.patterns().keys() >= BOUNDED.keys()


# -- the measuring --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "worst"),
    [
        (rb"\s*\[(\w+)([^\]]*)\]", Worst(b"[", b"a")),
        (rb"\s*x", Worst(b"", b" ")),
        (rb"(a|aa)+b", Worst(b"", b"a")),
    ],
)
def test_more_than_linear_time_is_detected(pattern: bytes, worst: Worst) -> None:
    assert not growth(re.compile(pattern).search, worst).is_linear


def test_repeated_copying_is_detected_in_a_long_text() -> None:
    def read(raw: bytes) -> None:
        while raw:
            raw = raw[16:]

    assert not growth(read, Worst(b"", b"a"), least=0.005, largest=LARGE).is_linear


@pytest.mark.parametrize("worst", [Worst(b"", b"a"), Worst(b"x", b" y")])
def test_linear_time_is_accepted(worst: Worst) -> None:
    assert growth(lambda raw: [byte for byte in raw if byte], worst).is_linear
