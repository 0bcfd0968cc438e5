"""A pair judged by a model, which sees the two answers in both orders.

Models prefer an answer for its place, so a version wins only if it is chosen first and second; all
else is a tie (Zheng et al., "Judging LLM-as-a-judge with MT-Bench and Chatbot Arena", 2023).
"""

import hashlib
import json

from llm_assets.deployment.judging.choice_cache import ChoiceCache
from llm_assets.deployment.judging.endpoint import Endpoint, NoReplyError
from llm_assets.deployment.judging.pairs import Pair
from llm_assets.deployment.judging.question import Choice, parse_choice, question
from llm_assets.deployment.judging.verdicts import Outcome, Verdict


class ModelJudge:
    """Asks a model, and remembers what it chose.

    `num_unreadable` counts the pairs that have no verdict because a reply held no choice.
    """

    def __init__(self, endpoint: Endpoint, *, rubric: str, cache: ChoiceCache) -> None:
        self._endpoint, self._rubric, self._cache = endpoint, rubric, cache
        self.num_unreadable = 0

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong at present, a line each."""
        unreadable = (
            f"judge {self._endpoint.model}: {self.num_unreadable} pairs not judged: "
            "its reply was no verdict"
        )
        lines = (
            self._endpoint.problem,
            unreadable if self.num_unreadable else None,
            self._cache.problem,
        )
        return tuple(line for line in lines if line)

    async def judge(self, pair: Pair) -> Verdict | None:
        """Return whose answer the model prefers, or None where that could not be found out."""
        if pair.champion_answer.strip() == pair.challenger_answer.strip():
            return self._verdict(pair, Outcome.TIE, "the answers are the same")
        try:
            first = await self._choice(pair, pair.champion_answer, pair.challenger_answer)
            if first is Choice.TIE:
                return self._verdict(pair, Outcome.TIE, "neither answer was preferred")
            second = first and await self._choice(
                pair, pair.challenger_answer, pair.champion_answer
            )
        except NoReplyError:
            return None
        if first is None or second is None:
            self.num_unreadable += 1
            return None
        if (first, second) == (Choice.B, Choice.A):
            return self._verdict(pair, Outcome.CHALLENGER, "preferred in both orders")
        if (first, second) == (Choice.A, Choice.B):
            return self._verdict(pair, Outcome.CHAMPION, "preferred in both orders")
        return self._verdict(pair, Outcome.TIE, "preferred in one order only")

    async def _choice(self, pair: Pair, answer_a: str, answer_b: str) -> Choice | None:
        conversation = pair.messages or ({"role": "user", "content": pair.prompt},)
        asked = question(conversation, answer_a, answer_b, rubric=self._rubric)
        request = self._endpoint.request(asked)
        # Of model, rubric, conversation, and answers: whatever changes the question changes it.
        key = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
        if key not in self._cache:
            self._cache[key] = parse_choice(await self._endpoint.ask(request))
        return self._cache[key]

    def _verdict(self, pair: Pair, outcome: Outcome, reason: str) -> Verdict:
        return Verdict(
            request_id=pair.request_id, outcome=outcome, by=self._endpoint.model, reason=reason
        )
