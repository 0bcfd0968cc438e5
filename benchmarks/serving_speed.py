"""How fast a server answered one load, and what that cost."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from serving_client import Body, Reply, ask
from serving_servers import CpuSeconds, Server, cpu_seconds, cpu_since

# The recorder hands over what it recorded after it has answered.
_SETTLE_SECONDS = 1.0


@dataclass
class Speed:
    """What one server did of one load, over all rounds."""

    replies: list[Reply] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    num_tokens: list[int] = field(default_factory=list)
    cpu: CpuSeconds = field(default_factory=dict)
    num_failed: int = 0

    def measure(self, server: Server, bodies: Sequence[Body], *, num_clients: int) -> None:
        """Ask a server once more."""
        before = cpu_seconds(server.pid)
        asked = ask(server.url, bodies, num_clients=num_clients, keeps=server.keeps_connections)
        time.sleep(_SETTLE_SECONDS)
        for part, seconds in cpu_since(server.pid, before).items():
            self.cpu[part] = self.cpu.get(part, 0.0) + seconds
        for problem in asked.problems[:1]:
            print(f"{server.name}: {len(asked.problems)} failed, the first with {problem}")
        self.num_failed += len(asked.problems)
        self.replies += asked.good
        self.seconds.append(asked.seconds)
        self.num_tokens.append(sum(reply.num_tokens for reply in asked.good))

    @property
    def tokens_per_second(self) -> float:
        """Answered tokens a second."""
        return sum(self.num_tokens) / sum(self.seconds)

    @property
    def best(self) -> float:
        """Answered tokens a second in the best round."""
        return max(self.of_rounds())

    @property
    def num_answered(self) -> float:
        """Tokens of an answer, on average."""
        return sum(self.num_tokens) / len(self.replies)

    @property
    def tokens_per_cpu_second(self) -> float:
        """Answered tokens for a CPU second of all of the server's processes."""
        return sum(self.num_tokens) / sum(self.cpu.values())

    @property
    def requests_per_cpu_second(self) -> float:
        """Answers for a CPU second of all of the server's processes."""
        return len(self.replies) / sum(self.cpu.values())

    def of_rounds(self) -> list[float]:
        """Return the tokens a second of each round."""
        return [n / s for n, s in zip(self.num_tokens, self.seconds, strict=True)]

    def numbers(self) -> dict[str, Any]:
        """Return what is kept of it as JSON."""
        latencies = [reply.seconds for reply in self.replies]
        firsts = [reply.first_seconds for reply in self.replies]
        return {
            "num_requests": len(self.replies),
            "num_failed": self.num_failed,
            "num_cached": sum(reply.is_cached for reply in self.replies),
            "num_prompt_tokens": statistics.fmean(r.num_prompt_tokens for r in self.replies),
            "num_answer_tokens": self.num_answered,
            "tokens_per_second": self.tokens_per_second,
            "best_tokens_per_second": self.best,
            "best_requests_per_second": self.best / self.num_answered,
            "tokens_per_cpu_second": self.tokens_per_cpu_second,
            "requests_per_cpu_second": self.requests_per_cpu_second,
            "tokens_per_second_of_rounds": self.of_rounds(),
            "cpu_seconds": self.cpu,
            "p50_seconds": quantile(latencies, 0.5),
            "p95_seconds": quantile(latencies, 0.95),
            "p50_first_seconds": quantile(firsts, 0.5),
        }


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that a share of the values does not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
