"""Reads every page of the book in headless Chromium, wide and as on a telephone: `make check-docs`.

No script error, nothing that is not found, nothing asked of the network; WCAG 2 level AA as far as
axe can tell; no sideways scrolling at 375 pixels; tables are tables, the search finds what it has
to, the buttons are there. Pictures of some pages are left in _docs/screenshots, to look at."""
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, TimeoutError, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
HTML, SHOTS = ROOT/"_docs"/"_build"/"html", ROOT/"_docs"/"screenshots"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
           "--disable-background-networking", "--disable-component-update", "--disable-sync"]
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 375, "height": 800}
SHOWN = ("index", "course/06_memory", "course/07_rate", "repro_tmaze", "names", "glossary")
CONTRAST = ("index", "course/06_memory", "repro_tmaze", "glossary")  # colours repeat
SEARCHES = {"valve": "course/06_memory", "corridor": "course/02_tmaze"}  # word -> page to be found


class Quiet(SimpleHTTPRequestHandler):
    "Serves files and says nothing."
    def log_message(self, *_): pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    "A folder at an address of this machine."
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    Thread(target=server.serve_forever, daemon=True).start()
    try: yield f"http://127.0.0.1:{server.server_port}"
    finally: server.shutdown()


def installed() -> str:
    "Where a Chromium is. Exits with what to do if there is none."
    found = [path for name in BROWSERS if (path := shutil.which(name))]
    return found[0] if found else sys.exit("There is no Chromium: apt-get install chromium")


def watched(browser: Browser, address: str, faults: list[str], **options) -> Page:
    "A page of a browser that writes down errors of scripts and all that it could not load."
    page = browser.new_context(**options).new_page()
    def said(text): faults.append(f"{page.url.removeprefix(address)}: {text}")
    page.on("pageerror", lambda error: said(f"script error: {error}"))
    page.on("console", lambda message: message.type == "error" and said(f"console: {message.text}"))
    def asked(request):
        if not request.url.startswith((address, "data:", "blob:")): said(f"asks for {request.url}")
    page.on("request", asked)
    page.on("response", lambda got: got.status >= 400 and said(f"{got.status} for {got.url}"))
    return page


def not_accessible(page: Page, colours: bool) -> list[str]:
    "What axe finds against WCAG 2 A and AA, a line a rule; colours take it long."
    rules = {"preload": False, "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa"]},
             "rules": {"color-contrast": {"enabled": colours}}, "resultTypes": ["violations"]}
    found = Axe().run(page, options=rules).response["violations"]
    return [f"{rule['id']}: {rule['help']}, {len(rule['nodes'])} times; "
            f"{rule['nodes'][0]['failureSummary'].splitlines()[-1].strip()}: "
            f"{rule['nodes'][0]['html'][:160]!r}" for rule in found]


def too_wide(page: Page) -> list[str]:
    "What makes a page scroll sideways: too wide, and in nothing that scrolls by itself."
    return page.evaluate("""() => {
        const root = document.documentElement, room = root.clientWidth
        if (root.scrollWidth <= room) return []
        const held = part => part && part !== document.body && (
            getComputedStyle(part).overflowX !== 'visible' || held(part.parentElement))
        const wide = [...document.querySelectorAll('body *')].filter(part =>
            part.getBoundingClientRect().right > room + 1 && !held(part.parentElement))
        return wide.slice(-3).map(part => `too wide at ${room} pixels: ` +
            `${part.getBoundingClientRect().right} ${part.outerHTML.slice(0, 100)}`)
            .concat(`scrolls sideways: ${root.scrollWidth} of ${room} pixels`)}""")


def plain_tables(page: Page) -> list[str]:
    "Tables that were left as text; code may write them."
    text = page.evaluate("""() => {
        const shown = document.querySelector('article').cloneNode(true)
        shown.querySelectorAll('pre, code').forEach(code => code.remove())
        return shown.textContent }""")
    return ["a table is shown as text"] if "| ---" in text or "|---" in text else []


