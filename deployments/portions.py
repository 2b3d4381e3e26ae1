"""A large request goes in portions: other requests are read between two of them, and their rows travel beside them."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

Row = TypeVar("Row")
Answer = TypeVar("Answer")

# Checking and answering a hundred rows holds the event loop for 2 to 3 ms.
PORTION = 100
# While one is scored the next is checked; more of one request would only stand in the way of others.
AHEAD = 2


async def each(rows: list[Row], answer: Callable[[list[Row], bool], Awaitable[list[Answer]]]) -> list[Answer]:
    """The answers to the rows, in their order, asked for a portion at a time. `answer` is told whether others of the
    same request went before.

    Raises:
        Exception: what the first portion that failed raised; the others are given up.
    """
    if len(rows) <= PORTION:
        return await answer(rows, False)
    answers: list[Answer] = []
    flying: deque[asyncio.Future[list[Answer]]] = deque()
    try:
        for start in range(0, len(rows), PORTION):
            if len(flying) == AHEAD:
                answers += await flying.popleft()
            flying.append(asyncio.ensure_future(answer(rows[start : start + PORTION], start > 0)))
            await asyncio.sleep(0)
        while flying:
            answers += await flying.popleft()
    finally:
        for left in flying:
            left.cancel()
    return answers
