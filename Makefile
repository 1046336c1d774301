# Everything lives in .venv of this checkout; the targets set it up as far as they need it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SHELL := bash

.PHONY: demo test lint evaluate judges corpora codes speech people notebooks clean

demo: $(VENV)/.base
	$(BIN)/python -m voiceloom.demo

# Stolen from the end of the other's list: what a module's tests share is made once, not twice.
test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

judges: $(VENV)/.evaluate
	$(BIN)/python -m experiments.get_judges

evaluate: judges
	$(BIN)/python -m voiceloom.evaluate --out experiments/results/speech

# Records of the four corpora beside this checkout (../shared/corpora), for training.
corpora: $(VENV)/.base
	for name in synthetic human/asterisk human/kerstin human/crowd; do \
	  $(BIN)/python -m data.prepare ../shared/corpora/$$name --format manifest \
	    --out runs/records/$$(basename $$name) || exit 1; done

# Codes for the language model: the synthetic voices at three speeds, the English prompts aligned;
# and of every corpus, for the entropy model of the token files.
codes: $(VENV)/.prepare
	for name in asterisk kerstin crowd; do \
	  $(BIN)/python -m experiments.tokenise runs/records/$$name runs/codes/$$name || exit 1; done
	$(BIN)/python -m experiments.tokenise runs/records/synthetic runs/codes/synthetic
	$(BIN)/python -m experiments.tokenise runs/records/synthetic runs/codes/synthetic_088 --speed 0.88
	$(BIN)/python -m experiments.tokenise runs/records/synthetic runs/codes/synthetic_114 --speed 1.14
	$(BIN)/python -m experiments.align --records runs/records/asterisk --language en \
	  --out runs/records/asterisk_en_aligned
	$(BIN)/python -m experiments.tokenise runs/records/asterisk_en_aligned runs/codes/asterisk_en