def buttons(page: Page, path: Path) -> list[str]:
    "Which of the buttons for Colab, GitHub and downloading a notebook's page lacks."
    wanted = {"Colab": "a[href*='colab.research.google.com'][href$='.ipynb']",
              "GitHub": "a.btn[href^='https://github.com']",
              "download": "a[href*='_sources/'][href$='.ipynb']"}
    if not (HTML/"_sources"/path.with_suffix(".ipynb")).exists(): return []
    return [f"no button for {name}" for name, place in wanted.items()
            if not page.query_selector(place)]


def search(page: Page, address: str, word: str, wanted: str) -> list[str]:
    "Whether the book's own search finds a page by a word."
    page.goto(f"{address}/search.html?q={word}")
    page.wait_for_selector("#search-results li a", timeout=30_000)
    page.wait_for_function("document.querySelector('#search-results p.search-summary')"
                           "?.innerText.match(/found|finished/i)", timeout=30_000)
    links = page.eval_on_selector_all("#search-results a", "links => links.map(a => a.href)")
    found = any(f"/{wanted}.html" in link for link in links)
    return [] if found else [f"search for {word!r} finds {len(links)} pages, not {wanted}"]


def check_browser(page: Page) -> list[str]:
    "Whether the results browser, opened as a file, shows all rows, filters, and draws curves."
    rows = len([*(ROOT/"results").glob("*/*/*-s*-*.json")])
    page.goto((HTML/"results.html").as_uri())
    def expect(number, after): # runs that are told of
        try:
            page.wait_for_function("number => document.querySelector('#told').innerText"
                                   ".includes(` ${number} runs`)", arg=number, timeout=20_000)
        except TimeoutError:
            return [f"results.html, {after}: {page.inner_text('#told')!r} instead of {number} runs"]
        return []
    faults = expect(rows, "opened")
    study = ROOT/"results"/"retrieval"  # whose name is no part of another's
    page.locator("thead input").nth(0).press_sequentially(study.name)
    faults += expect(len([*study.glob("*/*-s*-*.json")]), "filtered by study")
    page.click("#runs tbody tr:nth-child(2)")
    faults += expect(1, "with one run chosen")
    figures = page.locator("#figures figure:visible").count()
    if figures != len([*(study/"figures").glob("*.png")]):
        faults.append(f"results.html shows {figures} figures of {study.name}")
    return faults


def check_book() -> list[str]:
    "Every fault of every page, a line each."
    pages = [path.relative_to(HTML) for path in sorted(HTML.rglob("*.html"))
             if "_static" not in path.parts]
    faults = []
    with served(HTML) as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=installed(), args=OPTIONS)
        wide = watched(browser, address, faults, viewport=WIDE)
        narrow = watched(browser, address, faults, viewport=NARROW, is_mobile=True)
        for path in pages:
            name = str(path.with_suffix(""))
            for page in (wide, narrow):
                page.goto(f"{address}/{path}")
                page.wait_for_function("!window.MathJax?.startup?.promise"
                                       " || MathJax.startup.promise.then(() => true)")
            if name not in ("search", "genindex"):
                found = [*not_accessible(wide, name in CONTRAST), *plain_tables(wide),
                         *buttons(wide, path), *too_wide(narrow)]
                faults += [f"/{path}: {fault}" for fault in found]
            if name in SHOWN:
                for page, kind in ((wide, "wide"), (narrow, "narrow")):
                    page.screenshot(path=SHOTS/f"{name.replace('/', '-')}-{kind}.png")
        for word, wanted in SEARCHES.items(): faults += search(wide, address, word, wanted)
        wide.screenshot(path=SHOTS/"search.png")
        faults += check_browser(watched(browser, "file://", faults, viewport=WIDE))
    print(f"{len(pages)} pages read; pictures in {SHOTS.relative_to(ROOT)}")
    return list(dict.fromkeys(faults))


if __name__ == "__main__":
    SHOTS.mkdir(parents=True, exist_ok=True)
    faults = check_book()
    for fault in faults: print(fault)
    sys.exit(bool(faults))
