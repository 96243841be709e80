"""The page of the journal's events is made from the code, and posts what it says."""

from __future__ import annotations

import re
from collections import defaultdict

import msgspec
import pytest
from proof.sim import simulate
from tools.docs.events import KINDS, STATES, records, reference, tag_of
from tools.docs.postings import POSTS

from gearing.core.holder import ACCOUNTS
from gearing.core.ledger import MONEY, UNITS
from gearing.drive.effects import Effects

from tools.docs.examples import PAGES  # isort: skip

(PAGE,) = [page.read_text(encoding="utf-8") for page in PAGES if page.name == "journal-events.md"]


@pytest.mark.parametrize("room", KINDS)
def test_every_kind_of_event_is_listed_with_its_fields_and_what_it_posts(room):
    for kind in KINDS[room]:
        section = PAGE.split(f"### `{tag_of(kind)}` {{ #{room}-{tag_of(kind)} }}")[1].split("\n### ")[0]
        assert "**Posts**" in section
        for field in msgspec.structs.fields(kind):
            assert field.name == "time_ms" or f"- `{field.name}` (" in section, (tag_of(kind), field.name)
        assert room in {"book", "flows"} or tag_of(kind) in POSTS[room]
    assert set(POSTS[room]) <= {tag_of(kind) for kind in KINDS[room]}
    assert reference(room) in PAGE


@pytest.mark.parametrize("room", STATES)
def test_every_record_of_a_state_is_listed(room):
    assert records(room) in PAGE
    for field in msgspec.structs.fields(STATES[room]):
        assert f"- `{field.name}` (" in PAGE.split(f"#### `{STATES[room].__name__}`")[1].split("\n#### ")[0]


def test_every_account_is_explained():
    for account in (*MONEY, *UNITS, *ACCOUNTS):
        assert f"`{account}`" in PAGE.split("## How a state is hashed")[0], account


def named(room, tag):
    """The accounts that the page names for an event."""
    return set(re.findall(r"`([\w-]+)`", POSTS[room].get(tag, "")))


def test_an_event_posts_to_the_accounts_that_are_named_and_to_no_other(monkeypatch):
    posted, append = defaultdict(set), Effects.append

    def seen(self, stream, head, time_ms, line, body):
        room = stream.partition(":")[0]
        for posting in getattr(line, "entry", ()):
            where = posting.account.rpartition(":")[2]
            if room == "holder" and where not in ACCOUNTS:
                where = "fees-TOKEN" if where.startswith("fees-") else "TOKEN"
            posted[room, tag_of(type(line.event))].add(where)
        return append(self, stream, head, time_ms, line, body)

    monkeypatch.setattr(Effects, "append", seen)
    for seed in (61, 70, 77):
        simulate(seed, hours=3.0)
    assert len(posted) > 12
    for (room, tag), accounts in posted.items():
        assert accounts <= named(room, tag), (room, tag, accounts - named(room, tag))
