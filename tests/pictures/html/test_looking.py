"""What headless Chromium draws of a scene, and from where."""

from dataclasses import replace

import numpy as np
import pytest

RIGHT_ANKLE, LEFT_ANKLE = 3, 6


def test_the_page_opens_from_disk_and_draws(scene, open_page):
    tab = open_page(scene)
    assert tab.page.title() == "walk"
    tab.seek(12)
    for index, person in enumerate(scene.to_world("z").people):
        script = "index => { const p = player.scene.people[index]; return [...p.frame].map((f) => [...p.poseAt(f)]); }"
        drawn_positions = np.array(tab.page.evaluate(script, index)).reshape(-1, 17, 3)
        np.testing.assert_allclose(drawn_positions, person.positions, rtol=0, atol=1e-4)
    tab.page.keyboard.press("1")  # from where the camera was
    tab.drawn()
    seen = tab.places()
    assert seen[RIGHT_ANKLE, 1] > seen[0, 1] > seen[10, 1]
    middle = 0.5 * (seen[[RIGHT_ANKLE, LEFT_ANKLE]] + seen[[RIGHT_ANKLE - 1, LEFT_ANKLE - 1]])
    right, left = tab.colours(middle)
    assert right[2] > right[0] + 50
    assert left[0] > left[2] + 50


@pytest.mark.slow
def test_perspective(scene, open_page):
    tab = open_page(scene)
    camera = tab.page.evaluate("({...player.camera})")
    yaw, pitch = camera["yaw"], camera["pitch"]
    forward = np.array([-np.sin(yaw) * np.cos(pitch), np.cos(yaw) * np.cos(pitch), -np.sin(pitch)])
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    target = np.add(camera["anchor"], camera["pan"])
    view = scene.to_world("z").people[0].positions[0] - target + camera["distance"] * forward
    focal = camera["height"] / 2 / np.tan(np.radians(16))
    expected = focal * np.stack([view @ right, view @ np.cross(forward, right)], 1) / (view @ forward)[:, None]
    expected += [camera["width"] / 2, camera["height"] / 2]
    np.testing.assert_allclose(tab.places(), expected, rtol=0, atol=0.1)
    assert (expected > 0).all()
    assert (expected < [camera["width"], camera["height"]]).all()


@pytest.mark.slow
def test_the_first_view(scene, open_page):
    tab = open_page(scene)
    assert tab.page.evaluate("player.followed") == -1
    script = """() => player.scene.people.flatMap((person) => [...person.frame].flatMap((frame) => {
        player.seek(frame);
        player.draw(0);
        const pose = person.poseAt(frame);
        return player.scene.skeleton.joints.map((_, j) =>
            player.camera.toScreen(player.camera.toCamera(...pose.slice(3 * j, 3 * j + 3))));
    }))"""
    everybody = np.array(tab.page.evaluate(script))
    assert len(everybody) == 60 * 17
    box = tab.page.locator("#view").bounding_box()
    assert (everybody > 0).all()
    assert (everybody < [box["width"], box["height"]]).all()
    assert (np.ptp(everybody, axis=0) / [box["width"], box["height"]]).max() > 0.6
    tab = open_page(replace(scene, people=scene.people[:1]))  # who walks for metres, and is followed
    assert tab.page.evaluate("player.followed") == 0
    alone = np.array(tab.page.evaluate(script))
    assert (alone > 0).all()
    assert (alone < [box["width"], box["height"]]).all()
    assert np.ptp(alone[:, 1]) / box["height"] > 0.6


@pytest.mark.slow
def test_orbit_zoom_and_pan(scene, open_page):
    tab = open_page(scene)
    tab.page.keyboard.press("1")
    tab.drawn()

    def drag(dx, dy, key=None):
        before = tab.places()
        if key:
            tab.page.keyboard.down(key)
        tab.page.mouse.move(450, 200)
        tab.page.mouse.down()
        tab.page.mouse.move(450 + dx, 200 + dy, steps=4)
        tab.page.mouse.up()
        if key:
            tab.page.keyboard.up(key)
        tab.drawn()
        return before, tab.places()

    nearest = tab.page.evaluate("(({anchor, pan, distance}) => [anchor, pan, distance])(player.camera)")
    target = np.add(*nearest[:2])
    depth = scene.to_world("z").people[0].positions[0, :, 1] - target[1]
    before, after = drag(40, 0)
    moved = (after - before)[:, 0]
    assert moved[depth.argmin()] - moved[depth.argmax()] > 2  # what is near follows the pointer
    np.testing.assert_allclose(tab.page.evaluate("player.camera.yaw"), -0.32, rtol=0, atol=1e-6)
    drag(0, 60)
    np.testing.assert_allclose(tab.page.evaluate("player.camera.pitch"), 0.04 + 0.48, rtol=0, atol=1e-6)
    before, after = drag(50, -20, "Shift")
    np.testing.assert_allclose((after - before).mean(0), [50, -20], rtol=0, atol=12)
    tab.page.mouse.wheel(0, -200)
    tab.drawn()
    assert np.ptp(tab.places()[:, 1]) > 1.2 * np.ptp(after[:, 1])
    tab.page.get_by_role("button", name="Reset").click()
    tab.drawn()
    assert tab.page.evaluate("[player.camera.yaw, player.camera.pitch]") == pytest.approx([-0.6, 0.24])


