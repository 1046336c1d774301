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
            "clearest": [fine] * 4,
        },
        # What the judge does not understand of the teacher counts against nobody.
        {
            "text": text,
            "recording": skipped,
            "resynthesis": skipped,
            "voiceloom": [skipped] * 4,
            "clearest": [skipped, fine, fine, fine],
        },
    ]
    lines = hard.markdown(found).splitlines()
    first, second = [line for line in lines if "lorry" in line]
    assert first.endswith("| 0 of 8 | 0 | 0 | 1.0 | 1 of 4 | 0.0 | 0 of 4 |")
    assert second.endswith("| 4 of 8 | 4 | 0 | 4.0 | 0 of 4 | 1.0 | 0 of 4 |")
    assert lines[-2].startswith("| voiceloom | 8 | 31.2 [") and "| 12.5 [" in lines[-2]
    assert lines[-1].startswith("| clearest of 6 | 8 | 6.2 [") and "| 0.0 [" in lines[-1]
