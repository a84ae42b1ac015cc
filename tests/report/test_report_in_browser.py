"""A report opened in real headless Chromium: NiiVue draws, and its controls change what it draws."""

import importlib.util
import io
import os
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from helpers.subjects import write_mrh_subject
from mrh_monai.data.checked_voxels import ReadingOptions
from mrh_monai.data.input_kinds import load_subject
from mrh_monai.inference.prediction_record import input_state, write_record
from mrh_monai.inference.provenance import about_network, about_subject
from mrh_monai.io.nibabel_files import write_nifti
from mrh_monai.network.sidecar import Sidecar
from mrh_monai.protocol.mrh_net import MRH_NET
from mrh_monai.report.page import write_report
from mrh_monai.report.viewer import viewer_script
from mrh_monai.scaling import RobustScaling
from mrh_monai.subjects.subject_search import find_subject

pytestmark = pytest.mark.browser

NEEDED = "MRH_NEED_BROWSER"  # set where the test must not skip
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-dev-shm-usage", "--hide-scrollbars"]
TIMEOUT = 60_000  # ms
MOVE = "([id, value, event]) => { const e = document.getElementById(id); e.value = value; e.dispatchEvent(new Event(event)); }"


def absent(what):
    """Skip, or fail where a browser must be there."""
    reason = f"{what}, so that no report can be opened in a browser"
    if os.environ.get(NEEDED):
        pytest.fail(f"{reason}, although {NEEDED} is set")
    pytest.skip(reason)


@pytest.fixture(scope="module")
def chromium():
    """Where the browser is."""
    if importlib.util.find_spec("playwright") is None:
        absent("playwright is not installed")
    if viewer_script() is None:
        absent("nilearn, which brings NiiVue, is not installed")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        absent("there is no chromium, chromium-browser or google-chrome on the PATH")
    return found


@pytest.fixture(scope="module")
def report(chromium, tmp_path_factory):
    """A report of one predicted subject."""
    root = tmp_path_factory.mktemp("browser")
    files = find_subject(write_mrh_subject(root / "subject", shape=(24, 20, 22)), target="targets/AF.img")
    subject = load_subject(files, MRH_NET, ReadingOptions(need_target=True))
    stain = subject.target * np.linspace(0.5, 1.5, 24)[:, None, None] * subject.mask
    path = root / "out" / "subject" / "subject_af.nii.gz"
    path.parent.mkdir(parents=True)
    write_nifti(path, stain.astype(np.float32), subject.affine)
    sidecar = Sidecar("af", "grey values", MRH_NET.names, 1, 64, [0, 2], 1, RobustScaling.fit([subject]))
    about = about_network(sidecar, MRH_NET) | about_subject(files)
    write_record(path, input_state(files) | {"made_by": {"weights": "0" * 64}, "about": about})
    return write_report(root / "out")


