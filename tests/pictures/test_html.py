"""The page with the 3D player: what is in the file, and what headless Chromium makes of it."""

import base64
import io
import json
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from ites_fast.data import mocap17
from ites_fast.errors import InputError
from ites_fast.pictures import html
from ites_fast.pictures.html import write_html
from ites_fast.scene import Person, Scene
from ites_fast.skeleton import H36M_17

NAMES = ("chromium", "chromium-browser", "google-chrome")
RIGHT_ANKLE, LEFT_ANKLE = 3, 6
TYPES = {"frame": "<i4", "root": "<f4", "offset": "<i2", "confidence": "u1", "ambiguity": "u1", "keypoints": "<i2"}


@pytest.fixture(scope="module")
def scene() -> Scene:
    """Two people in front of a level camera, metres: a walk, and from frame 10 on with a gap someone who scoops up."""
    camera = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])  # of a world with z up
    with np.load(mocap17.BUNDLED) as file:
        names, number, positions = list(file["sequence_name"]), file["sequence"], file["positions_mm"]
        walk, scoop = (positions[number == names.index(name)][:40] / 1000 for name in ("02_01", "02_06"))
    walk, scoop = (
        ((world + np.array([right, 5, -0.2])) @ camera.T).astype(np.float32)
        for world, right in ((walk, -0.5), (scoop, 1.0))
    )
    confidence = np.full((40, 17), 0.9, np.float32)
    confidence[:, 13] = 0  # a wrist that was never seen
    keypoints = np.dstack([walk[..., :2] / walk[..., 2:] * 1000 + 500, confidence]).astype(np.float32)
    keypoints[:, 13] = np.nan, np.nan, 0
    gap = np.r_[10:20, 25:35]
    first = Person("first", np.arange(40), walk, confidence, np.linspace(0, 1, 40, dtype=np.float32), keypoints)
    second = Person("second", gap, scoop[:20], np.ones((20, 17), np.float32))
    return Scene("walk", H36M_17, (first, second), 45, 15.0, "metres", placed=True, image_size=(1000, 1000))


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
    assert world.people[0].positions[..., 2].min() == pytest.approx(0, abs=1e-6)
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


@pytest.mark.parametrize(("lower", "ground"), [(0, 0), (1.5, 1.5)])
def test_one_joint_that_is_far_too_low_does_not_lower_the_ground(scene, tmp_path, lower, ground):
    positions = scene.people[0].positions.copy()
    positions[7, RIGHT_ANKLE, 1] += lower
    scene = replace(scene, people=(replace(scene.people[0], positions=positions), *scene.people[1:]))
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
    evil = "</script><script>window.broken = true</script><!--<script> & \u2028 \udc80 ${title} $title"
    people = (replace(scene.people[0], name=evil), scene.people[1])
    write_html(replace(scene, source=evil, notes=(evil,), people=people), tmp_path / "evil.html")
    write_html(scene, tmp_path / "plain.html")
    page, plain = Page(tmp_path / "evil.html"), Page(tmp_path / "plain.html")
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    about = json.loads(page.text["scene"])
    assert about["people"][0]["name"] == about["source"] == about["notes"][0] == evil
    assert page.text["title"] == evil.replace("\udc80", "?")  # not Unicode


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


# In a browser


@pytest.fixture(scope="module")
def new_tab():
    """Opens a tab of headless Chromium without a network: (options) -> (page, what went wrong in it); or a skip."""
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"needs one of {', '.join(NAMES)}")
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright")

    def new_tab(**options):
        page = browser.new_page(offline=True, **options)
        problems = []
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: request.url.startswith("file://") or problems.append(request.url))
        return page, problems

    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield new_tab
        browser.close()


@pytest.fixture(scope="module")
def tab(new_tab):
    return new_tab(viewport={"width": 900, "height": 640})


@pytest.fixture
def open_page(new_tab, tab, tmp_path):
    """Opens the page of a scene, paused unless it is to play; afterwards, nothing went wrong."""
    used = []

    def open_page(scene, playing=False, **options):
        write_html(scene, tmp_path / "page.html")
        used.append(new_tab(**options) if options else tab)
        page = used[-1][0]
        page.emulate_media(reduced_motion="no-preference" if playing else "reduce")
        page.goto((tmp_path / "page.html").as_uri())
        drawn(page)
        return page

    yield open_page
    assert [problem for _, problems in used for problem in problems] == []


def until(page, condition):
    """Waits for a condition; wait_for_function of playwright evaluates strings, which the page's policy forbids."""
    for _ in range(500):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"never came true: {condition}")


