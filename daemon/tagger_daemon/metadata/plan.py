"""What is to be written: empty fields are filled, keywords added, and nothing of a person's is replaced.

Pure.
"""

from __future__ import annotations

import json

from tagger_daemon.metadata import fields
from tagger_daemon.metadata.merge import added, for_iim
from tagger_daemon.metadata.naming import extension
from tagger_daemon.model import Annotation, Existing, Kept, Origin, TagWrite, WritePlan

A_PERSONS = "a person's words"
OUR_OWN = "our own words from before"


def already_tagged(existing: Existing) -> str | None:
    """Return in plain words why nothing is to be done for a photo, or None if there is."""
    if existing.marker is not None:
        day = existing.marker.written_at[:10]
        return f"already tagged by tagger-daemon on {day}" if day else "already tagged by tagger-daemon"
    titled = existing.title or existing.headline
    if titled and existing.description and (existing.keywords or existing.hierarchical):
        return "already has a title, keywords and a description"
    return None


def make_plan(
    existing: Existing, annotation: Annotation, *, content_hash: str | None, tool_version: str, now: str
) -> WritePlan:
    """Decide what is written for one photo.

    Args:
        existing: what file and sidecar say.
        annotation: the models' answers.
        content_hash: of the picture data, for the marker; None where there is none.
        tool_version: ours, for the marker.
        now: ISO 8601 with zone, whole seconds.
    """
    caption = fields.clean_line(annotation.caption)
    description = fields.clean_text(annotation.description)
    alt_text = fields.cut_at_word(caption, fields.LONGEST_ALT_TEXT)
    new_words = added(annotation.keywords, existing.keywords, existing.hierarchical)
    kept: list[Kept] = []
    texts = {
        **_fill(existing, kept, "Title", existing.title, caption, fields.TITLE, fields.IIM_TITLE),
        **_fill(
            existing, kept, "Description", existing.description, description, fields.DESCRIPTION,
            fields.IIM_DESCRIPTION,
        ),
        **_fill(existing, kept, "Alt text", existing.alt_text, alt_text, fields.ALT_TEXT, None),
    }  # fmt: skip
    lists = _keyword_lists(existing, new_words)
    if existing.keywords or existing.hierarchical:
        kept.append(Kept(field="Keywords", reason="those that were there stay"))
    if not texts and not lists:
        return WritePlan(existing=existing, result=existing, writes=(), kept=tuple(kept))
    writes = [TagWrite(tag=_in_default_language(tag), value=text) for tag, text in texts.items()]
    stood = {
        fields.KEYWORDS: existing.keywords,
        fields.HIERARCHICAL: existing.hierarchical,
        fields.IIM_KEYWORDS: existing.iptc_keywords,
    }
    writes += [TagWrite(tag=tag, value=words, before=stood[tag] or None) for tag, words in lists.items()]
    if existing.source_fingerprint is None:
        writes.append(TagWrite(tag=fields.SIDECAR_FOR, value=extension(existing.photo.path).upper()))
    writes.append(TagWrite(tag=fields.METADATA_DATE, value=fields.exiftool_date(now)))
    writes += _marker(existing, annotation, texts, new_words, content_hash, tool_version, now)
    result = existing.evolve(
        title=texts.get(fields.TITLE, existing.title),
        description=texts.get(fields.DESCRIPTION, existing.description),
        alt_text=texts.get(fields.ALT_TEXT, existing.alt_text),
        keywords=lists.get(fields.KEYWORDS, existing.keywords),
        hierarchical=lists.get(fields.HIERARCHICAL, existing.hierarchical),
    )
    return WritePlan(existing=existing, result=result, writes=tuple(writes), kept=tuple(kept))


def _fill(
    existing: Existing, kept: list[Kept], name: str, current: str | None, text: str, tag: str, iim: str | None
) -> dict[str, str]:
    """Return the texts for one field, none if it is taken, and note then that it was kept."""
    if current:
        ours = existing.marker is not None and existing.marker.fields.get(tag) == fields.text_hash(current)
        kept.append(Kept(field=name, reason=OUR_OWN if ours else A_PERSONS))
        return {}
    if not text:
        return {}
    texts = {tag: text}
    if existing.has_iptc and iim is not None:
        longest = fields.LONGEST_IIM_TITLE if iim == fields.IIM_TITLE else fields.LONGEST_IIM_DESCRIPTION
        texts[iim] = fields.cut_bytes(text, longest)
    return texts


def _keyword_lists(existing: Existing, new_words: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return the whole lists to be written: exiftool replaces a list, or doubles it."""
    if not new_words:
        return {}
    lists = {fields.KEYWORDS: (*existing.keywords, *new_words)}
    if existing.hierarchical:  # some programs look at nothing else once it is there
        lists[fields.HIERARCHICAL] = (*existing.hierarchical, *new_words)
    if existing.has_iptc:
        lists[fields.IIM_KEYWORDS] = for_iim(existing.iptc_keywords, lists[fields.KEYWORDS])
    return lists


def _marker(
    existing: Existing,
    annotation: Annotation,
    texts: dict[str, str],
    new_words: tuple[str, ...],
    content_hash: str | None,
    tool_version: str,
    now: str,
) -> list[TagWrite]:
    before = existing.marker
    hashes = {
        **(before.fields if before else {}),
        **{tag: fields.text_hash(text) for tag, text in texts.items()},
    }
    words = (*(before.keywords if before else ()), *new_words)
    models = {stage.value: _models_entry(origin) for stage, origin in annotation.origins.items()}
    writes = [
        TagWrite(tag=fields.MARKER_SCHEMA, value=fields.SCHEMA_VERSION),
        TagWrite(tag=fields.MARKER_TOOL, value=tool_version),
        TagWrite(tag=fields.MARKER_DATE, value=now),
        TagWrite(tag=fields.MARKER_FIELDS, value=_json(hashes)),
        TagWrite(tag=fields.MARKER_MODELS, value=_json(models)),
    ]
    if content_hash is not None:
        writes.append(TagWrite(tag=fields.MARKER_CONTENT, value=content_hash))
    if words:
        writes.append(TagWrite(tag=fields.MARKER_KEYWORDS, value=words))
    return writes


def _models_entry(origin: Origin) -> dict[str, str | None]:
    """Return what a photo may tell about who described it: enough to ask again, no host and no path."""
    model = origin.model.replace("\\", "/")
    is_path = model.startswith(("/", "~", ".")) or model[1:3] == ":/"
    return {
        "entry": origin.entry,
        "model": model.rpartition("/")[2] if is_path else model,
        "digest": origin.digest,
        "profile": origin.profile,
        "profile_hash": origin.profile_hash,
        "registry": origin.registry,
    }


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _in_default_language(tag: str) -> str:
    return tag if tag.startswith("IPTC:") else tag + fields.DEFAULT_LANGUAGE