# What `experiments/lm_long.py` and then `lm_voices.py` read beside: more of the teacher (about 100
# minutes of two idle cores), the crowd, whose texts a recogniser writes, and all of them elsewhere.
TEACHER := ../shared/tools/synthesize
CROWD_SPEEDS := 0.82 0.88 0.94 1.07 1.14 1.22
speech: $(VENV)/.prepare
	bash $(TEACHER)/setup.sh $(CURDIR)/runs/teacher
	OMP_NUM_THREADS=1 runs/teacher/venv/bin/python $(TEACHER)/make.py --work runs/teacher \
	  --out runs/synthetic_2 --seed 2 --count 6000 --mixtures 120
	$(BIN)/python -m data.prepare runs/synthetic_2 --format manifest --out runs/records/synthetic_2
	$(BIN)/python -m experiments.tokenise runs/records/synthetic_2 runs/codes/synthetic_2
	$(BIN)/python -m experiments.tokenise runs/records/synthetic_2 runs/codes/synthetic_2_088 --speed 0.88
	$(BIN)/python -m experiments.tokenise runs/records/synthetic_2 runs/codes/synthetic_2_114 --speed 1.14
	$(BIN)/python -m data.prepare ../shared/corpora/human/crowd --format manifest --accent us \
	  --transcribe --out runs/records/crowd_text
	$(BIN)/python -m experiments.align --records runs/records/crowd_text --split train \
	  --out runs/records/crowd_text_aligned
	$(BIN)/python -m experiments.tokenise runs/records/crowd_text_aligned runs/codes/crowd_text
	for speed in $(CROWD_SPEEDS); do $(BIN)/python -m experiments.tokenise \
	  runs/records/crowd_text_aligned runs/codes/crowd_text_$${speed//./} --speed $$speed || exit 1; done
	OMP_NUM_THREADS=1 runs/teacher/venv/bin/python experiments/teacher_voices.py \
	  --work runs/teacher --out runs/synthetic_3 --seed 3 --count 1800
	$(BIN)/python -m data.prepare runs/synthetic_3 --format manifest --out runs/records/synthetic_3
	$(BIN)/python -m experiments.tokenise runs/records/synthetic_3 runs/codes/synthetic_3
	$(BIN)/python -m experiments.tokenise runs/records/synthetic runs/codes/synthetic_elsewhere_1 \
	  --elsewhere 1
	for place in 1 2; do $(BIN)/python -m experiments.tokenise runs/records/synthetic_3 \
	  runs/codes/synthetic_3_elsewhere_$$place --elsewhere $$place || exit 1; done
	for place in 1 2 3 4 5 6 7 8; do $(BIN)/python -m experiments.tokenise \
	  runs/records/crowd_text_aligned runs/codes/crowd_elsewhere_$$place --elsewhere $$place \
	  || exit 1; done

# What `experiments/lm_people.py`, `lm_readers.py` and `codec_decoder.py` read beside: 250 people
# (speechocean762, whose authors give it away for any purpose; those are kept whose text the aligner
# finds), still more of the teacher's voices, who speaks fast and who reads twisters, the readers of
# LibriSpeech's train-clean-100 (a clip of each lies beside Resemblyzer, which judges likeness; of 28
# of them more in Mini LibriSpeech, for the decoder), 130 people more (`experiments.get_people`), and
# most of them as other people elsewhere. Every twentieth of the first and ten readers of test-other
# are held out: `python -m experiments.cloning --also learners=runs/records/speechocean
# readers=runs/records/readers`.
people: $(VENV)/.prepare
	git clone --depth 1 https://github.com/jimbozhang/speechocean762 runs/speechocean762
	git clone --depth 1 https://github.com/resemble-ai/Resemblyzer runs/resemblyzer
	curl -L https://www.openslr.org/resources/31/train-clean-5.tar.gz | tar xz -C runs
	$(BIN)/python -m data.prepare runs/resemblyzer/audio_data/librispeech_test-other \
	  --format librispeech --split test --transcribe --out runs/records/readers
	$(BIN)/python -m data.prepare runs/resemblyzer/audio_data/librispeech_train-clean-100 \
	  --format librispeech --split train --transcribe --out runs/records/libri
	$(BIN)/python -m data.prepare runs/LibriSpeech --format librispeech --split train \
	  --out runs/records/mini
	$(BIN)/python -m experiments.get_people runs/people
	$(BIN)/python -m data.prepare runs/people --format folder --language en --accent us \
	  --split train --transcribe --out runs/records/people
	for name in libri people; do \
	  $(BIN)/python -m experiments.align --records runs/records/$$name \
	    --out runs/records/$${name}_aligned && \
	  $(BIN)/python -m experiments.tokenise runs/records/$${name}_aligned runs/codes/$$name \
	  || exit 1; done
	$(BIN)/python -m data.prepare runs/speechocean762 --format kaldi --accent us --split train \
	  --hold-out 20 --out runs/records/speechocean
	$(BIN)/python -m experiments.align --records runs/records/speechocean \
	  --out runs/records/speechocean_aligned
	OMP_NUM_THREADS=1 runs/teacher/venv/bin/python experiments/teacher_voices.py \
	  --work runs/teacher --out runs/synthetic_4 --seed 4 --count 1466
	OMP_NUM_THREADS=1 runs/teacher/venv/bin/python experiments/twisters.py \
	  --work runs/teacher --out runs/synthetic_5 --seed 5 --count 423
	for name in synthetic_4 synthetic_5; do \
	  $(BIN)/python -m data.prepare runs/$$name --format manifest --out runs/records/$$name && \
	  $(BIN)/python -m experiments.tokenise runs/records/$$name runs/codes/$$name || exit 1; done
	$(BIN)/python -m experiments.tokenise runs/records/speechocean_aligned runs/codes/speechocean
	$(BIN)/python -m experiments.tokenise runs/records/synthetic runs/codes/synthetic_tempo_1.3 \
	  --tempo 1.3
	for place in synthetic:2 synthetic:3 synthetic_2:1 synthetic_4:1 synthetic_4:2 \
	    speechocean_aligned:1 speechocean_aligned:2 speechocean_aligned:3 libri_aligned:1 \
	    libri_aligned:2 libri_aligned:3 people_aligned:1 people_aligned:2 people_aligned:3 \
	    people_aligned:4; do \
	  name=$${place%:*}; $(BIN)/python -m experiments.tokenise runs/records/$$name \
	  runs/codes/$${name%_aligned}_elsewhere_$${place#*:} --elsewhere $${place#*:} || exit 1; done

notebooks: $(VENV)/.dev
	$(BIN)/jupyter execute --inplace notebooks/*.ipynb

clean:
	rm -rf $(VENV) demo.wav demo.png

$(VENV)/.base: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e .
	touch $@

$(VENV)/.dev: $(VENV)/.base
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	touch $@

$(VENV)/.prepare: $(VENV)/.base
	$(BIN)/pip install -q -c constraints.txt -e '.[prepare,transcribe]'
	touch $@

$(VENV)/.evaluate: $(VENV)/.base
	$(BIN)/pip install -q -c constraints.txt -e '.[evaluate]'
	touch $@
