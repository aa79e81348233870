"""The page with the 3D player as a file: what it says, that it loads nothing, that texts cannot break out."""

import base64
import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from ites_fast.errors import InputError
from ites_fast.pictures import html
from ites_fast.pictures.html import write_html

RIGHT_ANKLE = 3
TYPES = {"frame": "<i4", "root": "<f4", "offset": "<i2", "confidence": "u1", "ambiguity": "u1", "keypoints": "<i2"}


class Page(HTMLParser):
    """Elements of a page that hold text, by their id, tags where they have none."""

    def __init__(self, path):
        super().__init__()
        self.text, self.tags, self.open = {}, [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.open.append(dict(attributes).get("id", tag))

    def handle_endtag(self, tag):
        self.open.pop()

    def handle_data(self, data):
        if self.open:
            self.text[self.open[-1]] = self.text.get(self.open[-1], "") + data

    def array(self, person, field):
        data = base64.b64decode(self.text[f"data-{person}-{field}"], validate=True)
        return np.frombuffer(data, TYPES[field])


def positions_of(path, index):
    """Positions as the page stores them (N, 17, 3), and the size of a step."""
    page = Page(path)
    step = json.loads(page.text["scene"])["step"]
    root = page.array(index, "root").reshape(-1, 1, 3).astype(np.float64)
    return root + page.array(index, "offset").reshape(-1, 17, 3) * step, step


def test_the_page_has_the_positions_to_a_tenth_of_a_millimetre(scene, tmp_path):
    write_html(scene, tmp_path / "a.html")
    world = scene.to_world("z")
    assert abs(world.people[0].positions[..., 2].min()) < 0.02
    for index, person in enumerate(world.people):
        positions, step = positions_of(tmp_path / "a.html", index)
        np.testing.assert_allclose(positions, person.positions, rtol=0, atol=0.51 * step)
        assert step < 1e-4
        np.testing.assert_array_equal(Page(tmp_path / "a.html").array(index, "frame"), person.frame)


def test_the_page_has_confidence_ambiguity_and_keypoints(scene, tmp_path):
    faint = scene.people[0].confidence.copy()
    faint[0, 0] = 1e-4
    scene = replace(scene, people=(replace(scene.people[0], confidence=faint),))
    write_html(scene, tmp_path / "a.html")
    page, person = Page(tmp_path / "a.html"), scene.people[0]
    confidence = page.array(0, "confidence").reshape(-1, 17)
    np.testing.assert_allclose(confidence / 255, person.confidence, rtol=0, atol=1 / 255)
    np.testing.assert_array_equal(confidence == 0, person.confidence == 0)
    np.testing.assert_allclose(page.array(0, "ambiguity") / 255, person.ambiguity, rtol=0, atol=0.51 / 255)
    stored = page.array(0, "keypoints").reshape(-1, 17, 2).astype(float)
    stored[stored == -32768] = np.nan
    stored *= json.loads(page.text["scene"])["keypoint_step"]
    np.testing.assert_allclose(stored, person.keypoints[..., :2], rtol=0, atol=0.05)


def test_people_who_are_far_away_keep_their_shape(scene, tmp_path):
    person = scene.people[0]
    moved = (person.positions + np.array([3e4, 0, 0])).astype(np.float32)
    far = replace(scene, people=(replace(person, positions=moved, keypoints=None),))
    write_html(far, tmp_path / "a.html")
    positions, step = positions_of(tmp_path / "a.html", 0)
    assert step < 1e-4
    np.testing.assert_allclose(positions, far.to_world("z").people[0].positions, rtol=0, atol=0.51 * step)


def test_long_recordings_are_written_in_chunks(scene, tmp_path, monkeypatch):
    write_html(scene, tmp_path / "whole.html")
    monkeypatch.setattr(html, "ROWS", 9)
    write_html(scene, tmp_path / "chunks.html")
    assert (tmp_path / "chunks.html").read_bytes() == (tmp_path / "whole.html").read_bytes()


def test_a_world_with_y_up_gives_the_same_page_as_the_camera(scene, tmp_path):
    for axes in ("y", "z"):
        write_html(scene.to_world(axes), tmp_path / f"{axes}.html")
    positions = [positions_of(tmp_path / f"{axes}.html", 1)[0] for axes in ("y", "z")]
    np.testing.assert_allclose(*positions, rtol=0, atol=1e-6)


def test_a_page_says_nothing_of_the_folders_it_was_made_in(scene, tmp_path):
    write_html(replace(scene, source=str(tmp_path / "clip.json")), tmp_path / "a.html")
    assert Page(tmp_path / "a.html").text["title"] == "clip.json"
    assert str(tmp_path) not in (tmp_path / "a.html").read_text()


@pytest.mark.parametrize("ground", [0, 1.5])
def test_people_who_stand_elsewhere_have_the_ground_below_them(scene, tmp_path, ground):
    world = scene.to_world("z")
    people = [replace(person, positions=person.positions + np.float32([0, 0, ground])) for person in world.people]
    scene = replace(world, people=tuple(people))
    write_html(scene, tmp_path / "a.html")
    assert json.loads(Page(tmp_path / "a.html").text["scene"])["ground"] == pytest.approx(ground, abs=0.15)


def test_the_page_loads_nothing(scene, tmp_path):
    write_html(scene, tmp_path / "a.html")
    page = Page(tmp_path / "a.html")
    assert not [tag for tag, attributes in page.tags if "src" in attributes]
    assert [attributes["href"] for _, attributes in page.tags if "href" in attributes] == ["data:,"]
    policy = next(attributes["content"] for _, attributes in page.tags if "http-equiv" in attributes)
    assert policy.startswith("default-src 'none'; img-src data:; script-src 'sha256-")
    assert "unsafe" not in policy
    assert "://" not in (tmp_path / "a.html").read_text()


def test_names_and_notes_cannot_break_out(scene, tmp_path):
    evil = "</script><script>window.broken = true</script><!--<script> & \u2028 ${title} $title"
    people = (replace(scene.people[0], name=evil), scene.people[1])
    write_html(replace(scene, source=evil, notes=(evil,), people=people), tmp_path / "evil.html")
    write_html(scene, tmp_path / "plain.html")
    page, plain = Page(tmp_path / "evil.html"), Page(tmp_path / "plain.html")
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    about = json.loads(page.text["scene"])
    assert about["people"][0]["name"] == about["source"] == about["notes"][0] == evil
    assert page.text["title"] == evil


def test_people_whose_place_is_unknown_stand_side_by_side(scene, tmp_path):
    third = replace(scene.people[1], name="third", frame=scene.people[1].frame + 100)
    keypoints = scene.people[0].keypoints[:20] - np.float32([300, 0, 0])  # left of the first in the image
    second = replace(scene.people[1], keypoints=keypoints)
    scene = replace(scene, placed=False, people=(scene.people[0], second, third), frames=150)
    write_html(scene, tmp_path / "a.html")
    first, second, third = (person["shift"] for person in json.loads(Page(tmp_path / "a.html").text["scene"])["people"])
    assert second == -first
    assert first > 0.5
    assert third in (first, second)


def test_a_scene_that_is_none_leaves_the_file_alone(scene, tmp_path):
    path = tmp_path / "a.html"
    path.write_text("before")
    positions = scene.people[0].positions.copy()
    positions[3, 4, 1] = np.nan
    with pytest.raises(InputError, match="not finite"):
        write_html(replace(scene, people=(replace(scene.people[0], positions=positions),)), path)
    assert path.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["a.html"]
