"""What a stream of speech cost, for people and for tables."""

from typing import NamedTuple


class Report(NamedTuple):
    """Where the time of a stream went, in seconds; compiling is not in it.

    `first_chunk_s` is the sum of the parts before it and of waiting for the first sentence.
    """

    voice_s: float = 0.0  # finding the voice and giving a row to it
    text_s: float = 0.0  # front end, first sentence
    prefill_s: float = 0.0  # encoding its text
    frames_s: float = 0.0  # codes of the first chunk
    decode_s: float = 0.0  # samples of the first chunk
    first_chunk_s: float = 0.0  # from the request to the first chunk
    first_audible_s: float = 0.0  # to the first audible sample, played as it comes
    audio_s: float = 0.0  # given out so far
    busy_s: float = 0.0  # spent making it
    frames: int = 0
    tokens: int = 0

    @property
    def real_time_factor(self) -> float:
        """Seconds of work per second of audio."""
        return self.busy_s / max(self.audio_s, 1e-9)

    @property
    def tokens_per_s(self) -> float:
        """Codes written per second of work."""
        return self.tokens / max(self.busy_s, 1e-9)

    def __str__(self) -> str:
        """Two lines: speed, then the time to first audio in its parts."""
        parts = {
            "voice": self.voice_s,
            "text": self.text_s,
            "prefill": self.prefill_s,
            "frames": self.frames_s,
            "decode": self.decode_s,
        }
        waited = self.first_chunk_s - sum(parts.values())
        if waited > 5e-4:
            parts["waiting"] = waited
        return (
            f"{self.audio_s:.2f} s of speech, real-time factor {self.real_time_factor:.3f}, "
            f"{self.tokens_per_s:,.0f} tokens/s\n"
            f"  first chunk after {1000 * self.first_chunk_s:.0f} ms = "
            + " + ".join(f"{name} {1000 * seconds:.0f}" for name, seconds in parts.items())
            + f"; first audible sample after {1000 * self.first_audible_s:.0f} ms"
        )
