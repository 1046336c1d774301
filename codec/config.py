"""Shape of a codec, free of JAX, one to one with `config.model` of an experiment.

Three rates: the spectral front end and the inverse STFT step at 100 Hz, the trunk at 50 Hz, the
codes at `frame_rate` (12.5 or 25 Hz). Nothing but one irfft runs above 100 Hz, which is what makes
the codec trainable and servable on two cores.
"""

from __future__ import annotations

import dataclasses
import math


class Rates:
    """What follows from the frame rate and the sizes of the books, whatever the codec."""

    first_frames = 1  # least frames of a stream's first block

    def nominal_kbps(self, books: int) -> float:
        """Kilobits a second of the first `books` books, without entropy coding or framing."""
        return self.frame_rate * sum(map(math.log2, self.sizes[:books])) / 1000


@dataclasses.dataclass(frozen=True)
class Config(Rates):
    """Sizes of the codec; every derived rate is a property.

    Attributes:
        sample_rate: of input and output, Hz. The encoder only looks at 0-8 kHz, so sources of
            16 kHz (resampled up) and of 24 kHz look alike to it.
        frame_rate: code frames a second.
        quantizer: "residual" vectors, "scalar" grids, or "split": one vector, then scalars.
        books: codebooks Q.
        entries: codes per book K.
        code_dim: width of the L2-normalised lookup (DAC: 8); of "scalar", the numbers in a book.
        stages: of "scalar": above 1, later books cut the cells of the earlier ones again.
        first_entries: of "split": entries of its first book.
        width: of the trunk at 50 Hz.
        frame_width: of the blocks at the frame rate, and of the residual that is quantised.
        encoder_blocks, decoder_blocks: at 50 Hz.
        frame_blocks: at the frame rate, on each side of the quantiser.
        expansion: of the MLP in a block.
        kernel: taps of the causal depthwise filters.
        symbols: of a text that a second decoder is told beside the codes; 0: there is none.
        slots: for the symbols of a frame: the one in speech as it begins, those that begin in it.
    """

    sample_rate: int = 24_000
    frame_rate: float = 12.5
    quantizer: str = "residual"
    books: int = 16
    entries: int = 1024
    code_dim: int = 8
    stages: int = 1
    first_entries: int = 1024
    width: int = 256
    frame_width: int = 256
    encoder_blocks: int = 3
    decoder_blocks: int = 7
    frame_blocks: int = 1
    expansion: int = 3
    kernel: int = 7
    symbols: int = 0
    slots: int = 4

    def __post_init__(self):
        if self.hop * 100 != self.sample_rate or self.trunk_steps * self.frame_rate != 50:
            raise ValueError(
                f"sample_rate {self.sample_rate} must be a multiple of 100 and frame_rate "
                f"{self.frame_rate} must divide 50 Hz (12.5 or 25)"
            )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Entries of each book."""
        first = self.first_entries if self.quantizer == "split" else self.entries
        return (first,) + (self.entries,) * (self.books - 1)

    @property
    def hop(self) -> int:
        """Samples between two columns of the front end and of the inverse STFT (10 ms)."""
        return self.sample_rate // 100

    @property
    def trunk_steps(self) -> int:
        """Steps of the 50 Hz trunk in one frame."""
        return round(50 / self.frame_rate)

    @property
    def frame_samples(self) -> int:
        """Samples P in one frame."""
        return self.trunk_steps * 2 * self.hop

    @property
    def delay_samples(self) -> int:
        """Decoded audio lags its input by so much (20 ms).

        Half a synthesis window: the last column of a frame is then centred on audio that the
        encoder has already heard, so the decoder never has to guess ahead.
        """
        return 2 * self.hop

    @property
    def memory_frames(self) -> int:
        """The decoder's output depends on no more than this many frames before its own."""
        past = self.kernel - 1
        trunk = -(-self.decoder_blocks * past // self.trunk_steps)
        return self.frame_blocks * past + trunk + 1  # the last for the overlap of the windows
