"""Asks the three stages about one photo: prompt, pool, judgement, and who gave the answer."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from loguru import logger

from tagger_daemon.errors import ReplyError
from tagger_daemon.model import Draft, Facts, Origin, Photo, Picture, Stage
from tagger_daemon.vision.again import AS_THE_PROFILE_SAYS, Change, again
from tagger_daemon.vision.dialects import confirmed_digest
from tagger_daemon.vision.entry import ChatReply, ChatRequest, Entry, Profile
from tagger_daemon.vision.facts import fact_lines
from tagger_daemon.vision.prompts import build_request, picture_url, told
from tagger_daemon.vision.replies import read_keywords, read_text

#: Requests for one stage before the photo is put back: a second one, which is changed by what was wrong with
#: the first, often succeeds; a third hardly ever does.
ATTEMPTS_A_STAGE = 2


class Chat(Protocol):
    """What answers a request: the pool, or a stand-in."""

    async def chat(self, entry: Entry, request: ChatRequest, *, session: str) -> ChatReply:
        """Send one request to an endpoint of this entry."""


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
        self._hemisphere = hemisphere
        self._session_key = secrets.token_bytes(32)

    def show(self, photo: Photo, picture: Picture, facts: Facts) -> Conversation:
        """Begin the conversation about one photo."""
        # Servers see which requests belong together, and nothing of the file's name.
        name = str(photo.path).encode(errors="surrogateescape")
        return Conversation(
            asker=self,
            picture_url=picture_url(picture.jpeg),
            facts=fact_lines(facts, hemisphere=self._hemisphere),
            session=hmac.new(self._session_key, name, hashlib.sha256).hexdigest()[:32],
            name=photo.path.name,
        )


class Conversation:
    """Three independent prompts over one picture, whose bytes are the same every time."""

    def __init__(
        self, *, asker: Asker, picture_url: str, facts: Sequence[str], session: str, name: str
    ) -> None:
        self._asker = asker
        self._picture_url = picture_url
        self._facts = facts
        self._session = session
        self._name = name

    async def ask(self, stage: Stage, draft: Draft) -> tuple[str | tuple[str, ...], Origin]:
        """Ask one stage; an answer that cannot be used is asked for once more, as `again` says.

        Returns:
            The caption or description, or the keywords; and who gave them.

        Raises:
            ReplyError: no usable answer.
            ServerUnavailable, RequestRejected: nobody took the request.
        """
        seconds, change = 0.0, AS_THE_PROFILE_SAYS
        for attempt in range(1, ATTEMPTS_A_STAGE + 1):
            reply = await self._send(stage, draft, change)
            seconds += reply.seconds
            try:
                answer = self._judge(stage, reply, change)
            except ReplyError as error:
                if attempt == ATTEMPTS_A_STAGE:
                    raise
                change = again(error)
                logger.debug("{}: {} asked again: {}", self._name, stage, error)
            else:
                return answer, self._origin(stage, reply, seconds=seconds, attempts=attempt)
        raise AssertionError("the last attempt returns or raises")

    async def _send(self, stage: Stage, draft: Draft, change: Change) -> ChatReply:
        entry = self._asker.entries[stage]
        request = build_request(
            stage,
            picture_url=self._picture_url,
            facts=self._facts,
            draft=draft,
            profile=self._asker.profile,
            entry=entry,
            max_keywords=self._asker.max_keywords,
            change=change,
        )
        return await self._asker.chat.chat(entry, request, session=self._session)

    def _judge(self, stage: Stage, reply: ChatReply, change: Change) -> str | tuple[str, ...]:
        profile, limit = self._asker.profile, self._asker.max_keywords
        instruction = told(stage, profile, max_keywords=limit, change=change)
        if stage is Stage.KEYWORDS:
            return read_keywords(reply, limit=limit, language=profile.language, instruction=instruction)
        return read_text(reply, stage, language=profile.language, instruction=instruction)

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
