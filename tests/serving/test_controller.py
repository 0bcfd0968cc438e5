"""The controller with everything real but the API process: Envoy, engines, and the registry."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from llm_assets.base_model import BaseModelFile
from llm_assets.manifest import ModelManifest
from llm_assets.routing import Split
from llm_assets.serving.config import ServingConfig
from llm_assets.serving.controller import Controller
from llm_assets.serving.gateway import Gateway
from llm_assets.serving.served import ServedApplication
from llm_assets.serving.status import Endpoint, ServingStatus
from llm_assets.tokens import INTERNAL_TOKEN, Tokens
from tests.serving.fakes import FakeApi

ONE, TWO = "helpdesk-v0001", "helpdesk-v0002"
ASK = {"model": "helpdesk", "messages": [{"role": "user", "content": "Who wrote Faust?"}]}
NOTHING = Endpoint(model_version=None, variant="champion", port=None, ready=False, error=None)
SERVING = ServingConfig(
    max_tokens=4, context_tokens=128, threads=1, parallel_requests=2, quantization="F16"
)


@dataclass
class World:
    """A home with two model versions, and traffic split as `splits` says."""

    home: Path
    base_model: BaseModelFile
    api: FakeApi
    splits: dict[str, Split] = field(default_factory=lambda: {"helpdesk": Split(champion=ONE)})
    gateway: Gateway = field(init=False)
    controller: Controller = field(init=False)

    def __post_init__(self) -> None:
        # The model serves as it is: preparing it takes seconds and is tested elsewhere.
        prepared = self.home / "models" / "base" / self.base_model.sha256[:12] / "F16.gguf"
        prepared.parent.mkdir(parents=True)
        prepared.symlink_to(self.base_model.path)
        for version in (ONE, TWO):
            self.add_version(version, self.base_model.sha256)
        run = self.home / "run"
        address = ("127.0.0.1", self.api.port)
        self.gateway = Gateway(self.home / "gateway", run / "log", "127.0.0.1", 0, address)
        self.controller = Controller(
            home=self.home,
            applications=[
                ServedApplication(
                    application="helpdesk", base_model=self.base_model, serving=SERVING
                )
            ],
            split=self.splits.get,
            gateway=self.gateway,
            collector_url=self.api.url,
            drain_seconds=0.5,
        )

    def add_version(self, version: str, base_model_sha256: str) -> None:
        ModelManifest(
            model_version=version,
            application="helpdesk",
            base_model_sha256=base_model_sha256,
            created_at=datetime.now(UTC),
            code_version="test",
        ).write(self.home / "models" / version)

    @property
    def status(self) -> Endpoint:
        return ServingStatus.read(self.home).applications.get("helpdesk", NOTHING)

    def ask(self, token: str | None = None) -> httpx.Response:
        url = f"http://127.0.0.1:{self.gateway.port}/v1/chat/completions"
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return httpx.post(url, json=ASK, timeout=30, headers=headers)

    def reconcile_until(self, condition: Callable[[], bool], *, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while True:
            self.controller.reconcile()
            if condition():
                return
            assert time.monotonic() < deadline, self.status
            time.sleep(0.05)

    def serves(self, version: str) -> Callable[[], bool]:
        return lambda: self.status.ready and self.status.model_version == version

    @contextmanager
    def running(self) -> Iterator["World"]:
        self.gateway.start()
        try:
            yield self
        finally:
            self.controller.stop()


@pytest.fixture
def world(tmp_path: Path, tiny_base_model: BaseModelFile, api: FakeApi) -> Iterator[World]:
    with World(tmp_path, tiny_base_model, api).running() as world:
        yield world


def servers_of(home: Path) -> list[int]:
    """Return the processes that have a file of this home on their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if str(home) in (entry / "cmdline").read_text():
                found.append(int(entry.name))
        except (OSError, ValueError):
            continue
    return found


def test_the_champion_serves_and_a_new_one_takes_over_without_a_failed_request(
    world: World,
) -> None:
    world.reconcile_until(world.serves(ONE))
    answers: Counter[tuple[int, str]] = Counter()
    is_done = threading.Event()

    def load() -> None:
        while not is_done.is_set():
            answer = world.ask()
            answers[answer.status_code, answer.headers["x-llm-assets-model-version"]] += 1

    clients = [threading.Thread(target=load) for _ in range(3)]
    for client in clients:
        client.start()
    for champion in (TWO, ONE):
        world.splits["helpdesk"] = Split(champion=champion)
        world.reconcile_until(world.serves(champion))
        world.reconcile_until(lambda: len(world.controller.model_versions) == 1)
    is_done.set()
    for client in clients:
        client.join()
    assert answers.keys() == {(200, ONE), (200, TWO)}
    records = world.api.waits_for(answers.total())
    assert Counter(record.model_version for record in records) == {
        version: count for (_, version), count in answers.items()
    }


