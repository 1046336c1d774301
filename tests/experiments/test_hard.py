"""Counting hard sentences that came apart."""

from experiments import hard


def test_a_reading_fails_by_three_words_that_the_teacher_has_right():
    text = "Red lorry, yellow lorry, red lorry, yellow lorry."
    skipped, fine = "Red lorry, yellow lorry.", text
    found = [
        {
            "text": text,
            "recording": text,
            "resynthesis": text,
            "voiceloom": [fine, skipped, fine, fine],
        },
        # What the judge does not understand of the teacher counts against nobody.
        {
            "text": text,
            "recording": skipped,
            "resynthesis": skipped,
            "voiceloom": [skipped] * 4,
        },
    ]
    first, second, *totals = [x for x in hard.markdown(found).splitlines() if "lorry" in x] + [
        x for x in hard.markdown(found).splitlines() if x.startswith("| voiceloom")
    ]
    assert first.endswith("| 0 of 8 | 0 | 0 | 1.0 | 1 of 4 |")
    assert second.endswith("| 4 of 8 | 4 | 0 | 4.0 | 0 of 4 |")
    assert totals[0].startswith("| voiceloom | 8 | 31.2 [") and "| 12.5 [" in totals[0]
