"""One client's connection: what it sends has to come within a time, and what it is sent has to be taken within one."""

from __future__ import annotations

import asyncio
from typing import Optional

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from ernie_tiny.files import to_json


class BoundedConnection(H11Protocol):
    """uvicorn's connection, which by itself waits forever for a request's head and for a client that does not read.

    The time is uvicorn's timeout_keep_alive. While a request is answered the clock stands: its body and its answer have
    times of their own. What is left of a refused body is thrown away meanwhile, so that a client that first sends all
    and then reads hears why.
    """

    _clock: Optional[asyncio.TimerHandle] = None
    _unread: Optional[asyncio.TimerHandle] = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start()

    def data_received(self, data: bytes) -> None:
        silent = self._silent()
        super().data_received(data)
        if self._answering():
            self._stop()
        elif silent:
            self._start()

    def on_response_complete(self) -> None:
        self._start()
        super().on_response_complete()  # goes on with what the client has sent meanwhile
        if self._answering():
            self._stop()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(self.timeout_keep_alive, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._stop()
        if self._unread is not None:
            self._unread.cancel()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "this is no HTTP request")

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _silent(self) -> bool:
        """Whether nothing has come since the last answer."""
        return not self._answering() and self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]

    def _start(self) -> None:
        self._stop()
        self._clock = self.loop.call_later(self.timeout_keep_alive, self._late)

    def _stop(self) -> None:
        if self._clock is not None:
            self._clock.cancel()

    def _late(self) -> None:
        if self._silent() or self.conn.their_state is not h11.IDLE:
            self.transport.close()
        else:
            self._refuse(408, f"the request did not come in {self.timeout_keep_alive:g} s")

    def _refuse(self, status: int, said: str) -> None:
        """An answer to what never became a request, and the connection's end."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = to_json({"error": said}).encode()
            fields = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
            events = (
                h11.Response(status_code=status, headers=list(fields.items())),
                h11.Data(body),
                h11.EndOfMessage(),
            )
            self.transport.write(b"".join(self.conn.send(event) or b"" for event in events))
        self.transport.close()
