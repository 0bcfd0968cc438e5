import tempfile
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from llm_assets.deployment.registry import Registry
from llm_assets.errors import UserError

START = datetime(2026, 5, 1, tzinfo=UTC)
VERSIONS = [f"helpdesk-v{number:04d}" for number in range(1, 5)]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path)


def register(registry: Registry, *versions: str) -> None:
    for version in versions:
        registry.register("helpdesk", version, time=START, reason="gate passed", run_id="run1")


def promote(registry: Registry, version: str, *, hours: int = 0) -> None:
    time = START + timedelta(hours=hours)
    registry.promote("helpdesk", version, time=time, reason="better", run_id="run1")


def test_an_application_without_an_entry_has_no_champion(registry: Registry) -> None:
    assert registry.champion("helpdesk") is None
    assert registry.history("helpdesk") == ()
    assert registry.served_at("helpdesk", START) is None


def test_an_unregistered_version_cannot_be_promoted(registry: Registry) -> None:
    with pytest.raises(
        UserError, match="helpdesk-v0009: not registered for application 'helpdesk'"
    ):
        promote(registry, "helpdesk-v0009")
    assert registry.champion("helpdesk") is None


def test_rolling_back_returns_to_the_champion_before(registry: Registry) -> None:
    register(registry, *VERSIONS)
    for version in VERSIONS[:3]:
        promote(registry, version)
    assert registry.roll_back("helpdesk", time=START, reason="worse") == VERSIONS[1]
    assert registry.roll_back("helpdesk", time=START, reason="worse") == VERSIONS[0]
    with pytest.raises(UserError, match="'helpdesk' has no earlier champion"):
        registry.roll_back("helpdesk", time=START, reason="worse")
    assert registry.champion("helpdesk") == VERSIONS[0]


def test_the_history_tells_who_served_when_and_why(registry: Registry) -> None:
    register(registry, *VERSIONS[:2])
    promote(registry, VERSIONS[0], hours=1)
    promote(registry, VERSIONS[1], hours=5)
    registry.roll_back("helpdesk", time=START + timedelta(hours=8), reason="slow", run_id="run2")
    served = [registry.served_at("helpdesk", START + timedelta(hours=h)) for h in (0, 1, 6, 9)]
    assert served == [None, VERSIONS[0], VERSIONS[1], VERSIONS[0]]
    last = registry.history("helpdesk")[-1]
    assert (last.action, last.reason, last.run_id) == ("roll_back", "slow", "run2")


def test_doing_it_twice_changes_nothing(registry: Registry) -> None:
    for _ in range(2):
        register(registry, VERSIONS[0])
        promote(registry, VERSIONS[0])
    assert [step.action for step in registry.history("helpdesk")] == ["register", "promote"]


def test_applications_do_not_share_an_entry(registry: Registry) -> None:
    register(registry, VERSIONS[0])
    with pytest.raises(UserError, match="not registered for application 'other'"):
        registry.promote("other", VERSIONS[0], time=START, reason="", run_id=None)


def test_a_damaged_file_is_named(registry: Registry) -> None:
    register(registry, VERSIONS[0])
    path = registry.root / "helpdesk.json"
    path.write_text(path.read_text().replace('"champion"', '"king"'))
    with pytest.raises(UserError, match=r"helpdesk\.json: king"):
        registry.champion("helpdesk")


def test_writers_in_several_processes_lose_nothing(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("forkserver")) as pool:
        list(pool.map(_register_many, [(tmp_path, writer) for writer in range(4)]))
    assert len(Registry(tmp_path).entry("helpdesk").versions) == 40


def _register_many(task: tuple[Path, int]) -> None:
    root, writer = task
    for number in range(10):
        register(Registry(root), f"helpdesk-v{writer}{number:03d}")


class RegistryAgainstAList(RuleBasedStateMachine):
    """The registry does what a list of standing promotions does."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.hours = 0
        self.registered: set[str] = set()
        self.standing: list[str] = []
        self.served: list[str | None] = [None]

    @property
    def registry(self) -> Registry:
        return Registry(Path(self.folder.name))

    def tick(self) -> datetime:
        self.hours += 1
        return START + timedelta(hours=self.hours)

    @rule(version=st.sampled_from(VERSIONS))
    def register(self, version: str) -> None:
        self.registry.register("helpdesk", version, time=self.tick(), reason="", run_id=None)
        self.registered.add(version)
        self.served.append(self.champion)

    @rule(version=st.sampled_from(VERSIONS))
    def promote(self, version: str) -> None:
        time = self.tick()
        if version in self.registered:
            self.registry.promote("helpdesk", version, time=time, reason="", run_id=None)
            if version != self.champion:
                self.standing.append(version)
        else:
            with pytest.raises(UserError):
                self.registry.promote("helpdesk", version, time=time, reason="", run_id=None)
        self.served.append(self.champion)

    @precondition(lambda self: len(self.standing) > 1)
    @rule()
    def roll_back(self) -> None:
        self.standing.pop()
        before = self.registry.roll_back("helpdesk", time=self.tick(), reason="")
        assert before == self.champion
        self.served.append(self.champion)

    @property
    def champion(self) -> str | None:
        return self.standing[-1] if self.standing else None

    @invariant()
    def the_champion_is_the_last_standing_promotion(self) -> None:
        assert self.registry.champion("helpdesk") == self.champion

    @invariant()
    def the_champion_is_registered(self) -> None:
        entry = self.registry.entry("helpdesk")
        assert entry.champion is None or entry.champion in entry.versions
        assert set(entry.versions) == self.registered

    @invariant()
    def the_past_stays_as_it_was(self) -> None:
        for hours, champion in enumerate(self.served):
            time = START + timedelta(hours=hours, minutes=30)
            assert self.registry.served_at("helpdesk", time) == champion

    def teardown(self) -> None:
        self.folder.cleanup()


TestRegistryAgainstAList = RegistryAgainstAList.TestCase
TestRegistryAgainstAList.settings = settings(max_examples=20, stateful_step_count=15, deadline=None)
