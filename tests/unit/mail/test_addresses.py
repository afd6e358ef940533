"""Address lists, well made and otherwise."""

from __future__ import annotations

from email.utils import getaddresses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsync.mail.addresses import parse_addresses
from mailsync.mail.headers import parse_headers
from mailsync.mail.mailboxes import MAX_ADDRESSES

FUZZ = settings(derandomize=True, deadline=None, max_examples=300, database=None)

Mailbox = tuple[str | None, str]


def mailboxes(text: str) -> list[Mailbox]:
    addresses = parse_addresses(text)
    assert len(addresses.names) == len(addresses.emails)
    return list(zip(addresses.names, addresses.emails, strict=True))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # the name after the address, or around it
        ("<ann@x> (Ann Bell)", [("Ann Bell", "ann@x")]),
        ("(Ann Bell) <ann@x>", [("Ann Bell", "ann@x")]),
        ("<ann@x> Ann Bell", [("Ann Bell", "ann@x")]),
        ("<ann@x>Ann, <bob@x> (Bob), c@x", [("Ann", "ann@x"), ("Bob", "bob@x"), (None, "c@x")]),
        ("Ann Bell (ann@x)", [("Ann Bell", "ann@x")]),
        ("ann@x <Ann Bell>", [("Ann Bell", "ann@x")]),
        ("Ann Bell ann@x, Bob <bob@x>", [("Ann Bell", "ann@x"), ("Bob", "bob@x")]),
        ('"Ann" ann@x', [("Ann", "ann@x")]),
        ("Ann <ann@x> bob@x", [("Ann", "ann@x"), (None, "bob@x")]),
        ("Ann<ann@x>bob@x, c@x", [("Ann", "ann@x"), (None, "bob@x"), (None, "c@x")]),
        ("<ann@x> bob@x <carl@x>", [(None, "ann@x"), ("bob@x", "carl@x")]),
        ("Ann (Sales) <ann@x>", [("Ann", "ann@x")]),
        # other brackets, and the form of links
        ("Ann Bell [mailto:ann@x]", [("Ann Bell", "ann@x")]),
        ("Ann Bell [ann@x]; [mailto:bob@x]", [("Ann Bell", "ann@x"), (None, "bob@x")]),
        ("ann@x [mailto:ann@x]", [("ann@x", "ann@x")]),
        ("Ann Bell [SMTP:ann@x]", [("Ann Bell", "ann@x")]),
        ("mailto:Ann Bell <ann@x>", [("Ann Bell", "ann@x")]),
        ("Ann Bell &lt;ann@x&gt;", [("Ann Bell", "ann@x")]),
        ("[External] Ann <ann@x>", [("[External] Ann", "ann@x")]),
        ('"Ann" <mailto:Ann@x?subject=hi>', [("Ann", "ann@x")]),
        ("Ann Bell <ann@x<mailto:ann@x>>", [("Ann Bell", "ann@x")]),
        ("ann@[192.0.2.1], b@x", [(None, "ann@[192.0.2.1]"), (None, "b@x")]),
        # names with commas that are not quoted
        ("Ida Roth, Dipl. Ing. <ida@x>", [("Ida Roth, Dipl. Ing.", "ida@x")]),
        ("Roth, Ida <ida@x>", [("Roth, Ida", "ida@x")]),
        ("Roth, Ida, Dr. <ida@x>, Bell, Ann <ann@x>", [("Roth, Ida, Dr.", "ida@x"), ("Bell, Ann", "ann@x")]),
        ("Roth, Ida <ida@x>; Bell, Ann <ann@x>;", [("Roth, Ida", "ida@x"), ("Bell, Ann", "ann@x")]),
        ("b@x, Roth, Ida <ida@x>, c@x", [(None, "b@x"), ("Roth, Ida", "ida@x"), (None, "c@x")]),
        ("Roth, Ida (ida@x)", [("Roth, Ida", "ida@x")]),
        ("=?utf-8?q?R=C3=B6th?=, Ida <ida@x>", [("Röth, Ida", "ida@x")]),
        ("root, ann@x", [(None, "root"), (None, "ann@x")]),
        ("root, Ann <ann@x>", [(None, "root"), ("Ann", "ann@x")]),
        ("Postmaster, ann@x", [(None, "postmaster"), (None, "ann@x")]),
        # names with colons, and groups, which a semicolon ends
        ("Lindenhof: Ein Haus <web@x>", [("Lindenhof: Ein Haus", "web@x")]),
        ("A: B: C, D <d@x>; e@x", [("A: B: C, D", "d@x"), (None, "e@x")]),
        ("team: Ann <ann@x>, bob@x;", [("Ann", "ann@x"), (None, "bob@x")]),
        ("team: Ann <ann@x>;, c@x", [("Ann", "ann@x"), (None, "c@x")]),
        ("team: a@x, b@x", [(None, "a@x"), (None, "b@x")]),
        ("undisclosed-recipients:;", []),
        ("undisclosed-recipients:", []),
        ("Undisclosed recipients : ;", []),
        ("<undisclosed-recipients:;>", []),
        # text that was quoted or encoded as a whole
        ('"Ann Bell <ann@x>"', [("Ann Bell", "ann@x")]),
        ('"Ann Bell ann@x"', [("Ann Bell", "ann@x")]),
        ('"a@x, B <b@x>"', [(None, "a@x"), ("B", "b@x")]),
        ('"Ann Bell <ann@x>" <ann@x>', [("Ann Bell", "ann@x")]),
        ("=?utf-8?q?Ann_=3Cann=40x=3E?=", [("Ann", "ann@x")]),
        ("=?utf-8?q?Ann?= =?utf-8?q?_=3Cann=40x=3E?=", [("Ann", "ann@x")]),
        ("=?utf-8?q?Roth,_Ida_=3Cida=40x=3E?=", [("Roth, Ida", "ida@x")]),
        ("=?utf-8?q?a=40x,_b=40y?=", [(None, "a@x"), (None, "b@y")]),
        ("=?utf-8?q?Roth,_Ida?= <ida@x>", [("Roth, Ida", "ida@x")]),
        ("=?utf-8?q?Boss_=3Cboss=40corp=3E?= <evil@x>", [("Boss <boss@corp>", "evil@x")]),
        # brackets and separators that are missing or wrong
        ("<<a@b>>", [(None, "a@b")]),
        ("Ann <a@b", [("Ann", "a@b")]),
        ("Ann a@b>, c@d", [("Ann", "a@b"), (None, "c@d")]),
        ("a@b; c@d", [(None, "a@b"), (None, "c@d")]),
        ("a@b c@d", [(None, "a@b"), (None, "c@d")]),
        ("a@b,,c@d, ,", [(None, "a@b"), (None, "c@d")]),
        ("Bob @ Work <b@x>", [("Bob @ Work", "b@x")]),
        ("< jo @ x.example >", [(None, "jo@x.example")]),
        ("'a@b', 'c@d'", [(None, "a@b"), (None, "c@d")]),
        # addresses of other systems
        ("MAILER-DAEMON", [(None, "mailer-daemon")]),
        ("Ann </O=X/OU=First Group (A1)/CN=Ann>", [("Ann", "/o=x/ou=first group (a1)/cn=ann")]),
        ("/c=de/a=x/s=ann/@gate.example", [(None, "/c=de/a=x/s=ann/@gate.example")]),
        ("Jö <jö@bücher.example>", [("Jö", "jö@bücher.example")]),
    ],
)
def test_a_list_is_read_whole(text: str, expected: list[Mailbox]) -> None:
    assert mailboxes(text) == expected
    assert not parse_addresses(text).problems


