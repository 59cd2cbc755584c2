"""Every failure that imagerouter can answer with: one class each, one table for all.

The class attributes *are* the table. ``status``, ``type`` and ``code`` go onto the wire in OpenAI's shape;
``retry_same`` and ``fallback`` tell the dispatcher what may happen next, and ``blames`` whom it counts against
(`imagerouter.fleet.breaker`):

=============================  ======  =======================  ==========  ========  ========
class                          status  code                     retry_same  fallback  blames
=============================  ======  =======================  ==========  ========  ========
InvalidRequestError            400     (none)                   no          no        nobody
InvalidParameterError          400     invalid_value            no          no        nobody
UnknownParameterError          400     unknown_parameter        no          no        nobody
ContentPolicyError             400     content_policy_violation no          no        nobody
AuthenticationError            401     invalid_api_key          no          no        nobody
PermissionDeniedError          403     permission_denied        no          no        nobody
ModelNotFoundError             404     model_not_found          no          yes       target
NotFoundError                  404     not_found                no          no        nobody
LoopError                      400     request_loop             no          no        nobody
RequestTooLargeError           413     request_too_large        no          no        nobody
RateLimitError                 429     rate_limit_exceeded      no          no        nobody
QueueFullError                 429     queue_full               no          no        nobody
ProviderRejectedError          400     provider_rejected        no          yes       nobody
ProviderBusyError              503     provider_busy            no          yes       nobody
ProviderUnavailableError       503     provider_unavailable     yes         yes       provider
ProviderTimeoutError           504     provider_timeout         no          yes       provider
ProviderResponseError          502     provider_bad_response    no          yes       provider
GenerationError                502     generation_failed        no          yes       target
OutOfMemoryError               503     provider_out_of_memory   no          yes       nobody
MisconfiguredError             500     provider_misconfigured   no          yes       target
NoProviderError                503     no_provider_available    no          no        nobody
InternalError                  500     internal_error           no          no        nobody
=============================  ======  =======================  ==========  ========  ========
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal


class ImageRouterError(Exception):
    """Base of everything that imagerouter raises on purpose.

    :param message: one sentence for the person who sent the request. It must not hold a path, an
        address or a traceback of the machine that the provider runs on.
    :param param: the request parameter at fault, in the client's spelling (`steps`, `loras[0].weight`).
    :param retry_after: seconds after which the same request has a chance; sent as ``retry-after``.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[str | None] = "internal_error"
    retry_same: ClassVar[bool] = False
    """May the dispatcher send the request to the same provider again?"""
    fallback: ClassVar[bool] = False
    """May the dispatcher send the request to the next provider?"""
    blames: ClassVar[Literal["provider", "target"] | None] = None
    """What such failures in a row keep from getting further jobs: the provider, or just its model; ``None`` where
    the request itself may be at fault."""

    def __init__(self, message: str, *, param: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after
        self.attempts: tuple[Any, ...] = ()
        """What was tried before giving up (`imagerouter.jobs.Attempt`); filled in by the dispatcher."""

    def body(self) -> dict[str, Any]:
        """OpenAI's error object, all four keys always present (both SDKs and the AI SDK need them).

        ``attempts`` is added when providers were tried in vain.
        """
        # A backend's words may hold what no JSON can.
        message = self.message.encode(errors="replace").decode()
        error = {"message": message, "type": self.type, "param": self.param, "code": self.code}
        return {"error": {**error, "attempts": self.attempts} if self.attempts else error}


class InternalError(ImageRouterError):
    """A defect of imagerouter's own; the message never says more than that."""


class InvalidRequestError(ImageRouterError):
    """The request as a whole can't be read (no JSON, no object, nested too deep)."""

    status = 400
    type = "invalid_request_error"
    code: ClassVar[str | None] = None


class InvalidParameterError(InvalidRequestError):
    """One parameter has a wrong type or value; ``param`` names it and the message says what is valid."""

    code = "invalid_value"


class UnknownParameterError(InvalidRequestError):
    """A parameter that nobody knows, or that no target can honour, in a request that is ``strict``."""

    code = "unknown_parameter"


class ContentPolicyError(InvalidRequestError):
    """The provider refused the content of the prompt or picture."""

    code = "content_policy_violation"


class AuthenticationError(ImageRouterError):
    """No API key, or one that isn't known here."""

    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class PermissionDeniedError(ImageRouterError):
    """The API key is known, but may not do this."""

    status = 403
    type = "permission_error"
    code = "permission_denied"


class NotFoundError(InvalidRequestError):
    """There is no such route or object."""

    status = 404
    code = "not_found"


class ModelNotFoundError(InvalidRequestError):
    """No such model. Raised by an adapter it means "not on this backend", hence the fallback."""

    status = 404
    code = "model_not_found"
    fallback = True
    blames = "target"


class LoopError(InvalidRequestError):
    """The request has been here before: imagerouters that are each other's providers hand it round."""

    code = "request_loop"


class RequestTooLargeError(InvalidRequestError):
    """The body is larger than ``limits.max_body``."""

    status = 413
    code = "request_too_large"


class RateLimitError(ImageRouterError):
    """This API key has sent more than it may."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class QueueFullError(RateLimitError):
    """The one queue is full, or the request would wait longer than ``limits.queue_timeout``."""

    code = "queue_full"


class ProviderError(ImageRouterError):
    """Something that one provider did; the next one may do better."""

    status = 502
    code = "provider_error"
    fallback = True


class ProviderRejectedError(ProviderError):
    """The backend answered 4xx to what the adapter made of the request."""

    status = 400
    type = "invalid_request_error"
    code = "provider_rejected"


class ProviderBusyError(ProviderError):
    """The backend has no room right now (its 429 or 503)."""

    status = 503
    code = "provider_busy"


class ProviderUnavailableError(ProviderError):
    """The backend can't be reached at all: nothing was sent, so trying again is safe."""

    status = 503
    code = "provider_unavailable"
    retry_same = True
    blames = "provider"


class ProviderTimeoutError(ProviderError):
    """The backend took longer than its ``timeout``; the adapter has cancelled the job there."""

    status = 504
    code = "provider_timeout"
    blames = "provider"


class ProviderResponseError(ProviderError):
    """The backend answered something that isn't an image."""

    code = "provider_bad_response"
    blames = "provider"


class GenerationError(ProviderError):
    """The backend started the job and failed inside it."""

    code = "generation_failed"
    blames = "target"


class OutOfMemoryError(ProviderError):
    """The backend's accelerator has too little memory for this request."""

    status = 503
    code = "provider_out_of_memory"


class MisconfiguredError(ProviderError):
    """The provider's own configuration keeps it from drawing this: a matter for who runs it, not for the client."""

    status = 500
    code = "provider_misconfigured"
    blames = "target"


class NoProviderError(ImageRouterError):
    """Every target refused or failed; the message lists each one with its reason."""

    status = 503
    code = "no_provider_available"


class ConfigError(ImageRouterError):
    """The configuration can't be used. Raised before the server listens, never sent to a client.

    :param problems: one finished line each, ``file:line:column: path: what is wrong``.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
