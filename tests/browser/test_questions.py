"""The closed questions below a chapter: a choice is marked at once, with the reason, by keyboard too."""

from book.tools.questions import bank


def test_a_choice_is_marked_with_its_reason(visit):
    with visit("notebooks/05_fedavg.html") as page:
        for number, question in enumerate(bank("05_fedavg").questions, 1):
            place = page.locator(f"#question-{number}")
            options = place.get_by_role("radio")
            assert options.count() == len(question.options)
            for here, option in enumerate(question.options):
                options.nth(here).check()
                said = place.get_by_role("status").inner_text()
                assert said.startswith("Right." if option.right else "Not this one.") and option.why in said
        options.first.focus()
        page.keyboard.press("ArrowDown")
        assert question.options[1].why in place.get_by_role("status").inner_text()
        assert page.trouble == []
