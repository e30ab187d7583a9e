"""The page in a real browser: headless Chromium, where it is installed."""

import base64
import re
import shutil

import pytest
from support.reports import single, sweep

from secateurs.experiments.report.page import write_report

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromium-driver are not installed"),
]
QUIET = ("quic", "background-networking", "component-update", "sync", "gpu")  # background work of the browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    profile = tmp_path_factory.mktemp("profile")
    for flag in (
        "headless=new",
        "no-sandbox",
        "no-first-run",
        f"user-data-dir={profile}",
        *(f"disable-{q}" for q in QUIET),
    ):
        options.add_argument(f"--{flag}")
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The addresses of the pages of a sweep and of a single model."""
    out = tmp_path_factory.mktemp("pages")
    for name, content in (("sweep", sweep(("macs:0.5", "macs:0.25"), seeds=2)), ("single", single())):
        write_report(content, out / name)
    return {name: (out / name / "report.html").as_uri() for name in ("sweep", "single")}


@pytest.fixture(params=["sweep", "single"])
def page(request, browser, pages):
    emulate(browser, "light")
    browser.get(pages[request.param])
    return browser


def emulate(browser, scheme, media="", width=1100):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features, "media": media})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def table(browser, title):
    return browser.find_element("xpath", f"//section[h2='{title}']//table")


def head(table, name):
    return table.find_element("xpath", f".//th[button[normalize-space()='{name}']]")


def column(table, name):
    names = [th.text for th in table.find_elements("css selector", "th")]
    return [cell.text for cell in table.find_elements("css selector", f"td:nth-child({names.index(name) + 1})")]


def test_the_page_loads_without_errors_and_fetches_nothing(page):
    assert page.get_log("browser") == []
    assert page.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert page.find_elements("css selector", "[src], a[href], link") == []


def test_the_page_forbids_fetching_and_the_log_shows_it(page):
    page.execute_script("fetch('https://example.invalid').catch(() => {})")
    assert "Content Security Policy" in page.get_log("browser")[0]["message"]


def test_pictures_are_shown_with_distinct_labels(page, request):
    pictures = page.find_elements("css selector", "svg")
    assert len(pictures) == {"sweep": 5, "single": 3}[request.node.callspec.params["page"]]
    labels = [picture.get_attribute("aria-label") for picture in pictures]
    assert all(labels)
    assert len(set(labels)) == len(labels)
    for picture in pictures:
        assert picture.rect["width"] > 100
        assert picture.rect["height"] > 100


def test_columns_of_numbers_sort_as_numbers(browser, pages):
    browser.get(pages["sweep"])
    results = table(browser, "Results")
    before = column(results, "cut")
    for order in ("ascending", "descending"):
        head(results, "cut").find_element("tag name", "button").click()
        values = [float(re.match(r"[\d.]+", text)[0]) for text in column(results, "cut")]
        assert values == sorted(values, reverse=order == "descending")
        assert head(results, "cut").get_attribute("aria-sort") == order
    assert sorted(before) == sorted(column(results, "cut")) != before
    sizes = column(table(browser, "Widths, layer by layer"), "dense")
    assert sizes == sorted(sizes, key=int)  # the other table is not sorted


def test_columns_of_text_sort_by_keyboard_and_rows_stay_whole(browser, pages):
    browser.get(pages["sweep"])
    results = table(browser, "Results")
    rows = {row.text for row in results.find_elements("css selector", "tbody tr")}
    head(results, "cut").find_element("tag name", "button").click()
    head(results, "criterion").find_element("tag name", "button").send_keys("\n")
    criteria = column(results, "criterion")
    assert criteria == sorted(criteria)
    assert [th.text for th in results.find_elements("css selector", "th[aria-sort]")] == ["criterion"]
    assert {row.text for row in results.find_elements("css selector", "tbody tr")} == rows


def test_empty_cells_sort_last_in_both_orders(browser, pages):
    browser.get(pages["single"])
    rounds = table(browser, "Round by round")
    for _ in range(2):
        head(rounds, "cut").find_element("tag name", "button").click()
        assert column(rounds, "cut") == ["80.0 %", ""]


def test_light_and_dark_screens_and_paper_have_contrast(page):
    colours = {}
    for scheme, media in (("light", ""), ("dark", ""), ("dark", "print")):
        emulate(page, scheme, media)
        body = page.find_element("tag name", "body")
        ink = page.find_element("css selector", "svg").value_of_css_property("color")
        colours[scheme, media] = [brightness(text) for text in (body.value_of_css_property("background-color"), ink)]
    (paper, ink), (dark_paper, dark_ink), (printed_paper, printed_ink) = colours.values()
    assert paper > 200 > 80 > ink
    assert dark_paper < 80 < 200 < dark_ink
    assert printed_paper > 200 > 80 > printed_ink


def brightness(colour):
    return max(map(int, re.findall(r"\d+", colour)[:3]))


def test_the_page_prints_to_pdf(page):
    pdf = base64.b64decode(page.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert pdf.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 2


def test_nothing_overflows_a_narrow_screen(page):
    emulate(page, "light", width=420)
    assert page.execute_script("return document.documentElement.scrollWidth") <= 420
