"""What can go wrong, and what then becomes of the photo.

Every class names exactly one `Fate`; a test fails if one does not.

    TaggerError
    ├── ConfigurationError          STOP      the service stops at start, one clear line
    │   └── AlreadyRunning          STOP      with an exit code of its own
    ├── PhotoGone                   DROP      nobody's fault, nothing to do
    ├── PhotoPassedOver             DROP      queued once, and not what this run is about: never touched
    ├── PhotoChanged                REQUEUE   newer content: start again, no attempt charged
    ├── PhotoHeld                   POSTPONE  a catalogue may hold newer edits: looked at again later
    ├── PhotoUnusable               FAIL      visible at once, never retried by itself
    │   ├── PhotoUnreadable         FAIL      damaged, truncated, not ours to read
    │   ├── PhotoUnsupported        FAIL      not a picture of a kind that is handled
    │   └── PhotoTooLarge           FAIL      more pixels than the limit
    ├── ServerUnavailable           WAIT      down, loading, overloaded: no attempt charged
    │   ├── ServerFailed            WAIT      broke down on this request: the pool finds out whose fault it is
    │   └── ServerMisconfigured     WAIT      wrong key, unknown model: waits, and says so loudly
    │       ├── ServerDrifted       WAIT      not the model that the registry describes: stops this entry
    │       └── NotConsented        WAIT      public, and nobody agreed that these photos go there
    ├── RequestRejected             RETRY     the server refuses this request (400, 413, 422)
    ├── ReplyError                  RETRY     back-off and jitter, a bounded number of times
    │   ├── ReplyTimeout            RETRY     no answer within the deadline
    │   ├── ReplyMalformed          RETRY     not the form that was asked for
    │   ├── ReplyTruncated          RETRY     cut off at the token cap
    │   ├── ReplyRefused            RETRY     the model declined
    │   └── ReplyRepetitive         RETRY     the model ran in circles
    ├── DecoderDied                 RETRY     a worker process crashed or overran on this photo
    ├── ExiftoolDied                RETRY     died or hung: killed, restarted, tried again
    ├── WriteRefused                FAIL      exiftool refused; the file is exactly as it was
    │   ├── EmbeddingRefused        FAIL      not into this very file: a sidecar takes the words instead
    │   └── VerificationFailed      FAIL      the written copy is not what was planned; dropped
    ├── ReviewRefused               FAIL      what a person asked of a review cannot be done
    │   └── DecidedOtherwise        FAIL      something else was decided while it was being carried out
    ├── Defect                      RETRY     a mistake of ours, met on this photo; the others go on
    ├── LeaseLost                   DISCARD   somebody else has the job
    ├── FolderUnavailable           PAUSE     disk full, read-only, unmounted: resumes by itself
    ├── HandOffBlocked              PAUSE     a finished photo cannot be moved on yet: it waits where it is
    └── StateUnavailable            PAUSE     the state directory's disk is full or failing: work waits
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class Fate(StrEnum):
    """What becomes of the photo (or the service) when an error ends a journey."""

    STOP = "stop"
    DROP = "drop"
    REQUEUE = "requeue"
    POSTPONE = "postpone"
    FAIL = "fail"
    WAIT = "wait"
    RETRY = "retry"
    DISCARD = "discard"
    PAUSE = "pause"


class TaggerError(Exception):
    """The root. The message is one sentence that a photographer can act on."""

    fate: ClassVar[Fate]
    seconds: float = 0.0  # until it is worth looking again, for fates that put the photo back


class ConfigurationError(TaggerError):
    """A setting, the registry or the machine is not as the service needs it."""

    fate = Fate.STOP


class AlreadyRunning(ConfigurationError):
    """Another daemon holds this state directory."""


class PhotoGone(TaggerError):
    """The photo is no longer there."""

    fate = Fate.DROP


class PhotoPassedOver(TaggerError):
    """The settings do not have this photo worked on now, though it stands in the queue."""

    fate = Fate.DROP


class PhotoChanged(TaggerError):
    """The photo, or its sidecar, changed while it was being worked on."""

    fate = Fate.REQUEUE


class PhotoHeld(TaggerError):
    """A photo program's catalogue may hold edits of this photo that no file has yet."""

    fate = Fate.POSTPONE

    def __init__(self, message: str, *, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class PhotoUnusable(TaggerError):
    """No picture can be had from this file."""

    fate = Fate.FAIL


class PhotoUnreadable(PhotoUnusable):
    """The file is damaged, truncated, or may not be read."""


class PhotoUnsupported(PhotoUnusable):
    """The file is not a picture of a kind that is handled."""


class PhotoTooLarge(PhotoUnusable):
    """The picture has more pixels than the limit allows."""


class ServerUnavailable(TaggerError):
    """No endpoint of the entry takes requests now."""

    fate = Fate.WAIT

    def __init__(self, message: str | None, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after  # seconds that the server asks to be left alone; None: it did not say


class ServerFailed(ServerUnavailable):
    """The server broke down while it worked on this request."""


class ServerMisconfigured(ServerUnavailable):
    """The endpoint answers, but not for us: key refused, model unknown, not a vision model."""


class ServerDrifted(ServerMisconfigured):
    """What the server serves is not what the registry says, or it does not see pictures as it should."""


class NotConsented(ServerMisconfigured):
    """What is asked for would leave the private network, and nobody has agreed that it may."""

    def __init__(self, message: str, *, seconds: float = 0.0) -> None:
        super().__init__(message)
        self.seconds = seconds


class RequestRejected(TaggerError):
    """The server understood the request and refuses it."""

    fate = Fate.RETRY


class ReplyError(TaggerError):
    """The model's answer cannot be used."""

    fate = Fate.RETRY


class ReplyTimeout(ReplyError):
    """No answer within the stage's deadline."""


class ReplyMalformed(ReplyError):
    """The answer has not the form that was asked for."""


class ReplyTruncated(ReplyError):
    """The answer was cut off at its token cap."""


class ReplyRefused(ReplyError):
    """The model declined to answer."""


class ReplyRepetitive(ReplyError):
    """The model ran in circles."""


class DecoderDied(TaggerError):
    """The worker process that decoded this photo crashed or ran out of time or memory."""

    fate = Fate.RETRY


class ExiftoolDied(TaggerError):
    """exiftool died or hung; it has been restarted."""

    fate = Fate.RETRY


class WriteRefused(TaggerError):
    """The metadata could not be written; the file is exactly as it was."""

    fate = Fate.FAIL


class EmbeddingRefused(WriteRefused):
    """exiftool does not write into this file, which is exactly as it was; one beside it could be written."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} could not be written: {reason}")
        self.reason = reason  # exiftool's own words


class VerificationFailed(WriteRefused):
    """The edited copy differed from the plan and was dropped; the file is exactly as it was."""


class ReviewRefused(TaggerError):
    """What a person asked of a review cannot be done; nothing was changed."""

    fate = Fate.FAIL


class DecidedOtherwise(ReviewRefused):
    """A person has decided something else about a proposal since it was looked at; nothing was changed."""


class Defect(TaggerError):
    """The program itself is at fault."""

    fate = Fate.RETRY


class LeaseLost(TaggerError):
    """The job is no longer ours; the result is dropped."""

    fate = Fate.DISCARD


class FolderUnavailable(TaggerError):
    """The folder cannot be used now: disk full, read-only, or not mounted."""

    fate = Fate.PAUSE


class HandOffBlocked(TaggerError):
    """A finished photo cannot be moved to where it is handed off to, for a reason of its own."""

    fate = Fate.PAUSE


class StateUnavailable(TaggerError):
    """The state directory cannot be read or written now."""

    fate = Fate.PAUSE
    seconds = 15.0
