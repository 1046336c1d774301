"""Whose clips are taken out of somebody's repository."""

from experiments.get_people import SOURCES, Source, chosen


def test_clips_are_spread_over_all_that_a_speaker_has():
    paths = [f"wav/{who}/{n}.wav" for who in ("ann", "bob") for n in range(10)] + ["wav/ann/0.txt"]
    found = chosen(
        [*paths, "wav/eve/0.wav"], Source("a/b", "x", r"wav/(?P<speaker>\w+)/\d\.wav", 3)
    )
    assert found == {
        "x_ann": ["wav/ann/0.wav", "wav/ann/3.wav", "wav/ann/6.wav"],
        "x_bob": ["wav/bob/0.wav", "wav/bob/3.wav", "wav/bob/6.wav"],
        "x_eve": ["wav/eve/0.wav"],
    }


def test_every_source_knows_its_own_paths_and_no_converted_voices():
    """A path of each, as it stands in the repository; of demonstrations the originals alone."""
    paths = {
        "ls_61": "data/dataset/raw/test-clean/61/70968/61-70968-0000.flac",
        "vcc_SF1": "data/vcc2016_training/SF1/100001.wav",
        "al_3uvOS0cUzHJeF6p": "audio_data/Addresses/R_3uvOS0cUzHJeF6p.wav",
        "vctk_p237": "res/demo/p237_p292_M_M/p237_018_p292_155_src.wav",
        "vctk_p292": "res/demo/p237_p292_M_M/p237_018_p292_155_tar.wav",
        "vctk_p225": "data/wav48/p225/p225_001.wav",
    }
    for source, (speaker, path) in zip(SOURCES, paths.items(), strict=True):
        assert chosen([path], source) == {speaker: [path]}
    converted = "res/demo/p237_p292_M_M/p237_018_p292_155_con.wav"
    assert not any(chosen([converted], source) for source in SOURCES)
