"""How this server says no: one exception, in the shape that OpenAI's clients expect."""

from __future__ import annotations

from typing import Any


class Refusal(Exception):
    """A request that is not answered. The message tells its sender what to change."""

    def __init__(self, message: str, *, status: int = 400, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status  # of the HTTP response
        self.param = param  # the request's field that is at fault

    def body(self) -> dict[str, Any]:
        """Return the response body, with vLLM's names for the kinds of error."""
        kind = _KINDS.get(self.status, "BadRequestError")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.status}}


_KINDS = {
    404: "NotFoundError",
    405: "MethodNotAllowedError",
    413: "RequestTooLargeError",
    500: "InternalServerError",
}
