"""Whether an answer is the wanted one."""

from collections.abc import Callable, Mapping

from llm_assets.normalise import normalise


def exact_match(answer: str, target: str) -> bool:
    """Tell whether an answer equals its target but for case, punctuation and white space.

    >>> exact_match(" Sports. ", "sports")
    True
    >>> exact_match("the sports desk", "sports")
    False
    """
    return normalise(answer) == normalise(target)


SCORERS: Mapping[str, Callable[[str, str], bool]] = {"exact_match": exact_match}
