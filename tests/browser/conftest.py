"""What the browser tests share: the system's Chromium without a network, pages that note each request which would leave
the machine, and a JupyterLab server on a copy of the series.
"""

import base64
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import matplotlib
import pytest
from axe_playwright_python.sync_playwright import Axe
from cheatsheet import FLAGS, NO_BROWSER, find_browser
from playwright.sync_api import expect, sync_playwright

ROOT = Path(__file__).resolve().parent.parent.parent
# Upper bounds for busy machines; what is waited for comes much sooner.
expect.set_options(timeout=30_000)


@pytest.fixture(scope="session")
def browser():
    """The system's Chromium, with the network off."""
    program = find_browser()
    assert program, NO_BROWSER
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def new_page(browser):
    """new_page(width, height, ...) opens a page in a window of its own; more options go to Playwright's new_context.

    page.foreign lists the requests that would leave the machine, page.errors the errors in the console.
    """
    contexts = []

    def new(width=1280, height=720, **options):
        page = open_page(browser, width, height, **options)
        contexts.append(page.context)
        return page

    yield new
    for context in contexts:
        context.close()


def open_page(browser, width, height, **options):
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    page = context.new_page()
    page.foreign, page.errors = [], []

    def note(request):
        if not is_local(request.url):
            page.foreign.append(request.url)

    context.on("request", note)
    page.on("websocket", note)
    page.on("console", lambda message: message.type == "error" and page.errors.append(message.text))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    return page


def is_local(url):
    parts = urlsplit(url)
    return parts.scheme in {"file", "data", "blob", "about"} or parts.hostname in {
        "127.0.0.1",
        "localhost",
    }


def assert_accessible(page, **options):
    """Demand that axe finds no barrier on the open page; options go to axe.run, such as runOnly.

    The AssertionError names each rule that is broken, how bad that is, and up to three places.
    """
    options = {"resultTypes": ["violations"], **options}
    # Its script is half a megabyte: a page gets it once.
    script = "0" if page.evaluate("'axe' in window") else Axe().axe_script
    found = Axe(script).run(page, options=options).response["violations"]
    lines = []
    for each in found:
        places = [node["html"][:120] for node in each["nodes"][:3]]
        lines.append(f"{each['id']} ({each['impact']}): {' | '.join(places)}")
    assert not lines, "axe finds barriers:\n" + "\n".join(lines)


def take_picture(page, path):
    """Write what a page shows, for people to look at. Chromium's own call is quicker than page.screenshot."""
    if not hasattr(page, "protocol"):
        page.protocol = page.context.new_cdp_session(page)
    found = page.protocol.send("Page.captureScreenshot", {"optimizeForSpeed": True})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(base64.b64decode(found["data"]))


@pytest.fixture(scope="session")
def pictures():
    """pictures("lab/00_1") is the path of a screenshot in build/browser, for people to look at."""

    def path(name):
        return ROOT / "build" / "browser" / f"{name}.png"

    return path


@pytest.fixture(scope="session")
def series(worker_id):
    """A copy of the series for each test process: what learners do in it must not touch the checkout."""
    folder = ROOT / "build" / "browser" / worker_id
    shutil.rmtree(folder, ignore_errors=True)
    copy = folder / "series"
    shutil.copytree(
        ROOT / "notebooks", copy / "notebooks", ignore=shutil.ignore_patterns(".*", "__pycache__")
    )
    shutil.copytree(ROOT / "data", copy / "data")
    modules = ("checkpoints.py", "doctor.py", "fc_model.py", "helper.py")
    (copy / "benchmarks").mkdir()
    shutil.copy(ROOT / "benchmarks" / "faults.py", copy / "benchmarks")
    for name in (*modules, "README.md", "requirements.txt"):
        shutil.copy(ROOT / name, copy)
    (copy / "docs").mkdir()
    for name in ("errors.md", "rivals.md"):  # lessons 16 and 08 read them
        shutil.copy(ROOT / "docs" / name, copy / "docs")
    # A seed that neither wrote the stored outputs nor is that of the other tests: each claim must hold with it, too.
    for path in (copy / "notebooks").glob("*.ipynb"):
        text, count = re.subn(r'"SEED = \d+', '"SEED = 7', path.read_text(encoding="utf-8"))
        assert count == 1, path.name
        path.write_text(text, encoding="utf-8")
    yield copy
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def start_lab(series):
    """start_lab(name, arguments), a context manager: a JupyterLab without the settings of the one who tests."""

    @contextmanager
    def start(name, *arguments, overrides=None):
        home = series.parent / name
        settings = home / "config" / "labconfig" / "default_setting_overrides.json"
        settings.parent.mkdir(parents=True)
        settings.write_text(overrides or "{}", encoding="utf-8")
        environment = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("JUPYTER", "IPYTHON"))
        }
        environment |= {
            "HOME": str(home),
            "JUPYTER_CONFIG_DIR": str(home / "config"),
            # The font list of the real home: making it anew takes seconds, and matplotlib says so on stderr.
            "MPLCONFIGDIR": matplotlib.get_cachedir(),
            # Two kernels that both use two threads on two cores slow each other down tenfold.
            "OMP_NUM_THREADS": "1",
        }
        command = [
            sys.executable,
            "-m",
            "jupyterlab",
            *arguments,
            "--no-browser",
            "--allow-root",
            "--port=0",
        ]
        log = home / "log.txt"
        with log.open("w") as file:
            server = subprocess.Popen(
                command, cwd=series, env=environment, stdout=file, stderr=subprocess.STDOUT
            )
        try:
            yield wait_for_url(server, log)
        finally:
            server.terminate()  # it ends its kernels before itself
            server.wait(timeout=30)

    return start


def wait_for_url(server, log):
    """The address that the server prints once it listens, with its token."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        text = log.read_text()
        # At the end of its start; the same address also comes up earlier.
        if url := re.search(r"copy and paste .*?(http://127\.0\.0\.1:\d+/lab\S*)", text, re.DOTALL):
            return url[1]
        assert server.poll() is None, f"JupyterLab ended:\n{text}"
        time.sleep(0.1)
    raise AssertionError(f"JupyterLab printed no address:\n{text}")


# What would come in between: the question about news, saving by itself, and cells left out of the page while they are
# out of sight.
OVERRIDES = """{
  "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false},
  "@jupyterlab/docmanager-extension:plugin": {"autosave": false},
  "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"}
}"""


@pytest.fixture(scope="session")
def lab(browser, start_lab):
    """JupyterLab with the lessons in its file browser: one window a test process, since it takes seconds to start."""
    with start_lab("lab", "--expose-app-in-browser", overrides=OVERRIDES) as url:
        page = open_page(browser, 1440, 900)
        page.lab_url = url
        page.goto(url.replace("/lab", "/lab/tree/notebooks"))
        page.get_by_role("listitem", name="00_start_here.ipynb").wait_for()
        yield page
        page.context.close()