@pytest.mark.parametrize(
    ("text", "expected", "lone_name"),
    [
        ("a@b, Ann Bell <>, c@d", [(None, "a@b"), (None, "c@d")], "Ann Bell"),
        ("Ann Bell, bob@x", [(None, "bob@x")], "Ann Bell"),
        ("Ann Bell, <bob@x>", [(None, "bob@x")], "Ann Bell"),
        ('Ann Bell, "Bob" <bob@x>', [("Bob", "bob@x")], "Ann Bell"),
        ('"Bell, Ann", Bob <bob@x>', [("Bob", "bob@x")], "Bell, Ann"),
        ("Ann Bell; Bob <bob@x>", [("Bob", "bob@x")], "Ann Bell"),
        ("Ann <ann at x>, b@x", [(None, "b@x")], "Ann"),
        ("undisclosed recipients", [], "undisclosed recipients"),
        ("Roth, Ida", [], "Roth, Ida"),
        ("Roth, Ida, bob@x", [(None, "bob@x")], "Roth, Ida"),
        ("<Ann Bell>", [], "Ann Bell"),
        ("ann@, b@x", [(None, "b@x")], "ann@"),
        ("undisclosed-recipients:;@x", [], "@x"),
    ],
)
def test_an_entry_without_an_address_is_named_and_costs_no_other(
    text: str, expected: list[Mailbox], lone_name: str
) -> None:
    addresses = parse_addresses(text)
    assert (mailboxes(text), addresses.lone_name) == (expected, lone_name)
    assert addresses.problems == {"unreadable"}


def test_the_only_author_has_the_name_that_lost_its_address() -> None:
    headers = parse_headers(b"From: Ida Roth, <ida@x.example>\n")
    assert (headers.from_email, headers.from_name, headers.errors) == ("ida@x.example", "Ida Roth", ("from",))


def test_repeated_fields_are_separate_lists() -> None:
    headers = parse_headers(b"To: Some One\nTo: Ann <ann@x.example>\n")
    assert (headers.to_emails, headers.to_names, headers.errors) == (("ann@x.example",), ("Ann",), ("to",))


