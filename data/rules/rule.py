"""What a rule is: a pattern of written text, and what one says instead of it."""

import re
from collections.abc import Callable

Speak = Callable[[re.Match, bool], str | None]
"""`speak(match, gb) -> words`, or None to leave the match as it is."""

NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"


class Rules(list[tuple[re.Pattern, Speak]]):
    """Rules in the order in which they run, which is that of the file."""

    def rule(self, pattern: str, flags: int = 0) -> Callable[[Speak], Speak]:
        """Appends the decorated function as the rule for `pattern`."""

        def register(speak: Speak) -> Speak:
            self.append((re.compile(pattern, flags), speak))
            return speak

        return register

    def fixed(self, pattern: str, new: str, flags: int = 0) -> None:
        """Appends a rule that always says the same, with the groups of the match filled in."""
        self.append((re.compile(pattern, flags), lambda match, gb: match.expand(new)))
