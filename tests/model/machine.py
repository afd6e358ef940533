"""Random stories: hypothesis chooses the actions, and finds the shortest story that fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.model.story import CLIENTS, DATES, FLAGS, NAMES, Story
from tests.model.worker import EXTENSIONS, Conditions
from tests.support.imap_server import ImapServer, User


@dataclass
class World:
    """The servers of a run, and the number of actions in all of its stories."""

    database_url: str
    server: ImapServer
    new_user: Callable[[], User]
    done: Counter[str] = field(default_factory=Counter)
    most_turns: int = 0

    @property
    def actions(self) -> int:
        """The number of clients' actions."""
        return sum(count for kind, count in self.done.items() if kind not in ABOUT_THE_WORKER)


ABOUT_THE_WORKER = frozenset({"tick", "one turn", "full", "death", "in the middle of a turn"})
DEATHS = ("lose_sessions", "lose_database", "restart", "cut_imap", "cut_database")

clients = st.integers(0, CLIENTS - 1)
names = st.sampled_from(NAMES)
# most actions choose a folder that has mail
busy = st.sampled_from(("INBOX", "Alpha", *NAMES))
picks = st.lists(st.integers(0, 11), min_size=1, max_size=4)
flags = st.lists(st.sampled_from(FLAGS), max_size=3, unique=True)
kinds = st.sampled_from(("unique", "unique", "unique", "double", "nameless"))
sizes = st.sampled_from((0, 1, 80, 5_000))
turns = st.sampled_from(("hot", "fill"))
conditions = st.builds(
    Conditions,
    disabled_capabilities=st.sets(st.sampled_from(EXTENSIONS)).map(frozenset),
    push=st.sampled_from(("notify", "idle", "off")),
    batch=st.sampled_from((500, 50, 7, 1)),
    limit=st.sampled_from((300.0, 300.0, 300.0, 0.0)),
    grace=st.sampled_from((7, 0)),
    round=st.sampled_from((5, 2)),
)


def machine(world: World) -> type[RuleBasedStateMachine]:
    """The machine whose stories play in `world`."""

    class Machine(RuleBasedStateMachine):
        story: Story

        @initialize(conditions=conditions)
        def begin(self, conditions: Conditions) -> None:
            self.story = Story(world.database_url, world.server, world.new_user(), conditions)
            self.story.begin()

        def teardown(self) -> None:
            if not hasattr(self, "story"):
                return
            try:
                if not self.story.is_wrong:
                    self.story.tick()
            finally:
                world.done += self.story.done
                if self.story.conditions.limit:
                    world.most_turns = max(world.most_turns, self.story.worker.most_turns)
                self.story.close()

        @rule(who=clients, name=busy, kind=kinds, flags=flags, date=st.sampled_from(DATES), size=sizes)
        def append(self, **given: Any) -> None:
            self.story.append(**given)

        @rule(who=clients, name=busy, kind=kinds, flags=flags, date=st.sampled_from(DATES), size=sizes)
        def append_another(self, **given: Any) -> None:
            self.story.append(**given)

        @rule(
            who=clients,
            name=busy,
            picks=picks,
            flags=flags,
            how=st.sampled_from(("+FLAGS", "-FLAGS", "FLAGS")),
        )
        def store(self, **given: Any) -> None:
            self.story.store(**given)

        @rule(who=clients, name=busy, picks=picks)
        def expunge(self, **given: Any) -> None:
            self.story.expunge(**given)

        @rule(who=clients, name=busy, picks=picks, to=names, how=st.sampled_from(("MOVE", "COPY")))
        def transfer(self, **given: Any) -> None:
            self.story.transfer(**given)

        @rule(who=clients, name=names)
        def delete(self, **given: Any) -> None:
            self.story.delete(**given)

        @rule(who=clients, name=names, keep=st.sampled_from(("all", "reversed", "none")))
        def recreate(self, **given: Any) -> None:
            self.story.recreate(**given)

        @rule(who=clients, old=names, new=names)
        def rename(self, **given: Any) -> None:
            self.story.rename(**given)

        @rule(who=clients, old=names, new=names, ticked=st.booleans())
        def rename_and_back(self, who: int, old: str, new: str, ticked: bool) -> None:
            self.story.rename(who, old, new)
            if ticked:
                self.story.tick()
            self.story.rename(who, new, old)

        @rule(who=clients, one=names, other=names)
        def swap(self, **given: Any) -> None:
            self.story.swap(**given)

        @rule(name=busy)
        def flood(self, name: str) -> None:
            if self.story.done["flood"] < 2:
                self.story.flood(name)

        @rule(who=clients, name=busy, spared=st.sampled_from((0, 1, 3)))
        def empty(self, **given: Any) -> None:
            self.story.empty(**given)

        @rule()
        def tick(self) -> None:
            self.story.tick()

        @rule(kind=st.sampled_from(("hot", "fill", "full")))
        def one_turn(self, kind: str) -> None:
            if kind == "full":
                self.story.full()
            else:
                self.story.one_turn(kind)

        @rule(how=st.sampled_from(DEATHS), count=st.integers(1, 6_000), kind=turns)
        def die(self, **given: Any) -> None:
            self.story.die(**given)

        @rule(
            kind=turns,
            moment=st.integers(1, 12),
            action=st.sampled_from(
                ("append", "store", "expunge", "transfer", "delete", "recreate", "rename")
            ),
            name=busy,
            to=names,
        )
        def interfere(self, kind: str, moment: int, action: str, name: str, to: str) -> None:
            given: dict[str, tuple[Any, ...]] = {
                "append": ("unique", ("\\Flagged",), DATES[1], 7),
                "store": ((0, 3), ("\\Seen", "later"), "+FLAGS"),
                "expunge": ((0, 1, 5),),
                "transfer": ((1, 2), to, "MOVE"),
                "recreate": ("all",),
                "rename": (to,),
            }
            act = getattr(self.story, action)
            self.story.interfere(kind, moment, lambda: act(0, name, *given.get(action, ())))

    return Machine
