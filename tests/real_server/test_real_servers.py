"""The whole daemon against real model servers, with a model of noise: `scripts/real-servers` runs these."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from support import real_servers
from support.real_servers import MODEL, RealServer, held
from support.running import House, read_tags, wait_until
from tagger_daemon.model import JobState

pytestmark = [pytest.mark.real_server, pytest.mark.timeout(600)]

PHOTOS = 20

#: Server -> its counter of prompt tokens that came from a cache, and its dialect.
CACHED = {
    "llama-server": "llamacpp:prompt_tokens_cached_total",
    "vllm": "vllm:prefix_cache_hits_total",
}
MAKE: dict[str, Callable[..., RealServer]] = {
    "llama-server": real_servers.llama_server,
    "vllm": real_servers.vllm,
}


def needs(*servers: str) -> pytest.MarkDecorator:
    """Skip a test unless these servers are installed and asked for."""
    missing = [server for server in servers if not real_servers.wanted(server)]
    return pytest.mark.skipif(bool(missing), reason=f"scripts/real-servers installs {', '.join(missing)}")


BOTH = [pytest.param(name, marks=needs(name)) for name in MAKE]


def registered(backend: str, *urls: str, **serving: Any) -> dict[str, Any]:
    """A registry entry for a model of noise: it tells pictures apart, and cannot name a colour."""
    return {
        "name": "noise",
        "backend": backend,
        "served_model_id": MODEL,
        "roles": ["caption", "keywords", "description"],
        "capabilities": {"vision": True},
        "serving": {
            "endpoints": list(urls),
            "limits": {"start": 2, "max": 2},
            "timeouts": {"stage": 120},
            "json_schema": True,
            "canary": "differences",
            **serving,
        },
    }


def a_house(root: Path, entry: dict[str, Any], **settings: Any) -> House:
    """A house whose prompts ask for JSON."""
    profiles = root / "profiles"
    profiles.mkdir()
    shutil.copy(Path(__file__).with_name("noise.toml"), profiles)
    top: dict[str, Any] = {
        "profiles_dir": str(profiles),
        "prompt_profile": "noise",
        "max_workers": 4,
        "queue": {"max_attempts": 20, "backoff_seconds": 0},
        **settings,
    }
    return House(root=root, registry=[entry], settings=top)


def end(house: House, count: int) -> None:
    """Wait until so many photos have met their end."""

    def ended() -> bool:
        counts = house.counts()
        return counts.get(JobState.DONE, 0) + counts.get(JobState.FAILED, 0) >= count

    wait_until(ended, f"{count} photos have met their end: {house.counts()}", patience=400)


def is_clean(text: str) -> bool:
    """Tell whether a text holds nothing that no photo should carry."""
    kinds = {unicodedata.category(letter) for letter in text}
    return (
        bool(text.strip())
        and not kinds & {"Cc", "Cf", "Cs", "Co", "Cn"}
        and not any(mark in text for mark in ("<think", "</", '{"', "```", "\ufffd", "  "))
    )


def assert_valid(found: dict[str, Any]) -> None:
    """Hold what stands in one photo against what may be written."""
    title, description = found["XMP-dc:Title"], found["XMP-dc:Description"]
    subject = found["XMP-dc:Subject"]
    keywords = subject if isinstance(subject, list) else [subject]
    assert is_clean(title), title
    assert len(title) <= 200
    assert is_clean(description), description
    assert len(description) <= 2000
    assert 1 <= len(keywords) <= 15
    assert all(is_clean(str(word)) and len(str(word)) <= 40 for word in keywords), keywords
    assert len({str(word).casefold() for word in keywords}) == len(keywords)


def cached_stages(house: House) -> tuple[int, int, int]:
    """Of all photos, how many had each stage's prompt in the server's cache, by the audit."""
    lines = [line for line in house.audit() if line["outcome"] == "written"]
    counts = [
        sum((line["stages"][stage]["tokens"]["cached"] or 0) > 100 for line in lines)
        for stage in ("caption", "keywords", "description")
    ]
    return counts[0], counts[1], counts[2]


@pytest.mark.parametrize("kind", BOTH)
def test_twenty_photos_through_the_whole_daemon(tmp_path: Path, kind: str) -> None:
    with MAKE[kind](tmp_path / "server.log") as server:
        house = a_house(tmp_path, registered(kind, server.base_url))
        photos = house.draw(PHOTOS, size=1600)
        before = server.metrics()[CACHED[kind]]
        with house.start():
            end(house, PHOTOS)
        cached = server.metrics()[CACHED[kind]] - before

    for found in read_tags(photos).values():
        assert_valid(found)
    _, second, third = cached_stages(house)
    assert (second, third) == (PHOTOS, PHOTOS)
    told = sum(
        line["stages"][stage]["tokens"]["cached"] or 0
        for line in house.audit()
        for stage in ("caption", "keywords", "description")
    )
    assert cached >= told * 0.9
    requests = sum(stage["attempts"] for line in house.audit() for stage in line["stages"].values())
    held(
        kind,
        f"{PHOTOS} photos, valid fields in every one; stages 2 and 3 of each from the cache",
        f"{requests} answers asked for, {cached:.0f} tokens from the cache by its own counter",
    )


@pytest.mark.parametrize("kind", BOTH)
def test_a_server_stopped_in_mid_run_and_started_again_loses_nothing(tmp_path: Path, kind: str) -> None:
    server = MAKE[kind](tmp_path / "server.log")
    with server:
        house = a_house(tmp_path, registered(kind, server.base_url, timeouts={"stage": 30}))
        with house.start():
            photos = house.draw(PHOTOS, size=1600)
            wait_until(
                lambda: house.counts().get(JobState.DONE, 0) >= 3, "some photos are done", patience=200
            )
            server.terminate()
            wait_until(lambda: "photos wait" in house.log_text(), "the daemon has noticed", patience=60)
            before = house.counts().get(JobState.DONE, 0)
            server.kill()
            server.start()
            end(house, PHOTOS)

    assert before < PHOTOS
    assert house.counts() == {JobState.DONE: PHOTOS}
    for found in read_tags(photos).values():
        assert_valid(found)
    held(kind, "SIGTERM in mid-run and started again: nothing lost", f"{before} of {PHOTOS} were done before")


@pytest.mark.parametrize("kind", BOTH)
def test_a_thinking_model_with_its_thinking_off(tmp_path: Path, kind: str) -> None:
    with MAKE[kind](tmp_path / "server.log", model="thinking") as server:
        house = a_house(tmp_path, registered(kind, server.base_url))
        photos = house.draw(4, size=800)
        with house.start():
            end(house, 4)
        assert house.counts() == {JobState.DONE: 4}
        for found in read_tags(photos).values():
            assert_valid(found)

        aloud = registered(
            kind, server.base_url, extra_body={"chat_template_kwargs": {"enable_thinking": True}}
        )
        (tmp_path / "aloud").mkdir()
        second = a_house(tmp_path / "aloud", aloud)
        with second.start():
            second.draw(1, size=800)
            refused = "did not pass the canary: it thinks aloud"
            wait_until(lambda: refused in second.log_text(), "the canary has shown it", patience=120)
            assert second.counts().get(JobState.DONE, 0) == 0
    held(kind, "a thinking model, its thinking off: valid fields; on: refused by the canary", "4 photos")


@pytest.mark.parametrize("kind", BOTH)
def test_no_bad_word_of_a_wild_model_reaches_a_file(tmp_path: Path, kind: str) -> None:
    with MAKE[kind](tmp_path / "server.log", model="wild") as server:
        house = a_house(
            tmp_path, registered(kind, server.base_url), queue={"max_attempts": 6, "backoff_seconds": 0}
        )
        photos = house.draw(PHOTOS, size=800)
        with house.start():
            end(house, PHOTOS)

    told = house.log_text()
    assert "passed the canary" in told, "what is judged are answers about photos"
    refused = told.count("; tried again in ") + told.count(": failed: ")
    assert refused >= PHOTOS, "the model was wild"
    counts = house.counts()
    tags = read_tags(photos)
    written = {Path(line["image"]).name for line in house.audit() if line["outcome"] == "written"}
    assert len(written) == counts.get(JobState.DONE, 0)
    for name, found in tags.items():
        if name in written:
            assert_valid(found)
        else:
            assert not any(tag in found for tag in ("XMP-dc:Title", "XMP-dc:Description", "XMP-dc:Subject"))
    assert written, "some answers were good enough"
    failed = counts.get(JobState.FAILED, 0)
    held(
        kind,
        "a wild model, that passes the canary: no bad word in any file",
        f"{refused} answers refused; {len(written)} photos written, {failed} failed visibly",
    )


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[dict[str, RealServer]]:
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(real_servers.llama_server(tmp_path / f"{name}.log", slots=2))
            for name in ("a", "b")
        }


@needs("llama-server", "litellm")
def test_a_gateway_keeps_a_photo_at_one_replica_and_survives_the_death_of_one(
    tmp_path: Path, replicas: dict[str, RealServer]
) -> None:
    with real_servers.litellm(tmp_path / "litellm.log", replicas) as gateway:
        entry = registered(
            "litellm", gateway.base_url, affinity_header="x-litellm-session-id", api_key_env="LITELLM_KEY"
        )
        house = a_house(tmp_path, entry)
        house.environ = {"LITELLM_KEY": "sk-test"}
        with house.start():
            photos = house.draw(PHOTOS, size=1600)
            end(house, PHOTOS)
            worked = {
                name: server.metrics()["llamacpp:prompt_tokens_total"] for name, server in replicas.items()
            }
            _, second, third = cached_stages(house)
            later = house.draw(PHOTOS, size=1600, prefix="later")
            wait_until(
                lambda: house.counts()[JobState.DONE] >= PHOTOS + 3, "some more are done", patience=200
            )
            replicas["a"].kill()
            end(house, 2 * PHOTOS)

    assert all(worked.values()), "both replicas had work to do"
    assert (second, third) == (PHOTOS, PHOTOS)
    assert house.counts() == {JobState.DONE: 2 * PHOTOS}
    for found in read_tags([*photos, *later]).values():
        assert_valid(found)
    held(
        "LiteLLM",
        "stages of a photo pinned to one of two replicas; one replica killed in mid-run, nothing lost",
        f"{second} + {third} of {2 * PHOTOS} later stages from the cache",
    )


@needs("transformers")
def test_a_server_without_structured_output_takes_our_requests_and_its_endless_noise_is_refused(
    tmp_path: Path,
) -> None:
    with real_servers.transformers_serve(tmp_path / "server.log") as server:
        entry = registered("transformers", server.base_url)
        entry["served_model_id"] = real_servers.transformers_model()
        house = a_house(tmp_path, entry)
        photos = house.draw(2, size=300)
        before = [photo.read_bytes() for photo in photos]
        with house.start():
            refused = "did not pass the canary: it does not end a short answer"
            wait_until(lambda: refused in house.log_text(), "the canary has shown it", patience=200)
        log = server.log.read_text()

    assert '"POST /v1/chat/completions HTTP/1.1" 200' in log
    assert " 422" not in log
    assert [photo.read_bytes() for photo in photos] == before
    held("transformers serve", "takes our requests; a model that ends nothing is refused by the canary", "")


@needs("llama-server")
def test_the_loader_starts_a_real_server_and_stops_it_and_uses_one_that_it_finds(tmp_path: Path) -> None:
    found = real_servers.llama_server(tmp_path / "server.log")
    launch = {"argv": list(found.argv), "health": "/health", "ready_seconds": 60}
    entry = registered("llama-server", found.base_url, launch=launch)
    house = a_house(tmp_path, entry)
    with house.start() as daemon:
        house.draw(2, size=800)
        end(house, 2)
        assert found.get("/health").is_success
        assert daemon.terminate() == 0
    with pytest.raises(httpx2.ConnectError):
        found.get("/health")

    with found:
        with house.start() as daemon:
            house.draw(2, size=800, prefix="later")
            end(house, 4)
            assert daemon.terminate() == 0
        assert found.get("/health").is_success
    assert house.counts() == {JobState.DONE: 4}
    held("llama-server", "started, stopped, and adopted by the loader", "4 photos")


@needs("llama-server")
def test_a_real_server_of_another_model_is_refused_with_both_names(tmp_path: Path) -> None:
    server = real_servers.llama_server(tmp_path / "server.log", alias="another-vlm")
    with server:
        house = a_house(tmp_path, registered("llama-server", server.base_url))
        with house.start() as daemon:
            house.draw(1, size=300)
            daemon.wait_log("another-vlm")
            assert MODEL in daemon.text()
            assert house.counts().get(JobState.DONE, 0) == 0
    held("llama-server", "serves another model than the registry says: refused, both names shown", "")
