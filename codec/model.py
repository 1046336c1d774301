"""The codec: log-spectrum -> causal trunk -> codes -> causal trunk -> inverse STFT.

Causal throughout: frame t of the codes depends on samples up to the end of frame t only, and
decoded block t on codes up to t. Everything is a matrix product at 100 Hz or below (Vocos-style
head, arXiv 2306.00814; STFT front end as in SpectroStream and ZipCodec). `encode` and `decode`
take and return an explicit state, so a stream and a whole file run through the same lines.
"""

from __future__ import annotations

import typing

from flax import nnx
from jaxtyping import Array, Float, Int

from codec.config import Config
from codec.layers import Trunk
from codec.quantize import Quantized, make_quantizer
from codec.spectrum import Analysis, Synthesis
from codec.told import Told


class EncoderState(typing.NamedTuple):
    """What the encoder remembers between blocks."""

    analysis: Float[Array, "B H"]
    trunk: tuple
    frame: tuple


class DecoderState(typing.NamedTuple):
    """What the decoder remembers between blocks."""

    frame: tuple
    trunk: tuple
    synthesis: Float[Array, "B H"]


class Encoder(nnx.Module):
    """Samples -> the latent that is quantised, one vector a frame."""

    def __init__(self, cfg: Config, *, rngs: nnx.Rngs):
        self.steps = cfg.trunk_steps
        self.analysis = Analysis(cfg.sample_rate, cfg.hop)
        shape = (cfg.expansion, cfg.kernel)
        self.enter = nnx.Linear(2 * self.analysis.width, cfg.width, rngs=rngs)
        self.trunk = Trunk(cfg.encoder_blocks, cfg.width, *shape, rngs=rngs)
        self.down = nnx.Linear(self.steps * cfg.width, cfg.frame_width, rngs=rngs)
        self.frame = Trunk(cfg.frame_blocks, cfg.frame_width, *shape, rngs=rngs)
        self.norm = nnx.LayerNorm(cfg.frame_width, rngs=rngs)

    def init_state(self, batch: int) -> EncoderState:
        """Silence before the first sample."""
        return EncoderState(
            self.analysis.init_state(batch),
            self.trunk.init_state(batch),
            self.frame.init_state(batch),
        )

    def __call__(
        self, samples: Float[Array, "B S"], state: EncoderState | None = None
    ) -> tuple[Float[Array, "B T D"], EncoderState]:
        """Latents [B, S / P, D] and the new state; S must be whole frames."""
        batch = samples.shape[0]
        state = self.init_state(batch) if state is None else state
        x, analysis = self.analysis(samples, state.analysis)
        x = x.reshape(batch, x.shape[1] // 2, -1)  # 100 -> 50 Hz
        x, trunk = self.trunk(self.enter(x), state.trunk)
        x = x.reshape(batch, x.shape[1] // self.steps, -1)  # 50 Hz -> frame rate
        x, frame = self.frame(self.down(x), state.frame)
        return self.norm(x), EncoderState(analysis, trunk, frame)


class Decoder(nnx.Module):
    """Quantised latents -> samples."""

    def __init__(self, cfg: Config, *, rngs: nnx.Rngs):
        self.steps = cfg.trunk_steps
        self.synthesis = Synthesis(cfg.hop)
        shape = (cfg.expansion, cfg.kernel)
        self.frame = Trunk(cfg.frame_blocks, cfg.frame_width, *shape, rngs=rngs)
        self.up = nnx.Linear(cfg.frame_width, self.steps * cfg.width, rngs=rngs)
        self.trunk = Trunk(cfg.decoder_blocks, cfg.width, *shape, rngs=rngs)
        self.norm = nnx.LayerNorm(cfg.width, rngs=rngs)
        self.leave = nnx.Linear(cfg.width, 2 * self.synthesis.width, rngs=rngs)

    def init_state(self, batch: int) -> DecoderState:
        """Nothing said yet."""
        return DecoderState(
            self.frame.init_state(batch),
            self.trunk.init_state(batch),
            self.synthesis.init_state(batch),
        )

    def __call__(
        self, latent: Float[Array, "B T D"], state: DecoderState | None = None
    ) -> tuple[Float[Array, "B S"], DecoderState]:
        """Samples [B, T * P] and the new state."""
        batch = latent.shape[0]
        state = self.init_state(batch) if state is None else state
        x, frame = self.frame(latent, state.frame)
        x = self.up(x).reshape(batch, x.shape[1] * self.steps, -1)  # frame rate -> 50 Hz
        x, trunk = self.trunk(x, state.trunk)
        x = self.leave(self.norm(x)).reshape(batch, 2 * x.shape[1], -1)  # 50 -> 100 Hz
        samples, synthesis = self.synthesis(x, state.synthesis)
        return samples, DecoderState(frame, trunk, synthesis)


class Reconstruction(typing.NamedTuple):
    """What the training form returns."""

    samples: Float[Array, "B S"]  # lags the input by `Config.delay_samples`
    quantized: Quantized


class Codec(nnx.Module):
    """Encoder, quantiser and decoder; of symbols, a second decoder that is told the text."""

    def __init__(self, cfg: Config, *, rngs: nnx.Rngs):
        self.cfg = cfg
        self.encoder = Encoder(cfg, rngs=rngs)
        self.quantizer = make_quantizer(cfg, rngs=rngs)
        self.decoder = Decoder(cfg, rngs=rngs)
        self.told = Told(cfg) if cfg.symbols else None
        self.speaker = Decoder(cfg, rngs=rngs) if cfg.symbols else None

    def init_encoder_state(self, batch: int) -> EncoderState:
        """State of a stream of which nothing has been heard."""
        return self.encoder.init_state(batch)

    def init_decoder_state(self, batch: int) -> DecoderState:
        """State of a stream of which nothing has been said."""
        return self.decoder.init_state(batch)

    def encode(
        self,
        samples: Float[Array, "B S"],
        state: EncoderState | None = None,
        books: int | None = None,
    ) -> tuple[Int[Array, "B T Q"], EncoderState]:
        """Codes of whole frames (S = T * P) in the first `books` books, and the new state."""
        latent, state = self.encoder(samples, state)
        return self.quantizer.encode(latent, books), state

    def decode(
        self,
        codes: Int[Array, "B T Q"],
        state: DecoderState | None = None,
        said: Int[Array, "B T N"] | None = None,
    ) -> tuple[Float[Array, "B S"], DecoderState]:
        """T * P samples, `Config.delay_samples` late, and the new state.

        Args:
            codes: Of any leading books.
            state: What was said before, told or untold throughout; None for nothing.
            said: What the frames say, from who knows: ids of symbols in N = `Config.slots` slots,
                -1 where there is none (`data.said`). A codec of no symbols does not listen.
        """
        return self._speak(self.quantizer.decode(codes), state, said)

    def __call__(
        self,
        samples: Float[Array, "B S"],
        depth: Int[Array, " B"],
        key: Array,
        said: Int[Array, "B T N"] | None = None,
    ) -> Reconstruction:
        """Training form: `samples` through `depth` books per example and back."""
        latent, _ = self.encoder(samples)
        quantized = self.quantizer(latent, depth, key)
        return Reconstruction(self._speak(quantized.latent, None, said)[0], quantized)

    def _speak(self, latent: Array, state: DecoderState | None, said: Array | None):
        """Samples of latents, and the new state."""
        if self.told and said is not None:
            return self.speaker(latent + self.told(said), state)
        return self.decoder(latent, state)
