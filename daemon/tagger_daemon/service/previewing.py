"""What would become of one photo: the daemon's own journey, whose last step writes nothing.

`pipeline.process` walks it. What asks the models keeps each request and answer, what writes keeps the plan.
"""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Mapping
from contextlib import AsyncExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image

from tagger_daemon import __version__
from tagger_daemon.database import read_only
from tagger_daemon.errors import (
    FolderUnavailable,
    PhotoGone,
    PhotoHeld,
    ReplyError,
    RequestRejected,
    ServerUnavailable,
    WriteRefused,
)
from tagger_daemon.intake.probe import fingerprint_of, readable_to_end
from tagger_daemon.ledger.records import memory_of
from tagger_daemon.metadata.exiftool import ExifTool
from tagger_daemon.metadata.store import MetadataStore
from tagger_daemon.metadata.words import persons_words
from tagger_daemon.model import (
    Annotation,
    Draft,
    Existing,
    Job,
    JobState,
    Memory,
    Mode,
    Outcome,
    Photo,
    Picture,
    Policy,
    Record,
    Stage,
    Value,
    WritePlan,
    Written,
)
from tagger_daemon.pipeline import Steps, Tools, converse, process, recognised
from tagger_daemon.service.clock import local_now
from tagger_daemon.service.parts import Cast, cast, keys_of, make_asker, policies, profile_named
from tagger_daemon.service.state import StateDirectory
from tagger_daemon.settings import Settings
from tagger_daemon.vision.asker import Chat
from tagger_daemon.vision.consents import Consents, Disclosure
from tagger_daemon.vision.entry import ChatReply, ChatRequest, Entry, Profile
from tagger_daemon.vision.image import Preparer
from tagger_daemon.vision.loader import Loader
from tagger_daemon.vision.pool import Pool
from tagger_daemon.vision.verifier import Verifier, show_canary

