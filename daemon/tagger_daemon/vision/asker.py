"""Asks the three stages about one photo: prompt, pool, judgement, and who gave the answer."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

from loguru import logger

from tagger_daemon.errors import NotConsented, ReplyError, ReplyTimeout, ServerUnavailable
from tagger_daemon.model import Answer, Draft, Facts, Origin, Photo, Pictures, Stage
from tagger_daemon.vision.again import AS_THE_PROFILE_SAYS, Change, again
from tagger_daemon.vision.consents import Disclosure, repeatable
from tagger_daemon.vision.dialects import confirmed_digest
from tagger_daemon.vision.entry import ChatReply, ChatRequest, Entry, Profile
from tagger_daemon.vision.facts import fact_lines
from tagger_daemon.vision.prompts import build_request, picture_url, told
from tagger_daemon.vision.replies import read_keywords, read_text

#: Requests for one stage before the photo is put back: a second one, which is changed by what was wrong with
#: the first, often succeeds; a third hardly ever does.
ATTEMPTS_A_STAGE = 2


#: Answers in a row after which an entry that others stood in for counts as back: one that is overloaded
#: answers now and then, and a line in the log each time would say nothing.
STEADY = 20


class Chat(Protocol):
    """What answers a request: the pool, or a stand-in."""

    def available(self, entry: Entry, *, session: str | None = None) -> bool:
        """Tell whether an endpoint of this entry takes requests about this photo, as far as is known."""

    async def chat(
        self, entry: Entry, request: ChatRequest, *, session: str, disclosed: Disclosure
    ) -> ChatReply:
        """Send one request to an endpoint of this entry that may be told what it tells."""

    def tellable(self, entry: Entry, folder: Path) -> Disclosure:
        """Return what this entry may be told about photos in a folder."""

    def admit(self, entry: Entry, folder: Path) -> None:
        """Refuse photos of a folder that may not be sent to this entry."""


class Asker:
    """Knows whom to ask for each stage, and with which words."""

    def __init__(
        self,
        *,
        chains: Mapping[Stage, Sequence[Entry]],
        registry_hash: str,
        profile_of: Callable[[Photo], Profile],
        max_keywords: int,
        long_edge: int,
        hemisphere: Literal["north", "south"] | None,
        chat: Chat,
    ) -> None:
        self.chains = chains
        self.standing_in = StandingIn()
        self.registry_hash = registry_hash
        self.max_keywords = max_keywords
        self.chat = chat
        self._long_edge = long_edge
        self._profile_of = profile_of
        self.hemisphere = hemisphere
        self._session_key = secrets.token_bytes(32)

    @property
    def long_edges(self) -> tuple[int, ...]:
        """The sizes in which pictures have to be shown, pixels of the longer side, each once."""
        entries = (entry for chain in self.chains.values() for entry in chain)
        return tuple(dict.fromkeys(map(self.long_edge_for, entries)))

    def long_edge_for(self, entry: Entry) -> int:
        """The size in which this entry is shown pictures."""
        return entry.long_edge or self._long_edge

    def show(self, photo: Photo, pictures: Pictures, facts: Facts) -> Conversation:
        """Begin the conversation about one photo."""
        # Servers see which requests belong together, and nothing of the file's name.
        name = str(photo.path).encode(errors="surrogateescape")
        return Conversation(
            asker=self,
            profile=self._profile_of(photo),
            picture_urls={edge: picture_url(picture.jpeg) for edge, picture in pictures.items()},
            facts=facts,
            folder=real_folder(photo),
            session=hmac.new(self._session_key, name, hashlib.sha256).hexdigest()[:32],
            name=photo.path.name,
        )

    def admit(self, photo: Photo, stages: Sequence[Stage]) -> None:
        """Refuse a photo that may not be sent to anybody who could answer one of these stages.

        Raises:
            NotConsented: it may not leave the private network.
        """
        folder = real_folder(photo)
        for stage in stages:
            chain, refusals = self.chains[stage], []
            for entry in chain:
                try:
                    self.chat.admit(entry, folder)
                except NotConsented as error:
                    refusals.append(error)
            if len(refusals) == len(chain):
                raise refusals[0]


def real_folder(photo: Photo) -> Path:
    """Return the folder that a photo lies in, whatever links lead to it: the one that has to be agreed to.

    Inside its watch folder it is given as that is written; a link that leads out of it counts for nothing.
    """
    real, watched = Path(os.path.realpath(photo.path)), Path(os.path.realpath(photo.folder))
    if real.is_relative_to(watched):
        return (photo.folder / real.relative_to(watched)).parent
    return real.parent


class Conversation:
    """Three independent prompts over one picture, whose bytes are the same every time."""

    def __init__(
        self,
        *,
        asker: Asker,
        profile: Profile,
        picture_urls: Mapping[int, str],
        facts: Facts,
        folder: Path,
        session: str,
        name: str,
    ) -> None:
        self._asker = asker
        self._profile = profile
        self._picture_urls = picture_urls
        self._facts = facts
        self._folder = folder
        self._session = session
        self._name = name

    async def ask(self, stage: Stage, draft: Draft) -> Answer:
        """Ask one stage; an answer that cannot be used is asked for once more, as `again` says.

        Raises:
            ReplyError: no usable answer.
            ServerUnavailable, RequestRejected: nobody took the request.
        """
        seconds, change = 0.0, AS_THE_PROFILE_SAYS
        for attempt in range(1, ATTEMPTS_A_STAGE + 1):
            try:
                entry, reply = await self._send(stage, draft, change)
                seconds += reply.seconds
                value = self._judge(stage, reply, change)
            except ReplyTimeout:
                raise  # another request may take as long
            except ReplyError as error:
                if attempt == ATTEMPTS_A_STAGE:
                    raise
                change = again(error)
                logger.debug("{}: {} asked again: {}", self._name, stage, error)
            else:
                origin = self._origin(stage, entry, reply, seconds=seconds, attempts=attempt)
                return Answer(value=value, origin=origin, raw=reply.text)
        raise AssertionError("the last attempt returns or raises")

    async def _send(self, stage: Stage, draft: Draft, change: Change) -> tuple[Entry, ChatReply]:
        """Ask the first of the chain that takes requests now, and return which one that was."""
        chain, chat = self._asker.chains[stage], self._asker.chat
        failure: ServerUnavailable | None = None
        for entry in chain:
            if not chat.available(entry, session=self._session):
                continue
            try:
                reply = await self._send_to(entry, stage, draft, change)
            except ServerUnavailable as error:
                failure = failure or error
            else:
                self._asker.standing_in.note(entry, chain[0])
                return entry, reply
        if failure:
            raise failure
        # Asked all the same: whoever knows that it takes none also knows why.
        return chain[0], await self._send_to(chain[0], stage, draft, change)

    async def _send_to(self, entry: Entry, stage: Stage, draft: Draft, change: Change) -> ChatReply:
        disclosed = self._asker.chat.tellable(entry, self._folder)
        request = build_request(
            stage,
            picture_url=self._picture_urls[self._asker.long_edge_for(entry)],
            facts=fact_lines(
                self._facts,
                hemisphere=self._asker.hemisphere,
                people=disclosed.people,
                places=disclosed.places,
            ),
            draft=repeatable(draft, entry, disclosed),
            profile=self._profile,
            entry=entry,
            max_keywords=self._asker.max_keywords,
            change=change,
        )
        return await self._asker.chat.chat(entry, request, session=self._session, disclosed=disclosed)

    def _judge(self, stage: Stage, reply: ChatReply, change: Change) -> str | tuple[str, ...]:
        profile, limit = self._profile, self._asker.max_keywords
        instruction = told(stage, profile, max_keywords=limit, change=change)
        if stage is Stage.KEYWORDS:
            return read_keywords(
                reply, limit=limit, language=profile.keyword_language, instruction=instruction
            )
        return read_text(reply, stage, language=profile.language, instruction=instruction)

    def _origin(
        self, stage: Stage, entry: Entry, reply: ChatReply, *, seconds: float, attempts: int
    ) -> Origin:
        first = self._asker.chains[stage][0]
        return Origin(
            entry=entry.name,
            model=reply.model,
            served=entry.served_model,
            backend=entry.backend,
            digest=confirmed_digest(entry),
            registry=self._asker.registry_hash,
            profile=self._profile.id,
            profile_hash=self._profile.hash,
            endpoint=reply.endpoint,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            cached_tokens=reply.cached_tokens,
            fallback_for="" if entry.name == first.name else first.name,
            seconds=round(seconds, 3),
            attempts=attempts,
        )


class StandingIn:
    """Says in the log when an entry begins to stand in for another, and when that is over: once each."""

    def __init__(self) -> None:
        self._now: set[tuple[str, str]] = set()  # who answers, for whom
        self._in_a_row: Counter[str] = Counter()  # answers of an entry since another last stood in for it

    def note(self, entry: Entry, first: Entry) -> None:
        """Take notice of an answer by `entry`, where `first` was to be asked."""
        if entry.name != first.name:
            self._in_a_row[first.name] = 0
            if (entry.name, first.name) not in self._now:
                self._now.add((entry.name, first.name))
                logger.warning("{} stands in for {}, which takes no requests now", entry.name, first.name)
        elif any(absent == first.name for _, absent in self._now):
            self._in_a_row[first.name] += 1
            if self._in_a_row[first.name] == STEADY:
                self._now = {pair for pair in self._now if pair[1] != first.name}
                logger.info("{} answers again; nobody stands in for it", first.name)