# -- well-made lists ------------------------------------------------------------------------------------

_ATEXT = "abcXYZ019!#$%&'*+-/=^_`{|}~"
_ATOMS = st.text(_ATEXT, min_size=1, max_size=8).filter(lambda text: "=?" not in text)
_DOTTED = st.lists(st.text("abcXYZ019-_+", min_size=1, max_size=8), min_size=1, max_size=3).map(".".join)
_ADDRESSES = st.builds("{}@{}.example".format, _DOTTED, _DOTTED)
_WORDS = st.lists(st.text("abcXYZäß会 019,.:;<>()[]'&", min_size=1, max_size=8).map(str.strip), max_size=3)
_NAMES = _WORDS.map(lambda words: " ".join(" ".join(words).split()))
_BLANKS = st.sampled_from(["", " ", "\t", "  "])


@st.composite
def _rendered(draw: st.DrawFn) -> tuple[str, list[Mailbox]]:
    """A well-made list, and its mailboxes."""
    entries, expected = [], []
    for name, email in draw(st.lists(st.tuples(_NAMES, _ADDRESSES), max_size=6)):
        before, after = draw(_BLANKS), draw(_BLANKS)
        if not name:
            text = draw(st.sampled_from([email, f"<{email}>"]))
        elif draw(st.booleans()):
            text = f'"{name}"{before}<{email}>'
        else:
            text = f"=?utf-8?q?{''.join(f'={byte:02X}' for byte in name.encode())}?= <{email}>"
        entries.append(before + text + after)
        expected.append((name or None, email.lower()))
    return ",".join(entries), expected


@FUZZ
@given(_rendered())
def test_a_well_made_list_is_read_as_it_was_written(made: tuple[str, list[Mailbox]]) -> None:
    text, expected = made
    assert mailboxes(text) == expected
    # the tolerant reader reads the same: a comment keeps the list from the regular expression
    assert mailboxes(f"(a),{text}") == expected
    assert mailboxes(f"group: {text};") == expected
    assert not parse_addresses(text).problems


@FUZZ
@given(
    st.lists(st.sampled_from([*'<>()[]:;,@"\\ ', "=?u?q?a=40x?=", "mailto:"]) | _ATOMS, max_size=30).map(
        "".join
    )
)
def test_any_text_is_a_list_of_addresses_that_are_not_empty(text: str) -> None:
    found = mailboxes(text)
    assert all(email for _, email in found)
    assert len(found) <= MAX_ADDRESSES


@FUZZ
@given(st.lists(_ADDRESSES, min_size=1, max_size=5), st.text('<>()[]:;,"\\ a', max_size=6))
def test_no_mailbox_is_lost_because_the_one_after_it_is_malformed(emails: list[str], junk: str) -> None:
    found = [email for _, email in mailboxes(", ".join(emails) + ", " + junk)]
    assert found[: len(emails)] == [email.lower() for email in emails]


# -- the standard library's reader ----------------------------------------------------------------------


def by_stdlib(text: str) -> list[Mailbox]:
    return [(name or None, email.lower()) for name, email in getaddresses([text]) if email]


@FUZZ
@given(_rendered().filter(lambda made: "=?" not in made[0]))
def test_the_standard_library_agrees_on_well_made_lists(made: tuple[str, list[Mailbox]]) -> None:
    assert mailboxes(made[0]) == by_stdlib(made[0])


@pytest.mark.parametrize(
    "text",
    [
        "Ann Bell <ann@x>",
        '"Bell, Ann" <ann@x>',
        "ann@x (Ann Bell)",
        "team: ann@x, bob@x;",
        "root",
        '"ann bell"@x',
        "<@relay:ann@x>",
        "Ann <ann@[192.0.2.1]>",
        "a@x,,b@x",
    ],
)
def test_the_standard_library_agrees(text: str) -> None:
    assert mailboxes(text) == by_stdlib(text)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("a comment after brackets is a name", "<ann@x> (Ann Bell)"),
        ("a comment beside a name is dropped", "Ann (Sales) <ann@x>"),
        ("a comma does not end a name", "Ida Roth, Dipl. Ing. <ida@x>"),
        ("a colon without a semicolon begins no group", "Lindenhof: Ein Haus <web@x>"),
        ("square brackets are brackets", "Ann Bell [mailto:ann@x]"),
        ("mailto: is no part of an address", "<mailto:ann@x>"),
        ("blanks separate", "a@x b@x"),
        ("a name in quotes may hold the address", '"Ann <ann@x>"'),
        ("words between blanks are no address", "Ann <Ann Bell>"),
    ],
)
def test_the_standard_library_differs_by_a_rule(rule: str, text: str) -> None:
    assert mailboxes(text) != by_stdlib(text), rule
