"""The page of a lesson in Chromium, as a person uses it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from jitprop import CustomLoss, LevenbergMarquardt, Trainer
from jitprop.cli.lessons import NOTEBOOKS
from jitprop.net.optimizers import SGD
from jitprop.teaching import lesson

from .conftest import LAPTOP, TELEPHONE


@pytest.fixture(scope="module")
def xor():
    return NOTEBOOKS["xor"]().make(None)


def keys(browser, selector, *names):
    from selenium.webdriver.common.keys import Keys

    for name in names:
        browser.find(selector).send_keys(getattr(Keys, name))


def press_on_page(browser, *names):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    for name in names:
        ActionChains(browser.driver).send_keys(getattr(Keys, name)).perform()


def choose(browser, name):
    """Click a weight or a bias in the picture, where nothing covers it."""
    from selenium.webdriver import ActionChains

    where = browser.run(
        """
        const group = document.querySelector(`[data-name="${arguments[0]}"]`);
        const line = group.querySelector("line");
        const svg = document.getElementById("net").getBoundingClientRect();
        const end = (name) => Number(line.getAttribute(name));
        const at = (share) => ["x", "y"].map((c) =>
            end(c + 1) * (1 - share) + end(c + 2) * share);
        for (const share of [0.5, 0.3, 0.7, 0.2, 0.8]) {
            const [x, y] = at(share);
            const hit = document.elementFromPoint(svg.left + x, svg.top + y);
            if (group.contains(hit)) return [x - svg.width / 2, y - svg.height / 2];
        }
        """,
        name,
    )
    mover = ActionChains(browser.driver)
    mover.move_to_element_with_offset(browser.find("#net"), *map(round, where)).click().perform()


def epoch(browser):
    return int(browser.text("#where").split()[1].replace(",", ""))


def chosen(browser):
    return browser.run("return document.getElementById('parameter').value")


def wait_for(browser, text):
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser.driver, 60, 0.05).until(lambda _: text in browser.text("#status"))


def number(text):
    return float(text.replace("−", "-"))


def close(text, value):
    try:
        return abs(number(text) / value - 1) < 1e-5
    except ValueError:
        return False


def test_buttons_step_through_the_epochs(browser, xor):
    browser.open(xor)
    assert epoch(browser) == 0
    assert not browser.find("#back").is_enabled()
    for button, expected in (
        ("forth", 1),
        ("forth", 2),
        ("back", 1),
        ("last", 10_000),
        ("first", 0),
    ):
        browser.find(f"#{button}").click()
        assert epoch(browser) == expected
    browser.find("#last").click()
    assert not browser.find("#forth").is_enabled()


def test_play_and_pause(browser, xor):
    from selenium.webdriver.support.ui import WebDriverWait

    browser.open(xor)
    play = browser.find("#play")
    browser.run("document.getElementById('speed').value = 40")
    play.click()
    assert play.text == "Pause"
    WebDriverWait(browser.driver, 20, 0.05).until(lambda _: epoch(browser) > 3)
    play.click()
    assert play.text == "Play"
    stopped = epoch(browser)
    assert browser.run("return App.state.timer") is None
    browser.find("#last").click()
    play.click()  # begins again
    assert epoch(browser) < stopped + 1000
    play.click()


def test_the_slider_obeys_the_keyboard(browser, xor):
    browser.open(xor)
    keys(browser, "#slider", "ARROW_RIGHT", "ARROW_RIGHT", "ARROW_RIGHT", "ARROW_LEFT")
    assert epoch(browser) == 2
    keys(browser, "#slider", "END")
    assert epoch(browser) == 10_000
    assert browser.find("#slider").get_attribute("aria-valuetext").startswith("epoch 10,000 of")


def test_the_marker_can_be_dragged(browser, xor):
    from selenium.webdriver import ActionChains

    browser.open(xor)
    curve = browser.find("#curve")
    reached = []
    for way in (0, 60, 300):  # the last one leaves the curve
        drag = ActionChains(browser.driver).move_to_element(curve).click_and_hold()
        drag.move_by_offset(way, 20).release().perform()
        reached.append(epoch(browser))
    assert 50 < reached[0] < reached[1] < reached[2] == 10_000
    ActionChains(browser.driver).move_to_element(curve).perform()  # without a button
    assert epoch(browser) == 10_000
    assert float(browser.find("circle.marker").get_attribute("cx")) > 200


def test_a_weight_is_explained_down_to_its_update(browser, xor):
    browser.open(xor)
    browser.find("#samples tr:nth-child(3) input").click()
    choose(browser, "W[0][0,2]")
    trainer, X, y = NOTEBOOKS["xor"]().parts
    trace = trainer.trace(X[1], y[1])
    shown = browser.text("#explanation")
    assert chosen(browser) == "W[0][0,2]"
    assert browser.text("#chain-of") == "for sample 1"
    delta = trace.delta[0][0, 2]
    back = trace.delta[1][0, 0] * trainer.weights[1][2, 0]
    for value in (
        trainer.weights[0][0, 2], trace.z[0][0, 2], trace.a[1][0, 2], trace.loss,
        trace.d_weights[0][0, 2], delta, back, delta / back, trace.delta[1][0, 0],
        trace.a[2][0, 0] - 1, trace.update_weights[0][0, 2],
        trainer.weights[0][0, 2] + trace.update_weights[0][0, 2],
    ):  # fmt: skip
        assert any(close(text, value) for text in shown.replace("(", " ").replace(")", " ").split())
    assert "delta[0][2] = ∂E/∂z[0][2]" in shown
    for place in ("section.difference b", ".result .line:nth-of-type(2) b"):  # by differences
        assert number(browser.text(place)) == pytest.approx(trace.d_weights[0][0, 2], rel=1e-5)
    units = browser.run("return document.getElementById('units').innerText").splitlines()
    assert len(units) == 5
    assert number(units[2].split("\t")[3]) == pytest.approx(delta, rel=1e-5)


def test_a_gradient_of_all_samples_is_a_sum(browser, xor):
    browser.open(xor)
    choose(browser, "W[1][3,0]")
    rows = browser.run("return document.querySelector('.backward tbody').innerText").splitlines()
    trainer, X, y = NOTEBOOKS["xor"]().parts
    g = trainer.trace(X, y).d_weights[1][3, 0]
    assert sum(number(row.split("\t")[-1]) for row in rows) == pytest.approx(g, rel=1e-4)
    assert f"{g:.6g}" in browser.text(".backward")


def test_the_keyboard_alone_chooses_a_weight(browser, xor):
    browser.open(xor)
    browser.run("document.querySelector('#net [tabindex=\"0\"]').focus()")
    press_on_page(browser, "ARROW_DOWN", "ARROW_DOWN", "ENTER")
    assert chosen(browser) == "W[0][0,2]"
    press_on_page(browser, "ARROW_RIGHT", "SPACE")
    assert chosen(browser) == "W[1][0,0]"
    press_on_page(browser, "END", "ENTER")
    assert chosen(browser) == "b[1][0]"
    pressed = browser.run("return document.querySelectorAll('#net [aria-pressed=true]').length")
    assert pressed == 1
    assert browser.run("return document.querySelectorAll('#net [tabindex=\"0\"]').length") == 1


def test_every_control_can_be_reached_and_has_a_name(browser, xor):
    browser.open(xor)
    reached = set()
    for _ in range(60):
        press_on_page(browser, "TAB")
        reached.add(
            browser.run("const e = document.activeElement; return e.id || e.className.baseVal")
        )
    assert {
        "first", "play", "forth", "last", "speed", "slider", "rate", "halve", "double", "seed",
        "next-seed", "activation", "width-0", "wrong-sign", "parameter",
    } <= reached - {"first"} | {"first"}  # fmt: skip
    nameless = browser.run(
        """
        const name = (e) => e.getAttribute("aria-label") || e.textContent.trim()
            || (e.labels && [...e.labels].map((l) => l.textContent.trim()).join(""));
        return [...document.querySelectorAll("button, input, select, [role]")]
            .filter((e) => !name(e) && e.id !== "status").map((e) => e.outerHTML);
        """
    )
    assert nameless == []
    roles = browser.run(
        "return [...document.querySelectorAll('#net .part')].map((e) => e.getAttribute('role'))"
    )
    assert set(roles) == {"button"}


CONTRAST = """
const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
const light = (colour) => parts(colour).slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
const opaque = (e) => {
    while (e && (parts(getComputedStyle(e).backgroundColor)[3] ?? 1) === 0) e = e.parentElement;
    return e ? getComputedStyle(e).backgroundColor : "rgb(255, 255, 255)";
};
const found = [];
for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.getClientRects().length || e.disabled || e.closest("svg")) continue;
    const [a, b] = [getComputedStyle(e).color, opaque(e)].map(light).sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) found.push([e.outerHTML.slice(0, 80), ratio]);
}
const style = getComputedStyle(document.documentElement);
const hex = (name) => "rgb(" + style.getPropertyValue(name).trim().slice(1).match(/../g)
    .map((x) => parseInt(x, 16)).join(",") + ")";
