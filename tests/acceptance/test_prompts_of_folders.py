"""The real process asks about each photo with the prompts of its watch folder, and says so in the photo."""

from __future__ import annotations

import json
from pathlib import Path

from support.model_server import ModelServer, Say, image_bytes, system_text
from support.running import House, entry, read_tags
from tagger_daemon.vision.profile import load_profile


def test_each_folder_has_its_own_prompts_and_a_change_of_one_renews_its_photos_alone(tmp_path: Path) -> None:
    with ModelServer() as server:
        house = House(root=tmp_path, registry=[entry(server.base_url)])
        scans = tmp_path / "scans"
        scans.mkdir()

        def watch(profile: str) -> None:
            folders = [{"path": str(house.inbox)}, {"path": str(scans), "prompt_profile": profile}]
            house.settings.update(folders=folders, metadata={"mode": "refresh"})
            house.write()

        watch("Family archive")
        paths = house.draw(2)
        paths[1] = paths[1].rename(scans / "old.jpg")
        assert house.run("run", "--once").returncode == 0
        systems = {load_profile(name).system for name in ("default", "family-archive")}
        assert {system_text(request) for request in server.chat_requests} == systems
        assert len({(system_text(request), image_bytes(request)) for request in server.chat_requests}) == 2
        assert profiles(paths) == ["default", "family-archive"]

        asked = len(server.chat_requests)
        server.script("caption", Say("A wedding party in front of a church."))
        watch("travel")
        assert house.run("run", "--once").returncode == 0
        assert {system_text(request) for request in server.chat_requests[asked:]} == {
            load_profile("travel").system
        }
        assert profiles(paths) == ["default", "travel"]


def profiles(paths: list[Path]) -> list[str]:
    """Return which profile each photo says that its caption is from."""
    tags = read_tags(paths)
    return [json.loads(tags[path.name]["XMP-tagger:Models"])["caption"]["profile"] for path in paths]
