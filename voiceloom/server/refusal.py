"""A request that is not served."""

from starlette.responses import JSONResponse


class Refusal(Exception):
    """Why not, as OpenAI's clients expect to be told."""

    def __init__(self, status: int, message: str, code: str, headers: dict | None = None):
        super().__init__(message)
        self.status, self.code, self.headers = status, code, headers

    @property
    def response(self) -> JSONResponse:
        """For the client."""
        error = {"message": str(self), "type": "invalid_request_error", "code": self.code}
        if self.status in (429, 503):
            error["type"] = "rate_limit_error"
        return JSONResponse({"error": error}, self.status, self.headers)