#: What stands for the answers where nobody is asked.
PLACEHOLDERS: Final[Mapping[Stage, str]] = {
    Stage.CAPTION: "What the model gives as caption.",
    Stage.KEYWORDS: "what the model lists",
    Stage.DESCRIPTION: "What the model gives as description.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange(Value):
    """One request, and what came of it."""

    entry: Entry
    request: ChatRequest
    reply: ChatReply | None  # None: nobody was asked, or no answer came

    @property
    def picture(self) -> Picture:
        """The picture that the request shows, byte for byte."""
        parts = (part for message in self.request.messages for part in message["content"])
        url = next(part["image_url"]["url"] for part in parts if "image_url" in part)
        jpeg = base64.b64decode(url.partition(",")[2])
        with Image.open(io.BytesIO(jpeg)) as opened:
            width, height = opened.size
        return Picture(jpeg=jpeg, width=width, height=height)


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview(Value):
    """What would become of one photo."""

    photo: Photo
    profile: Profile
    mode: Mode
    asked: bool  # the models were; False: placeholders stand for their answers
    tagged: str | None  # why no model would be asked by the daemon; None: it would
    exchanges: tuple[Exchange, ...]  # in order; a stage whose first answer was of no use has two
    answers: Draft  # what is usable of the answers, cleaned
    plan: WritePlan | None  # None: nothing would be written, or it did not come to that
    obstacle: str | None  # why the plan could not be carried out now
    problem: str | None  # why it ended before its time

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """What the models are shown, each once."""
        return tuple(dict.fromkeys(exchange.picture for exchange in self.exchanges))


async def preview(
    settings: Settings,
    path: Path,
    *,
    profile: str | None = None,
    ask: bool = True,
    use_loader: bool = False,
    environ: Mapping[str, str],
) -> Preview:
    """Take a photo through its journey up to the write.

    Args:
        settings: as for the daemon.
        path: the photo, absolute; in a watch folder or not.
        profile: id or name of the prompts; None: those that the daemon would take.
        ask: ask the model servers; False: none is spoken to.
        use_loader: have the servers started that are ours to start, and stopped at the end.
        environ: where the keys of servers are.

    Raises:
        ConfigurationError: a setting, the registry, a profile or the machine is not as needed.
        PhotoGone: there is no such file.
        PhotoUnusable: it is no picture, or a damaged one.
        TaggerError: of another kind: it cannot be read now.
    """
    who = cast(settings)
    if profile is not None:
        chosen = profile_named(profile, settings)
        who = who.evolve(profile=chosen, profiles={})
    photo = _photo(settings, path)
    async with AsyncExitStack() as stack:
        chat = _Recorder(
            await _servers(stack, settings, who, use_loader=use_loader, environ=environ) if ask else None,
            Consents(settings.remote),
        )
        metadata = _Unwritten(_store(stack, settings))
        asker = make_asker(settings, who, chat)
        preparer = Preparer(settings.image.model_copy(update={"workers": 1}), long_edges=asker.long_edges)
        stack.push_async_callback(preparer.close)
        preparer.start()
        journal = _Recollection(StateDirectory(root=settings.state_dir).database)
        tools = Tools(
            metadata=metadata,
            fingerprint=fingerprint_of,
            read_through=readable_to_end,
            prepare=preparer.prepare,
            seat=nullcontext(),
            show=asker.show,
            journal=journal,
            now=local_now,
            policy=policies(settings, who).of,
            alone=lambda *_: nullcontext(),
            run="",
            admit=asker.admit,
        )
        tagged, problem = await _walk(photo, tools, metadata)
    return Preview(
        photo=photo,
        profile=who.profile_of(photo),
        mode=settings.metadata.mode,
        asked=ask,
        tagged=tagged,
        exchanges=tuple(chat.exchanges),
        answers=journal.draft,
        plan=metadata.planned,
        obstacle=metadata.obstacle,
        problem=problem,
    )


async def _walk(photo: Photo, tools: Tools, metadata: _Unwritten) -> tuple[str | None, str | None]:
    """Walk the journey; say why the photo would be left alone, and why it ended before its time."""
    job, steps, tagged = Job(id=0, photo=photo, state=JobState.RUNNING, lease="", generation=0), Steps(), None
    try:
        record = await process(job, tools, steps)
        if record.outcome is Outcome.SKIPPED:
            tagged = record.reason
            assert metadata.existing is not None
            policy = tools.policy(photo)
            facts = persons_words(*await recognised(metadata.existing, tools), policy)
            await converse(job, tools, steps, facts, Draft(), policy.stages)
    except (ReplyError, RequestRejected, ServerUnavailable) as error:
        return tagged, str(error)
    return tagged, None


def _photo(settings: Settings, path: Path) -> Photo:
    fingerprint = fingerprint_of(path)
    if fingerprint is None:
        raise PhotoGone(f"there is no file {path}")
    watched = [folder.path for folder in settings.folders]
    folder = next((parent for parent in path.parents if parent in watched), path.resolve().parent)
    return Photo(path=path, folder=folder, fingerprint=fingerprint)


def _store(stack: AsyncExitStack, settings: Settings) -> MetadataStore:
    exiftool = ExifTool(settings.metadata.exiftool, timeout_seconds=settings.metadata.timeout_seconds)
    store = MetadataStore(settings.metadata, exiftool=exiftool, tool_version=__version__, now=local_now)
    stack.callback(store.close)
    store.start()
    return store


async def _servers(
    stack: AsyncExitStack, settings: Settings, who: Cast, *, use_loader: bool, environ: Mapping[str, str]
) -> Pool:
    keys, consents = keys_of(settings, environ), Consents(settings.remote)
    pool = Pool(who.distinct, keys=keys, consents=consents, verify=Verifier().verify, prove=show_canary)
    stack.push_async_callback(pool.close)
    if use_loader:
        loader = Loader(environ=environ, keys=keys, consents=consents)
        stack.push_async_callback(loader.stop)
        await loader.start(who.distinct)
    await pool.start()
    return pool


class _Recorder:
    """Keeps what is asked and answered. Without anybody to ask, a placeholder is the answer."""

    def __init__(self, chat: Chat | None, consents: Consents) -> None:
        self._chat = chat
        self._consents = consents
        self.exchanges: list[Exchange] = []

    def available(self, entry: Entry, *, session: str | None = None) -> bool:
        """Tell whether an endpoint of this entry takes requests; with nobody to ask, the first is as good."""
        return self._chat is None or self._chat.available(entry, session=session)

    def tellable(self, entry: Entry, folder: Path) -> Disclosure:
        """Return what this entry may be told.

        With nobody to ask it is not known where its endpoints are: what was agreed to for them holds.
        """
        if self._chat is not None:
            return self._chat.tellable(entry, folder)
        agreed = [said for url in entry.endpoints if (said := self._consents.agreed(url, folder))]
        return Disclosure(
            folder=folder,
            people=all(said.people for said in agreed),
            places=all(said.places for said in agreed),
        )

    def admit(self, entry: Entry, folder: Path) -> None:
        """Refuse photos of a folder that may not be sent to this entry."""
        if self._chat is not None:
            self._chat.admit(entry, folder)

    async def chat(
        self, entry: Entry, request: ChatRequest, *, session: str, disclosed: Disclosure
    ) -> ChatReply:
        """Send one request to an endpoint of this entry."""
        self.exchanges.append(Exchange(entry=entry, request=request, reply=None))
        if self._chat is None:
            return _placeholder(entry, request)
        reply = await self._chat.chat(entry, request, session=session, disclosed=disclosed)
        self.exchanges[-1] = self.exchanges[-1].evolve(reply=reply)
        return reply


def _placeholder(entry: Entry, request: ChatRequest) -> ChatReply:
    return ChatReply(
        text=PLACEHOLDERS[request.stage],
        finish_reason="stop",
        reasoning=None,
        refusal=None,
        model=entry.served_model,
        endpoint="",
        prompt_tokens=None,
        completion_tokens=None,
        seconds=0.0,
    )


class _Unwritten:
    """A metadata store that keeps the plan instead of carrying it out."""

    def __init__(self, store: MetadataStore) -> None:
        self._store = store
        self.existing: Existing | None = None
        self.planned: WritePlan | None = None
        self.obstacle: str | None = None

    def read(self, photo: Photo) -> Existing:
        """Say what file and sidecar hold now."""
        self.existing = self._store.read(photo)
        return self.existing

    def read_beside(self, photo: Photo, refusal: str) -> Existing:
        """Do as `read`, for a photo that cannot be written into."""
        return self._store.read_beside(photo, refusal)

    def check_writable(self, existing: Existing) -> None:
        """Note what would keep the words from being written; the models are asked all the same."""
        try:
            self._store.check_writable(existing)
        except (PhotoHeld, WriteRefused, FolderUnavailable) as error:
            self.obstacle = str(error)

    def content_hash(self, photo: Photo) -> str:
        """Say which picture this is."""
        return self._store.content_hash(photo)

    def plan(self, existing: Existing, annotation: Annotation, policy: Policy) -> WritePlan:
        """Decide what to write where."""
        self.planned = self._store.plan(existing, annotation, policy)
        return self.planned

    def apply(self, plan: WritePlan) -> Written:
        """Leave everything as it is."""
        return Written(
            target=plan.target,
            photo_fingerprint=plan.existing.photo.fingerprint,
            content_hash=plan.content_hash or "",
        )


class _Recollection:
    """Remembers what the ledger does of a picture, but takes no earlier answer for one: all is asked anew."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self.draft = Draft()

    async def recall(self, content_hash: str, path: Path | None = None) -> Memory:
        """Say what is known of a picture, by its content; and whether the photo at a path is under review."""
        return await asyncio.to_thread(self._recall, content_hash, path)

    def _recall(self, content_hash: str, path: Path | None) -> Memory:
        if not self._database.exists():
            return Memory()
        with read_only(self._database) as db:
            memory = memory_of(db, content_hash, path)
        # Their words stay: what stands of them in the photo is not told to the models as a person's. Nobody's
        # answers are not still good.
        return memory.evolve(answers=memory.answers.evolve(origins={}))

    async def answers_about(self, photo: Photo) -> Draft | None:  # noqa: ARG002
        """Know of no answers about the other half of a pair."""
        return Draft()

    async def save_draft(self, job: Job, draft: Draft) -> None:  # noqa: ARG002
        """Keep the answers so far, for whoever looks."""
        self.draft = draft

    async def intend(self, record: Record) -> None:
        """Note nothing: nothing is going to be written."""
