"""What is known of a rollout's present step: read again from the logs after a restart."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from llm_assets.applications import Application
from llm_assets.bounded import drop_oldest
from llm_assets.deployment.evidence import Away, Evidence, Rate, SliceEvidence
from llm_assets.deployment.judging.judge import Judge, judge_of
from llm_assets.deployment.judging.pairs import Pair, Pairing
from llm_assets.deployment.registry import Rollout
from llm_assets.deployment.steps import Step
from llm_assets.drift.detectors.refusals import is_refusal
from llm_assets.errors import UserError
from llm_assets.evaluation.scorer import SCORERS
from llm_assets.installation import Installation
from llm_assets.normalise import normalise
from llm_assets.records import Interaction
from llm_assets.rollouts.counts import (
    METRICS,
    Metric,
    arm_evidence,
    by_user,
    failed_copies,
    shadow_evidence,
)
from llm_assets.rollouts.request import Answer, Request
from llm_assets.rollouts.requests import StepRequests
from llm_assets.rollouts.smoke import SmokeTest
from llm_assets.rollouts.sources import Sources
from llm_assets.routing import CHALLENGER, CHAMPION, trial_of
from llm_assets.serving.status import Challenger
from llm_assets.tokens import internal_credentials

# So many pairs wait for what their users say of them.
_MAX_UNDECIDED = 2000


@dataclass
class Gathering:
    """The evidence of one step of one rollout; `environment` has the judge's key."""

    installation: Installation
    application: Application
    rollout: Rollout
    champion: str
    environment: Mapping[str, str]
    requests: StepRequests = field(init=False)
    _before: StepRequests | None = field(init=False, default=None)
    _sources: Sources = field(init=False)
    _pairing: Pairing = field(init=False, default_factory=Pairing)
    _wanted: dict[str, str] = field(init=False, default_factory=dict)
    _judge: Judge | None = field(init=False, default=None)
    _smoke: SmokeTest | None = field(init=False, default=None)
    _problem: str = field(init=False, default="")
    _began: datetime | None = field(init=False, default=None)
    _away_since: datetime | None = field(init=False, default=None)
    _restarts_before: int | None = field(init=False, default=None)
    # What the shadow step compares: texts, which are let go of as soon as they were.
    _known: list[Interaction] = field(init=False, default_factory=list)
    _undecided: dict[str, Pair] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        config, since = self.application.deployment, self.rollout.since
        is_shadow = self.step.stage == "shadow"
        # In the steps before there is one arm, which is told of no trial.
        trial = trial_of(self.step.stage, self.rollout.rollout_id) if self.step.share else None
        self.requests = self._empty(since, trial=trial)
        if is_shadow:
            self.requests.on_known = self._known.append
        if self.step.stage == "blue_green":
            since -= timedelta(minutes=config.blue_green.baseline_minutes)
            self._before = self._empty(since)
        self._sources = Sources(self.installation.home, self.application.name, since)
        judge = config.shadow_rules.judge
        if is_shadow and judge is not None:
            name = self.application.evaluation.scorer
            try:
                self._judge = judge_of(
                    judge,
                    scorer=SCORERS[name],
                    scorer_name=name,
                    wanted=self._wanted,
                    environment=self.environment,
                    cache_folder=self.installation.home / "judged" / self.application.name,
                )
            except UserError as error:
                self._problem = str(error)

    def _empty(self, since: datetime, *, trial: str | None = None) -> StepRequests:
        return StepRequests(
            since=since,
            trial=trial,
            versions={CHAMPION: self.champion, CHALLENGER: self.rollout.challenger},
            declines=is_refusal,
            event=self.application.deployment.ab_rules.event,
        )

    @property
    def step(self) -> Step:
        """The step that the evidence is of."""
        return self.rollout.step

    def evidence(self, *, now: datetime, endpoint: Challenger | None) -> Evidence:
        """Read what is new and return all that is known."""
        self._began = self._began or now
        if endpoint is not None and endpoint.model_version != self.rollout.challenger:
            endpoint = None
        evidence = Evidence(
            num_restarts=self._count_restarts(endpoint),
            waited_seconds=(now - self._began).total_seconds(),
            away=self._look_for_server(endpoint, now),
            problem=self._problem,
        )
        if self.step.stage == "smoke":
            return self._smoked(evidence, endpoint)
        self._read(now)
        if self.step.stage == "shadow":
            return self._shadowed(evidence)
        return replace(
            evidence,
            champion=arm_evidence(self._before or self.requests, CHAMPION, metric=self.metric),
            challenger=arm_evidence(self.requests, CHALLENGER, metric=self.metric),
        )

    def _look_for_server(self, endpoint: Challenger | None, now: datetime) -> Away | None:
        if endpoint is None or endpoint.ready:
            self._away_since = None
            return None
        self._away_since = self._away_since or now
        return Away((now - self._away_since).total_seconds(), endpoint.error or "")

    def _count_restarts(self, endpoint: Challenger | None) -> int:
        """Return how often the server was started again within the step, as far as is known."""
        if endpoint is None:
            return 0
        num = max(0, endpoint.num_restarts)  # below 0 before its first start
        if self._restarts_before is None or num < self._restarts_before:
            self._restarts_before = num
        return num - self._restarts_before

    @property
    def metric(self) -> Metric:
        """What an A/B test is decided by."""
        return METRICS[self.application.deployment.ab_rules.metric]

    def failures(self) -> list[Request]:
        """Return the requests that speak against the challenger, those with a wanted answer first.

        Only these can be scored when the next candidate is asked them.
        """
        if self.step.stage == "shadow":
            found = failed_copies(self.requests)
        else:
            found = [r for r in self.requests.of(CHALLENGER) if _speaks_against(r)]
        return sorted(found, key=lambda request: (request.wanted is None, request.request_id))

    def slices(self) -> tuple[SliceEvidence, ...]:
        """Return the metric of parts of the traffic, by prompt and conversation."""
        found = [
            SliceEvidence(
                name=name,
                champion=self._metric_of(CHAMPION, belongs),
                challenger=self._metric_of(CHALLENGER, belongs),
            )
            for name, belongs in _SLICES.items()
        ]
        return tuple(part for part in found if part.champion.n or part.challenger.n)

    def _metric_of(self, variant: str, belongs: Callable[[Answer], bool]) -> Rate:
        arm = self.requests.of(variant)
        return by_user((r for r in arm if r.answer and belongs(r.answer)), self.metric)

    def stop(self) -> None:
        """Give up what is not judged yet."""
        if self._judge is not None:
            self._judge.stop()

    def _read(self, now: datetime) -> None:
        stores = [self.requests, *((self._before,) if self._before else ())]
        # The requests first: of what else is read, only so much is kept that belongs to none yet.
        for attempt in self._sources.attempts():
            for store in stores:
                store.add_attempt(attempt)
        for answer in self._sources.answers():
            for store in stores:
                store.add_answer(answer)
        for shadow in self._sources.shadows():
            for store in stores:
                store.add_shadow(shadow)
        for said in self._sources.feedback():
            for store in stores:
                store.add_feedback(said)
        if self.step.stage == "shadow":
            self._compare(now)

    def _compare(self, now: datetime) -> None:
        """Pair what became known of the step's requests, and have the pairs judged."""
        pairs = self._pairing.take(self._known, now=now)
        self._known.clear()
        if self._judge is None:
            return
        self._judge.submit(pairs)
        # What users say of an answer comes after it, and then a scorer knows more.
        self._undecided |= {pair.request_id: pair for pair in pairs}
        for pair in self._undecided.values():
            if wanted := self._wanted_of(pair):
                self._wanted[normalise(pair.prompt)] = wanted
        known = [p for p in self._undecided.values() if normalise(p.prompt) in self._wanted]
        self._judge.submit(known)
        for pair in known:
            del self._undecided[pair.request_id]
        drop_oldest(self._undecided, _MAX_UNDECIDED)

    def _wanted_of(self, pair: Pair) -> str | None:
        """Return what the user wanted: a correction, or the answer itself where it was liked."""
        request = self.requests.requests.get(pair.request_id)
        if request is None:
            return None
        return request.wanted or (pair.champion_answer if request.is_liked else None)

    def _smoked(self, evidence: Evidence, endpoint: Challenger | None) -> Evidence:
        if endpoint is None or not endpoint.ready:
            problem = (endpoint.error if endpoint else None) or "the server starts"
            return replace(evidence, problem=problem)
        url = f"http://127.0.0.1:{endpoint.port}"
        if self._smoke is None or self._smoke.url != url:
            smoke = self.application.deployment.smoke_rules
            self._smoke = SmokeTest(
                url=url,
                application=self.application.name,
                prompts=smoke.prompts,
                timeout_seconds=smoke.timeout_seconds,
                headers=internal_credentials(self.environment),
            )
        outcome = self._smoke.outcome
        if outcome is None:
            return replace(evidence, problem="the smoke test goes on")
        return replace(evidence, smoke=outcome.has_passed, problem=outcome.problem)

    def _shadowed(self, evidence: Evidence) -> Evidence:
        verdicts = self._judge.verdicts() if self._judge else ()
        problems = self._judge.problems if self._judge else ()
        return replace(
            evidence,
            champion=arm_evidence(self.requests, CHAMPION, metric=self.metric),
            challenger=shadow_evidence(self.requests),
            num_pairs=self._pairing.counts.num_pairs,
            judged=Rate(sum(verdict.score for verdict in verdicts), len(verdicts)),
            problem="; ".join(problems) or evidence.problem,
        )


_SLICES: Mapping[str, Callable[[Answer], bool]] = {
    "prompts under 100 characters": lambda answer: answer.num_prompt_characters < 100,
    "prompts of 100 to 999 characters": lambda answer: 100 <= answer.num_prompt_characters < 1000,
    "prompts of 1000 characters and more": lambda answer: answer.num_prompt_characters >= 1000,
    "first messages": lambda answer: answer.num_user_messages < 2,
    "later messages": lambda answer: answer.num_user_messages >= 2,
}


def _speaks_against(request: Request) -> bool:
    is_blank = request.answer is not None and request.answer.is_blank
    return request.has_failed or request.fell_back or request.is_liked is False or is_blank