@pytest.mark.slow
def test_views(scene, open_page):
    tab = open_page(scene)
    world = scene.to_world("z").people[0].positions[0]
    for name, axis, sign in [("Front", 0, 1), ("Side", 1, -1)]:
        tab.page.get_by_role("button", name=name).click()
        tab.drawn()
        seen = tab.places()
        assert np.corrcoef(seen[:, 0], sign * world[:, axis])[0, 1] > 0.9
        assert np.corrcoef(seen[:, 1], -world[:, 2])[0, 1] > 0.99
    tab.page.get_by_role("button", name="Top").click()
    tab.drawn()
    seen = tab.places()
    assert np.corrcoef(seen[:, 1], -world[:, 1])[0, 1] > 0.9


@pytest.mark.slow
def test_two_fingers(scene, open_page):
    tab = open_page(scene, has_touch=True)
    session = tab.page.context.new_cdp_session(tab.page)

    def touch(kind, *points):
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    before = tab.places()
    touch("touchStart", (400, 250), (500, 250))
    touch("touchMove", (380, 250), (520, 250))
    touch("touchMove", (350, 250), (550, 250))
    touch("touchEnd")
    tab.drawn()
    assert np.ptp(tab.places()[:, 1]) > 1.5 * np.ptp(before[:, 1])
    assert tab.page.evaluate("player.camera.yaw") == pytest.approx(-0.6)  # that was no orbit


@pytest.mark.slow
def test_people_come_and_go_and_can_be_hidden(scene, open_page):
    tab = open_page(scene)
    tab.seek(12)
    middle = tab.places(1)[[7, 8]].mean(0)
    (there,) = tab.colours([middle])
    tab.page.get_by_role("checkbox", name="second").uncheck()
    tab.drawn()
    (hidden,) = tab.colours([middle])
    assert abs(there - hidden).max() > 30
    tab.page.get_by_role("checkbox", name="second").check()
    tab.seek(22)
    assert "not in this frame" in tab.page.locator("#people li").nth(1).inner_text()
    assert tab.page.locator("#people li").nth(0).inner_text().split("\n")[-1] == "1 filled in, ambiguity 0.56"
    (gone,) = tab.colours([middle])
    np.testing.assert_array_equal(gone, hidden)
    assert not tab.page.get_by_text("Nobody in this frame").is_visible()
    tab.seek(42)
    assert tab.page.get_by_text("Nobody in this frame").is_visible()


@pytest.mark.slow
def test_following(scene, open_page):
    tab = open_page(scene)
    tab.page.get_by_role("combobox", name="Follow").select_option("first")
    root = []
    for frame in (8, 30):
        tab.seek(frame)
        root.append(tab.places()[0])
    walked = np.ptp(scene.people[0].positions[[8, 30], 0, 0])
    assert walked > 1
    assert abs(root[1][0] - root[0][0]) < 10
    tab.page.keyboard.press("f")
    tab.page.keyboard.press("f")
    assert tab.page.evaluate("player.followed") == -1


@pytest.mark.slow
def test_the_keypoints_are_shown_beside(scene, open_page):
    tab = open_page(scene)
    box = tab.page.locator("#keypoints").bounding_box()
    assert box["width"] == pytest.approx(box["height"], abs=1)  # as the image
    tab.seek(5)
    place = tab.page.evaluate("player.inset.place(player.scene.people[0], 5, 0)")
    np.testing.assert_allclose(place, scene.people[0].keypoints[5, 0, :2] * box["width"] / 1000, rtol=0, atol=0.1)
    assert tab.page.evaluate("player.inset.place(player.scene.people[0], 5, 13)") is None
    tab.page.keyboard.press("k")
    assert not tab.page.locator("#inset").is_visible()


@pytest.mark.slow
def test_pointing_at_a_joint(scene, open_page):
    tab = open_page(scene)
    seen = tab.places()
    for joint, name in [(10, "head, confidence 0.90"), (13, "left wrist, not seen, filled in")]:
        tab.page.mouse.move(*seen[joint])
        tab.drawn()
        words, place = tab.page.evaluate("player.hover.describe(player.hover.find(player.camera, player.bodies()))")
        assert words == name
        shown = np.array(place.removeprefix("at ").removesuffix(" m").split(", "), float)
        expected = scene.to_world("z").people[0].positions[0, joint]
        np.testing.assert_allclose(shown, expected, rtol=0, atol=0.006)
    tab.page.mouse.move(5, seen[:, 1].max() + 60)
    tab.drawn()
    assert tab.page.evaluate("player.hover.find(player.camera, player.bodies())") is None