def drawn(page):
    """Waits until everything that was asked for is on the screen."""
    until(page, "!player.waiting && !player.turning || player.playing")


def seek(page, frame):
    page.evaluate("frame => player.seek(frame)", frame)
    drawn(page)


def places(page, person=0):
    """Where the player says that a person's joints are on the screen (17, 2), CSS pixels."""
    script = """index => { const { camera, scene, frame } = player, pose = scene.people[index].poseAt(frame);
        return scene.skeleton.joints.map((_, j) => camera.toScreen(camera.toCamera(...pose.slice(3 * j, 3 * j + 3))));
    }"""
    return np.array(page.evaluate(script, person))


def colours(page, points):
    """Colours on the screen at points (N, 2), CSS pixels: (N, 3)."""
    image = Image.open(io.BytesIO(page.screenshot(scale="css"))).convert("RGB")
    return np.array([image.getpixel((round(x), round(y))) for x, y in points], float)


def test_the_page_opens_from_disk_and_draws(scene, open_page):
    page = open_page(scene)
    assert page.title() == "walk"
    seek(page, 12)
    for index, person in enumerate(scene.to_world("z").people):
        script = "index => { const p = player.scene.people[index]; return [...p.frame].map((f) => [...p.poseAt(f)]); }"
        drawn_positions = np.array(page.evaluate(script, index)).reshape(-1, 17, 3)
        np.testing.assert_allclose(drawn_positions, person.positions, rtol=0, atol=1e-4)
    page.keyboard.press("1")  # from where the camera was
    drawn(page)
    seen = places(page)
    assert seen[RIGHT_ANKLE, 1] > seen[0, 1] > seen[10, 1]
    middle = 0.5 * (seen[[RIGHT_ANKLE, LEFT_ANKLE]] + seen[[RIGHT_ANKLE - 1, LEFT_ANKLE - 1]])
    right, left = colours(page, middle)
    assert right[2] > right[0] + 50
    assert left[0] > left[2] + 50


@pytest.mark.slow
def test_perspective(scene, open_page):
    page = open_page(scene)
    camera = page.evaluate("({...player.camera})")
    yaw, pitch = camera["yaw"], camera["pitch"]
    forward = np.array([-np.sin(yaw) * np.cos(pitch), np.cos(yaw) * np.cos(pitch), -np.sin(pitch)])
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    target = np.add(camera["anchor"], camera["pan"])
    view = scene.to_world("z").people[0].positions[0] - target + camera["distance"] * forward
    focal = camera["height"] / 2 / np.tan(np.radians(16))
    expected = focal * np.stack([view @ right, view @ np.cross(forward, right)], 1) / (view @ forward)[:, None]
    expected += [camera["width"] / 2, camera["height"] / 2]
    np.testing.assert_allclose(places(page), expected, rtol=0, atol=0.1)
    assert (expected > 0).all()
    assert (expected < [camera["width"], camera["height"]]).all()


@pytest.mark.slow
def test_playing(scene, open_page):
    page = open_page(scene, playing=True)
    first = page.screenshot()
    start = page.evaluate("player.frame")
    until(page, f"player.frame > {start}")
    assert page.get_by_role("button", name="Pause").is_visible()
    assert page.screenshot() != first
    page.keyboard.press("Space")
    drawn(page)
    stopped = page.evaluate("player.moment")
    assert stopped == int(stopped)
    page.wait_for_timeout(200)
    assert page.evaluate("player.moment") == stopped
    page.get_by_role("button", name="Loop").click()
    seek(page, 43)
    page.get_by_role("button", name="Play", exact=True).click()
    until(page, "!player.playing")
    assert page.evaluate("player.moment") == 44
    page.keyboard.press("l")
    seek(page, 43)
    page.keyboard.press(" ")
    until(page, "player.frame < 10")


@pytest.mark.slow
def test_poses_between_frames(scene, open_page):
    page = open_page(scene)
    before, between, after = (
        np.array(page.evaluate("m => [...player.scene.people[1].poseAt(m)]", moment)) for moment in (10, 10.25, 11)
    )
    np.testing.assert_allclose(between, 0.75 * before + 0.25 * after, rtol=0, atol=1e-5)
    last = [page.evaluate("m => [...player.scene.people[1].poseAt(m)]", moment) for moment in (19, 19.9)]
    assert last[0] == last[1]  # nothing is made up in a gap
    assert page.evaluate("player.scene.people[1].poseAt(20)") is None


