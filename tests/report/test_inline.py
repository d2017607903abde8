from qdiag.report.inline import Span, paragraphs


def test_an_empty_line_parts_paragraphs_and_other_breaks_are_spaces() -> None:
    assert paragraphs("one\n  two\n\n three ") == [[Span("one two")], [Span("three")]]


def test_a_mark_without_its_partner_is_shown_as_it_is() -> None:
    assert paragraphs("2 ** 3 and a `tick") == [[Span("2 ** 3 and a `tick")]]


def test_underscores_and_tags_are_no_marks() -> None:
    assert paragraphs("_conv_1_ <b>") == [[Span("_conv_1_ <b>")]]
