"""The busy doors, opened before FastAPI is asked: its routing and middleware took half of a prediction's time here."""

from collections.abc import Awaitable, Callable, Mapping

from fastapi import FastAPI, Request, Response
from starlette.types import Message, Receive, Scope, Send

from deployments.routes import envelope

Handler = Callable[[Request], Awaitable[Response]]

# What a browser may do with an answer: nothing but read it. Answers are about people, so nobody keeps them.
SHARED = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
GUARDS = (*SHARED, (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"))
OWN = b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
PAGE = (*SHARED, (b"content-security-policy", OWN + b"; frame-ancestors 'none'"))


class Front:
    """Calls the handler of a busy path itself, and leaves everything else to FastAPI.

    The same handlers are FastAPI's too, so that its documentation shows them. Ray Serve asks an application for its
    routes at every request, to name the route in its own metrics, and takes "/" where there are none (1.3 % of the
    replica's time, measured with 101 routes).
    """

    def __init__(self, app: FastAPI, busy: Mapping[str, Handler]):
        self._app = app
        self._busy = busy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        handler = self._busy.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if handler is None:
            await self._app(scope, receive, _guarded(send) if scope["type"] == "http" else send)
            return
        scope["app"] = self._app
        request = Request(scope, receive)
        try:
            response = await handler(request)
        except Exception as error:  # noqa: BLE001 - FastAPI's exception handlers are not behind us here
            response = await envelope.told(request, error)
        response.raw_headers.extend(GUARDS)
        await response(scope, receive, send)


def _guarded(send: Send) -> Send:
    """The same headers on whatever FastAPI answers. Its pages hold scripts of their own, and load no others."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            page = any(name == b"content-type" and value.startswith(b"text/html") for name, value in message["headers"])
            message["headers"] = [*message["headers"], *(PAGE if page else GUARDS)]
        await send(message)

    return sent