@pytest.mark.slow
def test_seeking(scene, open_page):
    page = open_page(scene)
    for keys, frame in [
        (["ArrowRight"] * 3, 3),
        (["ArrowLeft"], 2),
        (["Shift+ArrowRight"], 17),
        (["End"], 44),
        (["ArrowRight"], 44),
        (["Home"], 0),
    ]:
        for key in keys:
            page.keyboard.press(key)
        assert page.evaluate("player.frame") == frame
    page.get_by_role("slider", name="Frame").fill("30")
    drawn(page)
    assert page.evaluate("player.frame") == 30
    assert page.locator("#clock").inner_text() == "0:02.00 / 0:02.93  frame 30 of 44"
    strip = page.locator("#strip").bounding_box()
    page.mouse.click(strip["x"] + strip["width"] / 2, strip["y"] + 4)
    assert page.evaluate("player.frame") == 22


@pytest.mark.slow
def test_orbit_zoom_and_pan(scene, open_page):
    page = open_page(scene)
    page.keyboard.press("1")
    drawn(page)

    def drag(dx, dy, key=None):
        before = places(page)
        if key:
            page.keyboard.down(key)
        page.mouse.move(450, 200)
        page.mouse.down()
        page.mouse.move(450 + dx, 200 + dy, steps=4)
        page.mouse.up()
        if key:
            page.keyboard.up(key)
        drawn(page)
        return before, places(page)

    nearest = page.evaluate("(({anchor, pan, distance}) => [anchor, pan, distance])(player.camera)")
    target = np.add(*nearest[:2])
    depth = scene.to_world("z").people[0].positions[0, :, 1] - target[1]
    before, after = drag(40, 0)
    moved = (after - before)[:, 0]
    assert moved[depth.argmin()] - moved[depth.argmax()] > 2  # what is near follows the pointer
    np.testing.assert_allclose(page.evaluate("player.camera.yaw"), -0.32, rtol=0, atol=1e-6)
    drag(0, 60)
    np.testing.assert_allclose(page.evaluate("player.camera.pitch"), 0.04 + 0.48, rtol=0, atol=1e-6)
    before, after = drag(50, -20, "Shift")
    np.testing.assert_allclose((after - before).mean(0), [50, -20], rtol=0, atol=12)
    page.mouse.wheel(0, -200)
    drawn(page)
    assert np.ptp(places(page)[:, 1]) > 1.2 * np.ptp(after[:, 1])
    page.get_by_role("button", name="Reset").click()
    drawn(page)
    assert page.evaluate("[player.camera.yaw, player.camera.pitch]") == pytest.approx([-0.6, 0.24])


@pytest.mark.slow
def test_views(scene, open_page):
    page = open_page(scene)
    world = scene.to_world("z").people[0].positions[0]
    for name, axis, sign in [("Front", 0, 1), ("Side", 1, -1)]:
        page.get_by_role("button", name=name).click()
        drawn(page)
        seen = places(page)
        assert np.corrcoef(seen[:, 0], sign * world[:, axis])[0, 1] > 0.9
        assert np.corrcoef(seen[:, 1], -world[:, 2])[0, 1] > 0.99
    page.get_by_role("button", name="Top").click()
    drawn(page)
    seen = places(page)
    assert np.corrcoef(seen[:, 1], -world[:, 1])[0, 1] > 0.9


@pytest.mark.slow
def test_two_fingers(scene, open_page):
    page = open_page(scene, has_touch=True)
    session = page.context.new_cdp_session(page)

    def touch(kind, *points):
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    before = places(page)
    touch("touchStart", (400, 250), (500, 250))
    touch("touchMove", (380, 250), (520, 250))
    touch("touchMove", (350, 250), (550, 250))
    touch("touchEnd")
    drawn(page)
    assert np.ptp(places(page)[:, 1]) > 1.5 * np.ptp(before[:, 1])
    assert page.evaluate("player.camera.yaw") == pytest.approx(-0.6)  # that was no orbit


@pytest.mark.slow
def test_people_come_and_go_and_can_be_hidden(scene, open_page):
    page = open_page(scene)
    seek(page, 12)
    middle = places(page, 1)[[7, 8]].mean(0)
    (there,) = colours(page, [middle])
    page.get_by_role("checkbox", name="second").uncheck()
    drawn(page)
    (hidden,) = colours(page, [middle])
    assert abs(there - hidden).max() > 30
    page.get_by_role("checkbox", name="second").check()
    seek(page, 22)
    assert "not in this frame" in page.locator("#people li").nth(1).inner_text()
    assert page.locator("#people li").nth(0).inner_text().split("\n")[-1] == "1 filled in, ambiguity 0.56"
    (gone,) = colours(page, [middle])
    np.testing.assert_array_equal(gone, hidden)
    assert not page.get_by_text("Nobody in this frame").is_visible()
    seek(page, 42)
    assert page.get_by_text("Nobody in this frame").is_visible()


