"""Ids of requests and predictions."""

import os
from collections.abc import Iterator
from functools import partial

ID_BYTES = 16
DRAWN_AT_ONCE = 256


def _ids() -> Iterator[str]:
    while True:
        drawn = os.urandom(ID_BYTES * DRAWN_AT_ONCE)
        yield from (drawn[start : start + ID_BYTES].hex() for start in range(0, len(drawn), ID_BYTES))


# 128 random bits in hex. Drawn 256 at a time: one by one the kernel takes 20 µs for each, and a request needs two. Only
# for the event loop's thread.
new_id = partial(next, _ids())
