"""The collector is killed under load, again and again, and restarted on what it left."""

import os
import random
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import orjson

from llm_assets.feedback import unassigned
from llm_assets.feedback.log import Log
from tests.feedback.collecting import a_process, feedback, installation_in, interactions
from tests.records import an_interaction

NUM_CLIENTS = 4


@dataclass
class Load:
    """Clients that send on and on, and send again what was not acknowledged."""

    url: str = ""
    acknowledged: set[str] = field(default_factory=set)
    num_sent_again: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def send(self, client_name: str) -> None:
        """Send batches of interactions; of every third one's first the feedback comes before it."""
        number = 0
        with httpx.Client(timeout=10) as client:
            while not self.stop.is_set():
                number += 1
                batch = f"{client_name}-{number}"
                names = [f"r-{batch}-{i}" for i in range(1 + number % 4)]
                if number % 3 == 0:
                    thumb = {"request_id": names[0], "feedback_id": f"f-{batch}"}
                    body = orjson.dumps({**thumb, "kind": "thumb", "value": 1})
                    self._until_acknowledged(client, "/v1/feedback", body, [f"f-{batch}"])
                lines = [an_interaction(name).to_json() for name in names]
                self._until_acknowledged(client, "/v1/interactions", b"\n".join(lines), names)

    def _until_acknowledged(
        self, client: httpx.Client, path: str, body: bytes, names: list[str]
    ) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                response = client.post(f"{self.url}{path}", content=body)
            except httpx.TransportError:
                assert time.monotonic() < deadline
                self.num_sent_again += 1
                time.sleep(0.02)
                continue
            assert response.status_code == 200, response.text
            self.acknowledged.update(names)
            return


def crash(folder: Path, *, num_rounds: int, seed: int) -> None:
    """Kill the collector so many times under load, then check what the logs hold."""
    chance = random.Random(seed)
    installation = installation_in(folder)
    load = Load()
    with ThreadPoolExecutor(NUM_CLIENTS) as pool:
        clients = []
        try:
            for number in range(num_rounds):
                with a_process(installation) as (process, load.url):
                    clients = clients or [
                        pool.submit(load.send, f"{number}-{i}") for i in range(NUM_CLIENTS)
                    ]
                    before = len(load.acknowledged)
                    time.sleep(chance.uniform(0.1, 0.6))
                    while len(load.acknowledged) == before and not any(c.done() for c in clients):
                        time.sleep(0.01)
                    os.kill(process.pid, signal.SIGKILL)
                    process.wait()
                tear(installation.home, chance)
            with a_process(installation) as (_, load.url):
                load.stop.set()
                for client in clients:
                    client.result(timeout=30)
        finally:
            load.stop.set()
    assert load.num_sent_again >= num_rounds
    kept = Counter(record.request_id for record in interactions(installation))
    kept += Counter(record.feedback_id for record in feedback(installation))
    assert {name: number for name, number in kept.items() if number > 1} == {}
    assert set(kept) == load.acknowledged
    # Every request has arrived by now, so no feedback waits for one.
    assert unassigned.read(installation.home) == []


def tear(home: Path, chance: random.Random) -> None:
    """Leave what a crash in the middle of a write leaves: a record that lacks its end."""
    for log in (Log.interactions(home), Log.feedback(home), unassigned.unassigned_log(home)):
        segments = [segment for day in log.partitions() for segment in log.segments(day)]
        if segments:
            line = an_interaction(f"r-torn-{chance.random()}").to_json()
            with chance.choice(segments).open("ab") as file:
                file.write(line[: chance.randint(1, len(line))])


def test_kill_9_under_load_loses_nothing_acknowledged_and_keeps_nothing_twice(
    tmp_path: Path,
) -> None:
    crash(tmp_path, num_rounds=5, seed=7)
