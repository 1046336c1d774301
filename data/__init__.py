"""Corpora, audio files, the text front end, records and the pipelines that read them.

numpy only: nothing here knows a model, and nothing here imports jax. A corpus becomes a folder of
records once (`python -m data.prepare`), and training reads records by number, so every pipeline is
deterministic, can be checkpointed at any element and sharded by process.
"""