for (const name of ["--positive", "--negative", "--soft", "--accent"]) {
    const [a, b] = [hex(name), hex("--panel")].map(light).sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) found.push([name, (a + 0.05) / (b + 0.05)]);
}
return found;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [LAPTOP, TELEPHONE])
def test_texts_can_be_read(browser, xor, scheme, size):
    browser.screen(size, prefers_color_scheme=scheme)
    browser.open(xor)
    dark = (
        browser.run("return getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
    )
    assert dark == (scheme == "dark")
    assert browser.run(CONTRAST) == []
    browser.find("#samples tr:nth-child(2) input").click()
    assert browser.run(CONTRAST) == []


def test_a_laptop_shows_everything_at_once(browser, xor):
    browser.open(xor)
    inside = browser.run(
        """
        return ["controls", "net", "curve", "surface", "samples", "switches", "units",
                "explanation", "status", "loss-of-step"].filter((id) => {
            const box = document.getElementById(id).getBoundingClientRect();
            return box.top < 0 || box.left < 0 || box.right > innerWidth
                || (box.bottom > innerHeight && id !== "explanation");
        });
        """
    )
    assert inside == []
    height, width = browser.run(
        "const e = document.documentElement; return [e.scrollHeight, e.scrollWidth]"
    )
    assert (width, height) <= LAPTOP


def test_a_telephone_needs_no_sideways_scrolling(browser, xor):
    browser.screen(TELEPHONE)
    browser.open(xor)
    assert browser.run("return document.documentElement.scrollWidth") <= TELEPHONE[0]
    small = browser.run(
        """
        return [...document.querySelectorAll("button, select, input[type=number]")]
            .filter((e) => e.getClientRects().length && e.getBoundingClientRect().height < 36)
            .map((e) => e.id);
        """
    )
    assert small == []
    browser.find("#forth").click()
    assert epoch(browser) == 1


def test_long_titles_and_names_fit(browser):
    title, names = "W" * 300, ["a" * 80, "W" * 9]
    X, y = np.eye(4, 2), [0, 1, 1, 0]
    made = lesson(Trainer([2, 2, 1], seed=0), X, y, 5, title=title, input_names=names)
    for size in (LAPTOP, TELEPHONE, (320, 700)):
        browser.screen(size)
        browser.open(made)
        assert browser.run("return document.documentElement.scrollWidth") <= size[0]
        cut = """
            const left = document.getElementById("net").getBoundingClientRect().left;
            return [...document.querySelectorAll("#net .name text")]
                .filter((label) => label.getBoundingClientRect().left < left - 0.5).length;
        """
        assert browser.run(cut) == 0


def test_with_reduced_motion_nothing_moves_by_itself(browser, xor):
    browser.screen(prefers_reduced_motion="reduce")
    browser.open(xor)
    moving = (
        "[...document.querySelectorAll('*')].map((e) => getComputedStyle(e).transitionDuration)"
    )
    assert set(browser.run(f"return {moving}")) == {"0s"}
    assert browser.run("return document.getAnimations().length") == 0
    assert browser.run("return App.state.timer") is None


def test_switches_train_again_and_the_recorded_run_comes_back(browser, xor):
    browser.open(xor)
    browser.find("#double").click()
    wait_for(browser, "This page trained 10,000 epochs from the recorded")
    trainer, X, y = NOTEBOOKS["xor"]().parts
    trainer.learning_rate = 0.2
    trainer.fit(X, y, 10_000)
    params = browser.run("return App.state.run.snapshots.at(-1).params")
    assert np.allclose(params, trainer.parameters, rtol=1e-9, atol=0)
    assert epoch(browser) == 10_000
    browser.find("#recorded").click()
    assert browser.find("#rate").get_attribute("value") == "0.1"
    assert "recorded" in browser.text("#status")
    assert browser.run("return App.state.run === Data.recorded")


def test_other_units_activations_and_seeds(browser):
    trainer = Trainer([2, 2, 1], reduction="sum", learning_rate=0.5, seed=0)
    browser.open(lesson(trainer, [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0], 200))
    choose(browser, "W[0][1,1]")
    set_value = "const e = document.querySelector(arguments[0]); e.value = arguments[1];"
    set_value += "e.dispatchEvent(new Event('change', { bubbles: true }))"
    browser.run(set_value, ".width", 5)
    wait_for(browser, "weights that it drew itself")
    assert browser.run("return document.querySelectorAll('.part').length") == 10 + 5 + 5 + 1
    browser.run(set_value, "#activation", "tanh")
    browser.find("#next-seed").click()
    wait_for(browser, "weights that it drew itself")
    assert "tanh" in browser.text("#net")
    first = browser.run("return App.state.run.snapshots[0].params")
    limit = np.sqrt(6 / 7)
    assert np.abs(first[:10]).max() < limit
    assert first[10:15] == [0.0] * 5
    browser.run(set_value, ".width", 1)  # the chosen unit is no longer there
    wait_for(browser, "weights that it drew itself")
    assert browser.run("return App.state.run.net.sizes") == [2, 1, 1]
    browser.run(set_value, ".width", 99)
    assert browser.run("return App.state.run.net.sizes") == [2, 1, 1]


def test_switches_with_odd_values_raise_no_error(browser):
    X, y = np.eye(4, 2), [0, 1, 1, 0]
    browser.open(lesson(Trainer([2, 2, 1], seed=0), X, y, 5))
    put = """
        const [name, value] = arguments;
        const input = document.getElementById(name);
        input.value = value;
        input.dispatchEvent(new Event("change", { bubbles: true }));
    """
    for name in ("width-0", "rate"):  # without a number there, nothing is trained
        browser.driver.execute_script(put, name, "")
        before = browser.run("return App.state.run.snapshots[0].params")
        browser.find("#next-seed").click()
        assert browser.run("return App.state.run.snapshots[0].params") == before
        browser.driver.execute_script(put, name, "3")
    for value in ("1.5", "1e-9", "999999", ""):
        browser.driver.execute_script(put, "seed", value)
        browser.find("#next-seed").click()
    wait_for(browser, "This page trained 5 epochs")
    assert browser.find("#seed").get_attribute("value") == "1"


def test_the_wrong_sign_makes_the_error_grow(browser):
    browser.open(NOTEBOOKS["one-step"]().make(None))
    browser.find("#wrong-sign").click()
    wait_for(browser, "This page trained 300 epochs")
    assert browser.text("#where").endswith("0.43962")  # as on the page on the notebook
    assert "(−0.1)" in browser.text(".update")


def test_the_seeds_that_fail_are_those_of_the_page_for_lecturers(browser, xor):
    browser.open(xor)
    outputs = browser.run(
        """
        return arguments[0].map(([units, seed]) => {
            document.querySelector(".width").value = units;
            document.getElementById("seed").value = seed;
            const asked = App.wanted();
            const training = App.trainer(asked);
            for (let k = 0; k < 10000; k++) training.epoch();
            return Engine.forward(asked.net, training.params, Data.samples.X).a[2].map((a) => a[0]);
        });
        """,
        [[2, 1], [2, 2], [2, 3], [2, 13], [3, 3], [3, 13]],
    )
    right = (np.array(outputs) > 0.5) == [False, True, True, False]
    assert right.all(axis=1).tolist() == [True, True, False, False, True, True]
    assert np.sort(outputs[2]) == pytest.approx([0, 0.5, 0.5, 1], abs=0.06)
    lecture = (Path(__file__).parents[2] / "docs/lecture.md").read_text()
    assert "six fail: 3, 6, 12, 13, 14 and 19" in lecture


def test_a_notebook_shows_the_lesson_in_a_frame(browser, xor):
    page = browser.folder / "notebook.html"
    page.write_text(f"<!DOCTYPE html><meta charset=utf-8><p>Out[1]:{xor._repr_html_()}", "utf-8")
    browser.driver.get(page.as_uri())
    browser.driver.switch_to.frame(0)
    browser.find("#forth").click()
    assert epoch(browser) == 1
    browser.driver.switch_to.default_content()


def test_divergence_is_said(browser):
    trainer = Trainer([1, 1], output_activation="identity", seed=0)
    browser.open(lesson(trainer, [[1.0], [2.0]], [[1.0], [3.0]], 2000))
    browser.run("document.getElementById('rate').value = 50")
    browser.find("#double").click()
    wait_for(browser, "diverged")
    browser.find("#recorded").click()
    assert epoch(browser) < 2000


def test_a_sample_is_chosen_on_the_surface_and_in_the_table(browser, xor):
    from selenium.webdriver import ActionChains

    browser.open(xor)
    surface = browser.find("#surface")
    third = round(surface.size["width"] / 3)
    ActionChains(browser.driver).move_to_element_with_offset(
        surface, third, third
    ).click().perform()
    assert browser.text("#chain-of") == "for sample 1"  # (1, 0), at the lower right
    ActionChains(browser.driver).move_to_element(surface).click().perform()
    assert browser.text("#chain-of") == "for all 4 samples together"
    keys(browser, "#samples input", "ARROW_DOWN")
    assert browser.text("#chain-of") == "for sample 0"
    colours = browser.run(
        "const c = document.getElementById('surface').getContext('2d');"
        "return [...c.getImageData(5, 5, 1, 1).data]"
    )
    assert colours[3] == 255


def test_without_two_inputs_there_is_a_table_alone(browser):
    browser.open(NOTEBOOKS["scalar"]().make(None))
    assert not browser.find("#surface").is_displayed()
    assert browser.find("#samples").is_displayed()


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": SGD(0.9, nesterov=True)},
        {"optimizer": "adamw", "weight_decay": 0.1},
        {"optimizer": "rmsprop", "clip_norm": 1e-3},
        {"optimizer": "rprop", "activation": "gelu"},
        {"optimizer": LevenbergMarquardt(), "output_activation": "identity"},
        {"loss": "cross_entropy", "output_activation": "softmax", "batch_size": 2},
        {"loss": "gaussian_nll", "output_activation": "identity", "activation": "relu"},
        {"loss": "poisson", "output_activation": "exp", "dropout": 0.5},
        {"loss": CustomLoss(lambda a, y: (a - y) ** 2, lambda a, y: 2 * (a - y), name="mine")},
    ],
)
def test_every_kind_of_net_is_explained(browser, settings):
    outputs = 2 if settings.get("loss") in ("cross_entropy", "gaussian_nll") else 1
    trainer = Trainer([3, 4, 3, outputs], seed=0, backend="numpy", **settings)
    X = np.random.default_rng(0).random((5, 3))
    y = [0, 1, 1, 0, 1]
    browser.open(lesson(trainer, X, y, 6))
    shown = browser.run(
        """
        const texts = [];
        for (const sample of [-1, 2]) {
            App.state.sample = sample;
            App.goTo(3);
            for (const part of document.querySelectorAll(".part")) {
                part.dispatchEvent(new MouseEvent("click"));
                texts.push(document.getElementById("explanation").innerText);
            }
        }
        return texts;
        """
    )
    assert len(shown) == 2 * len(trainer.parameters)
    assert not [text for text in shown if re.search("NaN|undefined|null|Infinity", text)]
