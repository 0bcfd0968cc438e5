"""Which requests are judged: a fair draw that a restart repeats."""

import hashlib


def is_drawn(request_id: str, *, rate: float) -> bool:
    """Tell whether a request is among the share `rate` of all that is judged.

    It follows from its id alone: what is drawn at a rate is drawn at every higher one.

    >>> is_drawn("r1", rate=1.0), sum(is_drawn(f"r{n}", rate=0.25) for n in range(10_000))
    (True, 2496)
    """
    # JSON may hold half of a surrogate pair, which is no text in UTF-8.
    content = request_id.encode("utf-8", "surrogatepass")
    # Another user of the hash, such as the window of drift, draws others.
    digest = hashlib.blake2b(content, digest_size=8, person=b"judged").digest()
    return int.from_bytes(digest) < rate * 2**64
