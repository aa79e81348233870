"""Time, windows and unusual scenes in headless Chromium."""

from dataclasses import replace

import numpy as np
import pytest

from ites_fast.scene import Person

pytestmark = pytest.mark.slow


def test_playing(scene, open_page):
    tab = open_page(scene, playing=True)
    first = tab.page.screenshot()
    start = tab.page.evaluate("player.frame")
    tab.until(f"player.frame > {start}")
    assert tab.page.get_by_role("button", name="Pause").is_visible()
    assert tab.page.screenshot() != first
    tab.page.keyboard.press("Space")
    tab.drawn()
    stopped = tab.page.evaluate("player.moment")
    assert stopped == int(stopped)
    tab.page.wait_for_timeout(200)
    assert tab.page.evaluate("player.moment") == stopped
    tab.page.get_by_role("button", name="Loop").click()
    tab.seek(43)
    tab.page.get_by_role("button", name="Play", exact=True).click()
    tab.until("!player.playing")
    assert tab.page.evaluate("player.moment") == 44
    tab.page.keyboard.press("l")
    tab.seek(43)
    tab.page.keyboard.press(" ")
    tab.until("player.frame < 10")


def test_poses_between_frames(scene, open_page):
    tab = open_page(scene)
    before, between, after = (
        np.array(tab.page.evaluate("m => [...player.scene.people[1].poseAt(m)]", moment)) for moment in (10, 10.25, 11)
    )
    np.testing.assert_allclose(between, 0.75 * before + 0.25 * after, rtol=0, atol=1e-5)
    last = [tab.page.evaluate("m => [...player.scene.people[1].poseAt(m)]", moment) for moment in (19, 19.9)]
    assert last[0] == last[1]  # nothing is made up in a gap
    assert tab.page.evaluate("player.scene.people[1].poseAt(20)") is None


def test_seeking(scene, open_page):
    tab = open_page(scene)
    for keys, frame in [
        (["ArrowRight"] * 3, 3),
        (["ArrowLeft"], 2),
        (["Shift+ArrowRight"], 17),
        (["End"], 44),
        (["ArrowRight"], 44),
        (["Home"], 0),
    ]:
        for key in keys:
            tab.page.keyboard.press(key)
        assert tab.page.evaluate("player.frame") == frame
    tab.page.get_by_role("slider", name="Frame").fill("30")
    tab.drawn()
    assert tab.page.evaluate("player.frame") == 30
    assert tab.page.locator("#clock").inner_text() == "0:02.00 / 0:02.93  frame 30 of 44"
    strip = tab.page.locator("#strip").bounding_box()
    tab.page.mouse.click(strip["x"] + strip["width"] / 2, strip["y"] + 4)
    assert tab.page.evaluate("player.frame") == 22


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1600, "dark")])
def test_windows_and_schemes(scene, open_page, width, scheme):
    tab = open_page(scene, color_scheme=scheme, device_scale_factor=2)
    tab.page.set_viewport_size({"width": width, "height": 640})
    tab.until(f"player.camera.width === {width}")
    tab.drawn()
    assert tab.page.evaluate("document.getElementById('view').width") == 2 * width
    assert tab.page.evaluate("document.documentElement.scrollWidth") == width
    (corner,) = tab.colours([[2, 2]])
    assert corner.mean() > 200 if scheme == "light" else corner.mean() < 50


def test_one_frame_and_nobody(scene, open_page):
    person = scene.people[0]
    one = Person("one", np.array([0]), person.positions[:1], person.confidence[:1])
    tab = open_page(replace(scene, people=(one,), frames=1))
    assert tab.page.get_by_role("button", name="Play", exact=True).is_disabled()
    tab.page.keyboard.press("Space")
    tab.page.keyboard.press("ArrowRight")
    assert tab.page.evaluate("[player.frame, player.playing]") == [0, False]
    assert "frame 0 of 0" in tab.page.locator("#clock").inner_text()
    tab = open_page(replace(scene, people=()), playing=True)
    assert tab.page.get_by_text("Nobody in this frame").is_visible()
    tab = open_page(replace(scene, people=(), frames=0))
    assert tab.page.evaluate("player.frame") == 0


def test_names_are_text(scene, open_page):
    evil = "</script><script>window.broken = true</script><img src=x onerror='window.broken = true'>"
    people = (replace(scene.people[0], name=evil), scene.people[1])
    tab = open_page(replace(scene, source=evil, notes=(evil,), people=people))
    tab.page.get_by_text("Notes").click()
    assert tab.page.evaluate("window.broken") is None
    assert (
        tab.page.title()
        == tab.page.locator("#notes li").inner_text()
        == tab.page.locator(".name").nth(0).inner_text()
        == evil
    )


def test_help(scene, open_page):
    tab = open_page(scene)
    tab.page.keyboard.press("?")
    assert tab.page.get_by_role("dialog", name="Keys and gestures").is_visible()
    tab.page.keyboard.press("ArrowRight")  # belongs to the dialog
    tab.page.get_by_role("button", name="Close").click()
    assert not tab.page.get_by_role("dialog").is_visible()
    assert tab.page.evaluate("player.frame") == 0


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
    tab = open_page(replace(scene, people=(long,), frames=40 * times))
    assert (tmp_path / "page.html").stat().st_size < 20e6
    tab.seek(99_987)
    pose = np.array(tab.page.evaluate("[...player.scene.people[0].poseAt(99987)]")).reshape(17, 3)
    world = replace(scene, people=(long,), frames=40 * times).to_world("z")
    np.testing.assert_allclose(pose, world.people[0].positions[99_987], rtol=0, atol=1e-4)
