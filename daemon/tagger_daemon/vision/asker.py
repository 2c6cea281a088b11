"""Asks the three stages about one photo: prompt, pool, judgement, and who gave the answer."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

from loguru import logger

from tagger_daemon.errors import ReplyError
from tagger_daemon.model import Draft, Facts, Origin, Photo, Picture, Stage
from tagger_daemon.vision.consents import Disclosure, repeatable, tellable
from tagger_daemon.vision.dialects import confirmed_digest
from tagger_daemon.vision.entry import ChatReply, ChatRequest, Entry, Profile
from tagger_daemon.vision.facts import fact_lines
from tagger_daemon.vision.prompts import build_request, picture_url
from tagger_daemon.vision.replies import read_keywords, read_text

#: Requests for one stage before the photo is put back: a second one, sampled more freely, often succeeds
#: where the first ran in circles; a third hardly ever does.
ATTEMPTS_A_STAGE = 2


class Chat(Protocol):
    """What answers a request: the pool, or a stand-in."""

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
        entries: Mapping[Stage, Entry],
        registry_hash: str,
        profile: Profile,
        max_keywords: int,
        hemisphere: Literal["north", "south"] | None,
        chat: Chat,
    ) -> None:
        self.entries = entries
        self.registry_hash = registry_hash
        self.profile = profile
        self.max_keywords = max_keywords
        self.chat = chat
        self.hemisphere = hemisphere
        self._session_key = secrets.token_bytes(32)

    def show(self, photo: Photo, picture: Picture, facts: Facts) -> Conversation:
        """Begin the conversation about one photo."""
        # Servers see which requests belong together, and nothing of the file's name.
        name = str(photo.path).encode(errors="surrogateescape")
        return Conversation(
            asker=self,
            picture_url=picture_url(picture.jpeg),
            facts=facts,
            folder=photo.path.parent,
            session=hmac.new(self._session_key, name, hashlib.sha256).hexdigest()[:32],
            name=photo.path.name,
        )

    def admit(self, photo: Photo, stages: Sequence[Stage]) -> None:
        """Refuse a photo that may not be sent to whoever would answer these stages.

        Raises:
            NotConsented: it may not leave the private network.
        """
        for entry in {self.entries[stage].name: self.entries[stage] for stage in stages}.values():
            self.chat.admit(entry, photo.path.parent)


class Conversation:
    """Three independent prompts over one picture, whose bytes are the same every time."""

    def __init__(
        self, *, asker: Asker, picture_url: str, facts: Facts, folder: Path, session: str, name: str
    ) -> None:
        self._asker = asker
        self._picture_url = picture_url
        self._facts = facts
        self._folder = folder
        self._session = session
        self._name = name

    async def ask(self, stage: Stage, draft: Draft) -> tuple[str | tuple[str, ...], Origin]:
        """Ask one stage; an answer that cannot be used is asked for once more, at a higher temperature.

        Returns:
            The caption or description, or the keywords; and who gave them.

        Raises:
            ReplyError: no usable answer.
            ServerUnavailable, RequestRejected: nobody took the request.
        """
        seconds = 0.0
        for attempt in range(1, ATTEMPTS_A_STAGE + 1):
            reply = await self._send(stage, draft, attempt)
            seconds += reply.seconds
            try:
                answer = self._judge(stage, reply)
            except ReplyError as error:
                if attempt == ATTEMPTS_A_STAGE:
                    raise
                logger.debug("{}: {} asked again: {}", self._name, stage, error)
            else:
                return answer, self._origin(stage, reply, seconds=seconds, attempts=attempt)
        raise AssertionError("the last attempt returns or raises")

    async def _send(self, stage: Stage, draft: Draft, attempt: int) -> ChatReply:
        entry = self._asker.entries[stage]
        disclosed = self._asker.chat.tellable(entry, self._folder)
        request = build_request(
            stage,
            picture_url=self._picture_url,
            facts=fact_lines(tellable(self._facts, disclosed), hemisphere=self._asker.hemisphere),
            draft=repeatable(draft, entry, disclosed),
            profile=self._asker.profile,
            entry=entry,
            max_keywords=self._asker.max_keywords,
            attempt=attempt,
        )
        return await self._asker.chat.chat(entry, request, session=self._session, disclosed=disclosed)

    def _judge(self, stage: Stage, reply: ChatReply) -> str | tuple[str, ...]:
        if stage is Stage.KEYWORDS:
            return read_keywords(reply, limit=self._asker.max_keywords)
        return read_text(reply, stage)

    def _origin(self, stage: Stage, reply: ChatReply, *, seconds: float, attempts: int) -> Origin:
        entry = self._asker.entries[stage]
        return Origin(
            entry=entry.name,
            model=reply.model,
            served=entry.served_model,
            digest=confirmed_digest(entry),
            registry=self._asker.registry_hash,
            profile=self._asker.profile.id,
            profile_hash=self._asker.profile.hash,
            endpoint=reply.endpoint,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            cached_tokens=reply.cached_tokens,
            seconds=round(seconds, 3),
            attempts=attempts,
        )
