"""The order of SRV records, and names as DNS has them."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsync.server_lookup.dns import Service, in_order, to_ascii

small = st.integers(0, 5)
services = st.lists(
    st.builds(Service, small, st.integers(0, 65535), small, st.sampled_from("ab")), max_size=8
)


@given(services, st.integers(0, 9))
def test_every_record_comes_once_by_priority(records: list[Service], seed: int) -> None:
    ordered = list(in_order(records, random.Random(seed)))
    assert Counter(ordered) == Counter(records)
    assert [record.priority for record in ordered] == sorted(record.priority for record in records)


@given(services, st.integers(0, 9), st.randoms(use_true_random=False))
def test_the_order_of_the_answer_does_not_matter(
    records: list[Service], seed: int, chance: random.Random
) -> None:
    shuffled = chance.sample(records, len(records))
    assert list(in_order(records, random.Random(seed))) == list(in_order(shuffled, random.Random(seed)))


def test_weights_are_shares() -> None:
    records = [Service(0, weight, 993, f"w{weight}") for weight in (0, 10, 30, 60)]
    chance = random.Random(7)
    first = Counter(next(in_order(records, chance)).weight for _ in range(5000))
    assert 0 < first[0] < 150
    assert 400 < first[10] < 650
    assert 1350 < first[30] < 1650
    assert 2800 < first[60] < 3200


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("Example.TEST", "example.test"),
        ("bücher.test", "xn--bcher-kva.test"),
        ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
        ("a" * 64 + ".test", None),
        ("a..test", None),
        ("a." * 130, None),
    ],
)
def test_domains_are_asked_for_in_ascii(domain: str, expected: str | None) -> None:
    assert to_ascii(domain) == expected