def test_on_a_public_host_a_model_answers_to_tokens_and_shows_the_collector_its_own(
    world: World,
) -> None:
    world.controller.token_home = world.home
    world.controller.environment = {INTERNAL_TOKEN: "la_internal"}
    world.reconcile_until(world.serves(ONE))
    tokens, now = Tokens(world.home), datetime.now(UTC)
    of_helpdesk, of_bank = (tokens.create(name, now=now) for name in ("helpdesk", "bank"))
    statuses = [world.ask(token).status_code for token in (None, "la_wrong", of_bank, of_helpdesk)]
    assert statuses == [401, 401, 403, 200]
    # The smoke test of a rollout shows it as well.
    assert world.ask("la_internal").status_code == 200
    assert [record.status for record in world.api.waits_for(2)] == [200, 200]
    assert world.api.authorizations == {"Bearer la_internal"}


def test_a_killed_model_server_comes_back_at_its_port(world: World) -> None:
    world.reconcile_until(world.serves(ONE))
    port, [pid] = world.status.port, servers_of(world.home / "run" / "models")
    os.kill(pid, signal.SIGKILL)
    world.reconcile_until(lambda: not world.status.ready)
    world.reconcile_until(world.serves(ONE))
    assert world.status.port == port
    assert servers_of(world.home / "run" / "models") != [pid]
    assert world.ask().status_code == 200


def test_a_killed_gateway_comes_back_with_its_routes(world: World) -> None:
    world.reconcile_until(world.serves(ONE))
    assert world.gateway.child.pid is not None
    os.kill(world.gateway.child.pid, signal.SIGKILL)
    world.reconcile_until(lambda: not world.status.ready)
    world.reconcile_until(world.serves(ONE))
    assert world.ask().status_code == 200


def test_a_candidate_that_cannot_start_leaves_the_champion_in_place(world: World) -> None:
    world.reconcile_until(world.serves(ONE))
    world.add_version("helpdesk-v0003", "0" * 64)
    world.splits["helpdesk"] = Split(champion="helpdesk-v0003")
    world.reconcile_until(lambda: world.status.error is not None)
    assert "made for the base model 000000000000" in (world.status.error or "")
    assert world.status.model_version == ONE
    assert world.ask().status_code == 200
    world.splits["helpdesk"] = Split(champion=ONE)
    world.reconcile_until(lambda: world.status.error is None)


def test_a_server_that_dies_at_start_is_named_with_its_last_words(world: World) -> None:
    world.reconcile_until(world.serves(ONE))
    folder = world.home / "models" / "helpdesk-v0003"
    world.add_version(folder.name, world.base_model.sha256)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter.gguf").write_bytes(b"torn")
    world.splits["helpdesk"] = Split(champion=folder.name)
    world.reconcile_until(lambda: "the engine cannot load it" in (world.status.error or ""))
    assert world.status.model_version == ONE
    assert world.ask().status_code == 200


def test_without_a_champion_the_endpoint_says_so(world: World) -> None:
    world.splits.clear()
    world.reconcile_until(lambda: world.status.error == "no champion yet")
    answer = world.ask()
    assert answer.status_code == 503
    assert "no model version serves application 'helpdesk' yet" in answer.text


def test_stopping_leaves_no_process_and_no_record_behind(
    tmp_path: Path, tiny_base_model: BaseModelFile, api: FakeApi
) -> None:
    world = World(tmp_path, tiny_base_model, api)
    stop = threading.Event()
    running = threading.Thread(target=world.controller.run, args=(stop,))
    running.start()
    while not world.status.ready:
        time.sleep(0.05)
    assert world.ask().status_code == 200
    stop.set()
    running.join()
    assert servers_of(tmp_path) == []
    assert len(api.interactions) == 1
    assert not world.status.ready


def test_a_killed_controller_leaves_no_orphans(
    tmp_path: Path, tiny_base_model: BaseModelFile, api: FakeApi
) -> None:
    program = f"""
import threading
from pathlib import Path
from llm_assets.base_model import BaseModelFile
from tests.serving.fakes import FakeApi
from tests.serving.test_controller import World
api = FakeApi()
api.port = {api.port}
World(Path({str(tmp_path)!r}), BaseModelFile(Path({str(tiny_base_model.path)!r})), api
    ).controller.run(threading.Event())
"""
    with subprocess.Popen([sys.executable, "-c", program]) as controller:
        deadline = time.monotonic() + 60
        while not ServingStatus.read(tmp_path).applications.get("helpdesk", NOTHING).ready:
            assert controller.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert len([pid for pid in servers_of(tmp_path) if pid != controller.pid]) == 2
        controller.kill()
    deadline = time.monotonic() + 10
    while servers_of(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert servers_of(tmp_path) == []
