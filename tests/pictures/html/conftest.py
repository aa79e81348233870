"""A scene of real motion, and headless Chromium to open its page in."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image

from ites_fast.data import mocap17
from ites_fast.pictures.html import write_html
from ites_fast.scene import Person, Scene
from ites_fast.skeleton import H36M_17

NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
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


class Tab:
    """A tab of the browser, and what went wrong in it.

    Args:
        page: of playwright.
    """

    def __init__(self, page) -> None:
        self.page = page
        self.problems: list[str] = []
        page.on("console", lambda message: self.problems.append(message.text))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("request", lambda request: request.url.startswith("file://") or self.problems.append(request.url))

    def until(self, condition: str) -> None:
        """Wait for a condition; playwright's wait_for_function evaluates strings, which the page's policy forbids."""
        for _ in range(500):
            if self.page.evaluate(condition):
                return
            self.page.wait_for_timeout(20)
        raise AssertionError(f"never came true: {condition}")

    def drawn(self) -> None:
        """Wait until everything that was asked for is on the screen."""
        self.until("!player.waiting && !player.turning || player.playing")

    def seek(self, frame: int) -> None:
        self.page.evaluate("frame => player.seek(frame)", frame)
        self.drawn()

    def places(self, person: int = 0) -> np.ndarray:
        """Where the player says that a person's joints are on the screen (17, 2), CSS pixels."""
        script = """index => {
            const { camera, scene, frame } = player, pose = scene.people[index].poseAt(frame);
            const place = (_, j) => camera.toScreen(camera.toCamera(...pose.slice(3 * j, 3 * j + 3)));
            return scene.skeleton.joints.map(place);
        }"""
        return np.array(self.page.evaluate(script, person))

    def colours(self, points) -> np.ndarray:
        """Colours on the screen at points (N, 2), CSS pixels: (N, 3)."""
        image = Image.open(io.BytesIO(self.page.screenshot(scale="css"))).convert("RGB")
        return np.array([image.getpixel((round(x), round(y))) for x, y in points], float)


@pytest.fixture(scope="module")
def new_tab():
    """Opens a tab of headless Chromium without a network, with playwright's options; or a skip."""
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"needs one of {', '.join(NAMES)}")
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield lambda **options: Tab(browser.new_page(offline=True, **options))
        browser.close()


@pytest.fixture(scope="module")
def usual_tab(new_tab) -> Tab:
    return new_tab(viewport={"width": 900, "height": 640})


@pytest.fixture
def open_page(new_tab, usual_tab, tmp_path):
    """Opens the page of a scene, paused unless it is to play; afterwards, nothing went wrong."""
    used = []

    def open_page(scene, playing=False, **options) -> Tab:
        write_html(scene, tmp_path / "page.html")
        tab = new_tab(**options) if options else usual_tab
        used.append(tab)
        tab.page.emulate_media(reduced_motion="no-preference" if playing else "reduce")
        tab.page.goto((tmp_path / "page.html").as_uri())
        tab.drawn()
        return tab

    yield open_page
    assert [problem for tab in used for problem in tab.problems] == []