@pytest.mark.slow
def test_following(scene, open_page):
    page = open_page(scene)
    page.get_by_role("combobox", name="Follow").select_option("first")
    root = []
    for frame in (8, 30):
        seek(page, frame)
        root.append(places(page)[0])
    walked = np.ptp(scene.people[0].positions[[8, 30], 0, 0])
    assert walked > 1
    assert abs(root[1][0] - root[0][0]) < 10
    page.keyboard.press("f")
    page.keyboard.press("f")
    assert page.evaluate("player.followed") == -1


@pytest.mark.slow
def test_the_keypoints_are_shown_beside(scene, open_page):
    page = open_page(scene)
    box = page.locator("#keypoints").bounding_box()
    assert box["width"] == pytest.approx(box["height"], abs=1)  # as the image
    seek(page, 5)
    place = page.evaluate("player.inset.place(player.scene.people[0], 5, 0)")
    np.testing.assert_allclose(place, scene.people[0].keypoints[5, 0, :2] * box["width"] / 1000, rtol=0, atol=0.1)
    assert page.evaluate("player.inset.place(player.scene.people[0], 5, 13)") is None
    page.keyboard.press("k")
    assert not page.locator("#inset").is_visible()


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1600, "dark")])
def test_windows_and_schemes(scene, open_page, width, scheme):
    page = open_page(scene, color_scheme=scheme, device_scale_factor=2)
    page.set_viewport_size({"width": width, "height": 640})
    until(page, f"player.camera.width === {width}")
    drawn(page)
    assert page.evaluate("document.getElementById('view').width") == 2 * width
    assert page.evaluate("document.documentElement.scrollWidth") == width
    (corner,) = colours(page, [[2, 2]])
    assert corner.mean() > 200 if scheme == "light" else corner.mean() < 50


@pytest.mark.slow
def test_one_frame_and_nobody(scene, open_page):
    person = scene.people[0]
    one = Person("one", np.array([0]), person.positions[:1], person.confidence[:1])
    page = open_page(replace(scene, people=(one,), frames=1))
    assert page.get_by_role("button", name="Play", exact=True).is_disabled()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("[player.frame, player.playing]") == [0, False]
    assert "frame 0 of 0" in page.locator("#clock").inner_text()
    page = open_page(replace(scene, people=()), playing=True)
    assert page.get_by_text("Nobody in this frame").is_visible()
    page = open_page(replace(scene, people=(), frames=0))
    assert page.evaluate("player.frame") == 0


@pytest.mark.slow
def test_names_are_text(scene, open_page):
    evil = "</script><script>window.broken = true</script><img src=x onerror='window.broken = true'>"
    people = (replace(scene.people[0], name=evil), scene.people[1])
    page = open_page(replace(scene, source=evil, notes=(evil,), people=people))
    page.get_by_text("Notes").click()
    assert page.evaluate("window.broken") is None
    assert page.title() == page.locator("#notes li").inner_text() == page.locator(".name").nth(0).inner_text() == evil


@pytest.mark.slow
def test_help(scene, open_page):
    page = open_page(scene)
    page.keyboard.press("?")
    assert page.get_by_role("dialog", name="Keys and gestures").is_visible()
    page.keyboard.press("ArrowRight")  # belongs to the dialog
    page.get_by_role("button", name="Close").click()
    assert not page.get_by_role("dialog").is_visible()
    assert page.evaluate("player.frame") == 0


@pytest.mark.slow
def test_a_hundred_thousand_frames(scene, open_page, tmp_path):
    times = 2500
    first = scene.people[0]
    long = Person(
        "long",
        np.arange(40 * times),
        np.tile(first.positions, (times, 1, 1)),
        np.tile(first.confidence, (times, 1)),
        np.tile(first.ambiguity, times),
    )
    page = open_page(replace(scene, people=(long,), frames=40 * times))
    assert (tmp_path / "page.html").stat().st_size < 20e6
    seek(page, 99_987)
    pose = np.array(page.evaluate("[...player.scene.people[0].poseAt(99987)]")).reshape(17, 3)
    np.testing.assert_allclose(pose, scene.to_world("z").people[0].positions[27], rtol=0, atol=1e-4)
