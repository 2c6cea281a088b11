"""Work on photos beside the daemon: `undo`, and a review that is carried out. One at a time."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime

from loguru import logger

from tagger_daemon import __version__
from tagger_daemon.backlog import store
from tagger_daemon.backlog.handoffs import HandOffs
from tagger_daemon.backlog.store import Backlog
from tagger_daemon.database import Database
from tagger_daemon.errors import ConfigurationError, FolderUnavailable, StateUnavailable
from tagger_daemon.ledger import records
from tagger_daemon.ledger.records import Ledger
from tagger_daemon.metadata.exiftool import ExifTool
from tagger_daemon.metadata.store import MetadataStore
from tagger_daemon.model import Record, Value
from tagger_daemon.reports.audit import AuditLog
from tagger_daemon.service.clock import local_now, new_run_id, now_ms
from tagger_daemon.service.handoff import noting
from tagger_daemon.service.recovery import complete_audit, is_by_hand, settle_intentions
from tagger_daemon.service.state import StateDirectory
from tagger_daemon.settings import Settings

#: A photo is kept from the daemon for at most this long, milliseconds; a write takes a fraction of it.
HOLD = 300_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench(Value):
    """What such work is done with."""

    database: Database
    audit: AuditLog
    metadata: MetadataStore
    run: str  # names this run of the program
    now: Callable[[], datetime]  # local time, with zone
    daemon_runs: Callable[[], bool]
    finished: Callable[[Record], None]  # told of each photo that is done, in the transaction that ends it


@contextmanager
def opened(settings: Settings, state: StateDirectory, *, command: str, audit: AuditLog) -> Iterator[Bench]:
    """Give a database and an exiftool of one's own, and settle what an earlier one died over.

    Args:
        settings: how metadata is written, and where finished photos go.
        state: of the daemon, which may run meanwhile.
        command: as a person types it, for what is told.
        audit: where each end gets its line.

    Raises:
        StateUnavailable: nothing was ever written here, or somebody else is at it.
        ConfigurationError: exiftool does not work, or the state belongs to somebody else.
    """
    check_owner(state, command=command)
    with ExitStack() as stack:
        if not stack.enter_context(state.by_hand()):
            raise StateUnavailable(
                f"another `undo` is at work on {state.root}, or a review is being carried out; "
                "try again when it has ended"
            )
        database = Database(state.database, (*store.migrations(), *records.migrations()))
        stack.callback(database.close)
        exiftool = ExifTool(settings.metadata.exiftool, timeout_seconds=settings.metadata.timeout_seconds)
        metadata = MetadataStore(
            settings.metadata,
            exiftool=exiftool,
            tool_version=__version__,
            now=local_now,
            originals=state.originals if settings.backup_originals else None,
        )
        stack.callback(metadata.close)
        metadata.start(alone=not state.is_held())
        finished = noting(settings.folders, HandOffs(database))
        settle_intentions(
            database,
            Backlog(database),
            Ledger(database),
            metadata,
            now=now_ms(),
            # Those of a running daemon are its own, also of one that was started a moment ago; those of one
            # that died have to be known here too.
            mine=lambda record: is_by_hand(record) or not state.is_held(),
            finished=finished,
        )
        Backlog(database).recover_by_hand(now=now_ms())
        try:
            complete_audit(Ledger(database), audit, mine=is_by_hand)
        except FolderUnavailable as error:
            logger.warning("{}; the lines that are missing are added later", error)
        yield Bench(
            database=database,
            audit=audit,
            metadata=metadata,
            run=new_run_id(local_now()),
            now=local_now,
            daemon_runs=state.is_held,
            finished=finished,
        )


def check_owner(state: StateDirectory, *, command: str) -> None:
    """Refuse to write where nothing is, or where files of root's would keep the service from its own state.

    Raises:
        StateUnavailable: nothing was ever written here.
        ConfigurationError: the state is another user's, and this one is root.
    """
    if not state.database.exists():
        raise StateUnavailable(f"nothing was ever written by way of {state.root}")
    owner = state.database.stat().st_uid
    if os.geteuid() == 0 and owner != 0:
        try:
            name = pwd.getpwuid(owner).pw_name
        except KeyError:
            name = str(owner)
        raise ConfigurationError(
            f"{state.root} belongs to {name}, and files of root's in it would stand in the service's way. "
            f"Type it as that user: sudo -u {name} {command} …"
        )