class Opened:
    """A page, and what went wrong in it."""

    def __init__(self, page):
        self.page, self.errors, self.requests = page, [], []
        page.on("console", lambda message: self.errors.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("requestfailed", lambda request: self.errors.append(f"failed: {request.url[:80]}"))
        page.on("request", lambda request: self.requests.append(request.url))

    def canvas(self):
        """(H, W, 3) of what the viewer shows."""
        drawn = self.page.locator("#view").screenshot(timeout=TIMEOUT)
        return np.asarray(Image.open(io.BytesIO(drawn)).convert("RGB")).astype(int)

    def move(self, name, value, event="input"):
        """Set a control, as a hand would, and see what is shown then."""
        self.page.evaluate(MOVE, [name, str(value), event])
        return self.canvas()


@contextmanager
def opened(chromium, path):
    """A page in a browser without a network, until its viewer is ready or has failed."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS, headless=True, timeout=TIMEOUT)
        try:
            page = browser.new_context(viewport={"width": 1000, "height": 900}, offline=True).new_page()
            page.set_default_timeout(TIMEOUT)
            found = Opened(page)
            page.goto(path.as_uri(), wait_until="load", timeout=TIMEOUT)
            page.wait_for_selector("body:not([data-state=loading])", timeout=TIMEOUT)
            yield found
        finally:
            browser.close()


def changed(one, other):
    return int((one != other).any(2).sum())


def warmth(pixels):
    """Light of the overlay's colours; the base is grey and the cross hair bluish."""
    return float((pixels[..., 0] - pixels[..., 2]).clip(0).mean())


def test_the_viewer_draws_and_its_controls_change_what_it_draws(chromium, report):
    with opened(chromium, report) as found:
        page = found.page
        assert (page.evaluate("document.body.dataset.state"), found.errors) == ("ready", [])
        assert page.locator("#which option").all_inner_texts() == ["AF predicted", "AF true", "size of the error"]
        first = found.canvas()
        assert (first.max(2) > 30).mean() > 0.1
        assert len(np.unique(first.reshape(-1, 3), axis=0)) > 50
        assert changed(first, found.canvas()) == 0

        clear, faint, full = (found.move("opacity", value) for value in (0, 0.3, 1))
        assert warmth(clear) < 0.05
        assert warmth(clear) < 0.5 * warmth(faint) < 0.5 * warmth(full)
        assert min(changed(clear, faint), changed(faint, full)) > 500
        assert (clear.max(2) > 30).mean() > 0.1
        assert page.input_value("#opacity") == "1"
        assert page.inner_text("#opacity_value") == "1.00"

        assert changed(full, found.move("which", 2, "change")) > 500
        assert changed(full, found.move("which", 3, "change")) > 500
        assert changed(full, found.move("which", 1, "change")) == 0

        # Cropped to the mask: 22 x 20 x 20 voxels.
        assert [page.get_attribute(f"#slice{axis}", "max") for axis in range(3)] == ["21", "19", "19"]
        assert [page.input_value(f"#slice{axis}") for axis in range(3)] == ["11", "10", "10"]
        before, place = full, page.inner_text("#place")
        for axis in range(3):
            after = found.move(f"slice{axis}", 3)
            assert changed(before, after) > 500
            assert [page.input_value(f"#slice{other}") for other in range(3)] == ["3" if other <= axis else "10" for other in range(3)]
            assert page.inner_text("#place") != place
            before, place = after, page.inner_text("#place")

        box = page.locator("#view").bounding_box()
        page.mouse.click(box["x"] + 0.2 * box["width"], box["y"] + 0.2 * box["height"])
        assert changed(before, found.canvas()) > 100
        assert [page.input_value(f"#slice{axis}") for axis in range(3)] != ["3", "3", "3"]
        assert (found.errors, found.requests) == ([], [report.as_uri()])


def test_a_voxel_is_shown_where_it_is(chromium, report):
    """Under the cross hair stand the world's mm of the voxel that the sliders name, and what its layers hold."""
    with opened(chromium, report) as found:
        for axis, value in enumerate((5, 6, 7)):
            found.page.evaluate(MOVE, [f"slice{axis}", str(value), "input"])
        place, values = found.page.evaluate("document.getElementById('place').textContent").split("=")
    subject = load_subject(find_subject(report.parents[1] / "subject", target="targets/AF.img"), MRH_NET, ReadingOptions(need_target=True))
    # The mask begins at voxel (1, 0, 1); sliders run from left to right, and these files from right to left.
    assert np.sign(np.diag(subject.affine))[:3].tolist() == [-1, 1, 1]
    voxel = (1 + 21 - 5, 6, 1 + 7)
    expected = (subject.affine @ [*voxel, 1])[:3]
    np.testing.assert_allclose([float(word) for word in place.split("×")[:3]], expected, atol=0.006)
    target = float(subject.target[voxel])
    stain = target * np.linspace(0.5, 1.5, 24)[voxel[0]]
    base, *layers = (float(word) for word in values.split())
    assert base == pytest.approx(subject.image[*voxel, MRH_NET.names.index("mt_off")], abs=0.6 * 8000 / 255)
    assert layers == pytest.approx([stain, target, abs(stain - target)], abs=0.6 * 250 / 255)


def test_a_broken_viewer_says_so(chromium, report, tmp_path):
    text = report.read_text()
    broken = tmp_path / "broken.html"
    broken.write_text(text.replace('"b64": "', '"b64": "AAAA', 1))
    with opened(chromium, broken) as found:
        assert found.page.evaluate("document.body.dataset.state") == "failed"
        assert found.errors


def test_where_a_browser_is_needed_its_absence_fails(monkeypatch):
    monkeypatch.setenv(NEEDED, "1")
    with pytest.raises(
        pytest.fail.Exception, match="no chromium, so that no report can be opened in a browser, although MRH_NEED_BROWSER is set"
    ):
        absent("there is no chromium")
    monkeypatch.delenv(NEEDED)
    with pytest.raises(pytest.skip.Exception, match="there is no chromium, so that no report can be opened in a browser"):
        absent("there is no chromium")
