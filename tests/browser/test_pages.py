"""Every page as an offline reader meets it: complete, typeset, and readable on a telephone."""

import pytest

SETTLED = """async () => {
  if (window.MathJax) await MathJax.startup.promise;
  for (const image of document.images) image.loading = 'eager';
  await Promise.all([...document.images].map(image => image.decode().catch(() => {})));
}"""
BROKEN_IMAGES = "() => [...document.images].filter(i => !i.naturalWidth).map(i => 'image: ' + i.src)"
LEFT_ICONS = "() => [...document.querySelectorAll('i[class*=fa-], svg.fa-question')].map(i => 'icon: ' + i.className)"
FORMULAS = """() => {
  const raw = [...document.querySelectorAll('.math')];
  return {
    asked: raw.length,
    set: raw.filter(node => node.querySelector('mjx-container')).length,
    wrong: [...document.querySelectorAll('mjx-merror, [data-mjx-error]')].map(node => node.textContent),
    left: raw.map(node => node.textContent).filter(text => /\\\\[([]/.test(text)),
  };
}"""
TOO_WIDE = """() => {
  const room = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= room) return [];
  return [...document.querySelectorAll('main *')].filter(node => node.getBoundingClientRect().right > room + 1)
    .slice(0, 5).map(node => node.tagName + '.' + node.className + ' ' + node.textContent.slice(0, 40));
}"""

# Folds are opened first. A wide table of the reference pages scrolls in its box; one of a chapter should fit.
SCROLLS = """() => {
  document.querySelectorAll('main details').forEach(one => one.open = true);
  return [...document.querySelectorAll('main pre, main .cell_output .table-box')]
    .filter(box => box.checkVisibility() && box.clientWidth && box.scrollWidth > box.clientWidth + 1)
    .map(box => `${box.scrollWidth} > ${box.clientWidth}: ${box.textContent.trim().slice(0, 60)}`);
}"""
UNNUMBERED = """() => [...document.querySelectorAll('article .picture-box')]
  .filter(box => !box.closest('figure')?.querySelector('.caption-number')).map(box => box.innerHTML.slice(0, 80))"""


PARTS = 2  # for two processes

SERIOUS = """async theme => {
  document.documentElement.dataset.theme = theme;
  const found = await axe.run({resultTypes: ['violations']});
  return found.violations.filter(one => ['serious', 'critical'].includes(one.impact)).flatMap(one =>
    one.nodes.slice(0, 8).map(node => `${one.id}: ${node.html.slice(0, 160)} ${node.any[0]?.message ?? ''}`));
}"""


@pytest.mark.parametrize("part", range(PARTS))
def test_every_page_is_whole_and_readable_without_a_network(part, visit, pages, axe, subtests):
    formulas = 0
    for name in pages[part::PARTS]:
        with visit(name) as page:
            page.evaluate(SETTLED)
            with subtests.test(f"{name}: whole"):
                found = page.evaluate(FORMULAS)
                formulas += found["set"]
                assert found["asked"] == found["set"] and not found["wrong"] and not found["left"], found
                assert page.trouble + page.evaluate(BROKEN_IMAGES) + page.evaluate(LEFT_ICONS) == []
            page.evaluate(axe)
            for theme in ("light", "dark"):
                with subtests.test(f"{name}: accessible, {theme}"):
                    assert page.evaluate(SERIOUS, theme) == []
            page.set_viewport_size({"width": 390, "height": 844})
            with subtests.test(f"{name}: telephone"):
                assert page.evaluate("document.documentElement.scrollWidth") <= 390, page.evaluate(TOO_WIDE)
            page.set_viewport_size({"width": 1280, "height": 800})
            with subtests.test(f"{name}: nothing scrolls sideways, pictures are numbered"):
                assert page.evaluate(SCROLLS) + page.evaluate(UNNUMBERED) == []
    assert len(pages) > 10
    assert formulas > 20 / PARTS
