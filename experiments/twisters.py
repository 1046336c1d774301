"""Sentences in which one sound follows another of its kind, for the teacher to read.

    runs/teacher/venv/bin/python experiments/twisters.py --work runs/teacher \
      --out runs/synthetic_5 --seed 5 --count 900

Chains of one sound, repeated words, letters and digits: what the corpus' templates and LJSpeech
hardly hold, and what comes apart in the hard sentences of the test set, none of which is here (no
three words in a row of them). The 423 that one run heard changed nothing there: 5.0 % of the
readings failed with and without that run (LOG.md, 2026-11-29).

Runs in the environment of the teacher (see `make people`), as `make.py` does; goes on where it was.
"""

import json
import random
import re
from pathlib import Path

MIXTURES = 60  # of the training voices, beside them
CORPUS = Path(__file__).parents[2] / "shared/corpora/synthetic"

FOLK = """Peter Piper picked a peck of pickled peppers.
Betty Botter bought a bit of better butter.
Fuzzy Wuzzy was a bear. Fuzzy Wuzzy had no hair.
Irish wristwatch, Swiss wristwatch.
Rubber baby buggy bumpers.
Can you can a canned can into an uncanned can like a canner can?
Six thick thistle sticks.
Fresh fried fish, fish fresh fried, fried fish fresh.
Which witch wished which wicked wish?
Greek grapes, Greek grapes, Greek grapes.
A proper copper coffee pot.
Eleven benevolent elephants.
Toy boat, toy boat, toy boat.
Black background, brown background.
Three free throws.
He threw three free throws.
Thirty three thousand feathers on a thrush's throat.
The thirty three thieves thought that they thrilled the throne.
Lesser leather never weathered wetter weather better.
I saw a kitten eating chicken in the kitchen.
If a dog chews shoes, whose shoes does he choose?
Near an ear, a nearer ear, a nearly eerie ear.
Willie's really weary.
A big black bear sat on a big black rug.
Tom threw Tim three thumbtacks.
He thrusts his fists against the posts, and still insists he sees the ghosts.
Six slimy snails sailed silently.
Five frantic frogs fled from fifty fierce fishes.
Four fine fresh fish for you.
Wayne went to Wales to watch walruses.
Double bubble gum, bubbles double.
Twelve twins twirled twelve twigs.
A snake sneaks to seek a snack.
Clean clams crammed in clean cans.
Scissors sizzle, thistles sizzle.
How many boards could the Mongols hoard if the Mongol hordes got bored?
The great Greek grape growers grow great Greek grapes.
Which wristwatches are Swiss wristwatches?
Imagine an imaginary menagerie manager managing an imaginary menagerie.
So this is the sushi chef.
Mister Sutcliffe's sister's scissors.
Cooks cook cupcakes quickly.
Thin sticks, thick bricks.
Brisk brave brigadiers brandished broad bright blades.
Chester Cheetah chews a chunk of cheap cheddar cheese.
Sheena leads, Sheila needs.
Selfish shellfish.
The seething sea ceaseth, and thus the seething sea sufficeth us.
Freshly fried fresh flesh.
Lucky ladies, lovely lilies, lonely lions."""
CHAINS = """sick silk six sixth sister sisters silver slick slim slept sell sells sister's sixes sip
ship shop sheep sheet shell shells shine shore shout sharp shy short shirts shared
chick chicken chicks cheap cheese cherry chew choose chuck chose chain chair cheer
thick thin thing thistle three thirty thirteen through throw threw thought thank theft
black brick bricks bring brown blue broke bread broad bright block blink bleak
buffalo baffle bubble bottle battle better butter beetle bundle bitter button biscuit
scream screams screen scratch scrub string street straight stream strength splash spring spread
wood would wooden wool wander wonder woman witch which watch wait wet wide
really rarely rural roller lorry library literally lily yellow yearly royal rally
iron earn urn error earned errand aren't early ironed air hour arrow
text texts tests tenth tenths months fifth fifths eighth eighths desks asks wasps
unique unit union united new news knew you use usual menu York yolk
peck pick pickle pepper paper proper pop pump people purple poppy puppy
kick cook cake quick quack crook creak cackle cracker crackle kettle kitten
fish fresh fried fluffy fifty four five first fast feather father fury
get great green grape grow grew gray ground giggle gargle google eager
man many money lemon melon lemonade mining morning mumble memory minimum
vase very vivid velvet valve view vowel wave weave wove over every""".split("\n")
NAMES = "Anna Ben Carla Sheila Susan Sam Chester Rory Larry Wally Betty Molly Freddy Kirk".split()
LETTERS = "A B C D E F G H I J K L M N O P Q R S T U V W X Y Z".split()
DIGITS = "zero one two three four five six seven eight nine".split()
WORDS = "yes no go stop wait please never always very so far long really well now then".split()
NOUNS = (
    "the dog|the door|a hat|my hand|the moon|your name|the bell|a ball|the rain|the clock".split(
        "|"
    )
)
VERBS = "ran fell sang slept broke moved turned jumped rang laughed".split()


def chain(draw: random.Random) -> str:
    """Words of one kind of sound, with a little grammar or with none."""
    words = draw.choice(CHAINS).split()
    w = draw.choices(words, k=8)
    return draw.choice(
        (
            f"{w[0]} {w[1]} {w[2]} {w[3]} {w[4]} {w[5]}.",
            f"{w[0]} {w[1]}, {w[2]} {w[3]}, {w[0]} {w[1]}, {w[2]} {w[3]}.",
            f"{w[0]}, {w[1]}, {w[2]}, and {w[3]}.",
            f"{draw.choice(NAMES)}'s {w[0]} {w[1]} {w[2]} the {w[3]} {w[4]}.",
            f"the {w[0]} {w[1]} {w[2]} is {w[3]}.",
            f"{draw.choice(DIGITS)} {w[0]} {w[1]} {w[2]} {draw.choice(DIGITS)} {w[3]} {w[4]}.",
            f"{w[0]} {w[0]} {w[0]} {w[0]}.",
            f"how much {w[0]} would a {w[1]} {w[2]} if a {w[1]} could {w[2]} {w[0]}?",
            f"I {w[0]}, you {w[0]}, they all {w[0]} for {w[1]} {w[2]}.",
        )
    )


def repeats(draw: random.Random) -> str:
    """Words said again and again."""
    word, other = draw.sample(WORDS, 2)
    noun, verb = draw.choice(NOUNS), draw.choice(VERBS)
    first, last = noun.split()
    again = draw.choice((2, 3, 4, 5))
    return draw.choice(
        (
            ", ".join(draw.choice((word, other)) for _ in range(again + 3)) + ".",
            " ".join([word] * again) + "!",
            f"{', '.join([word] * again)} {draw.choice(('good', 'cold', 'late', 'far'))}.",
            f"{first} {first} {last} {last} {verb} {verb}.",
            ", ".join(" ".join([d] * 3) for d in draw.sample(DIGITS, 3)) + ".",
            f"{noun} {verb}, {noun} {verb}, {noun} {verb}.",
        )
    )


def letters(draw: random.Random) -> str:
    """Letters and digits, one by one."""
    start, count = draw.randrange(20), draw.randrange(4, 12)
    mixed = [draw.choice(draw.choice((LETTERS, DIGITS))) for _ in range(count)]
    return draw.choice(
        (
            ", ".join(LETTERS[start : start + count]) + ".",
            ", ".join(mixed) + ".",
            f"the code is {', '.join(mixed[:6])}.",
            " ".join(draw.choices(DIGITS, k=count)) + ".",
            f"{draw.choice(DIGITS)}, {draw.choice(DIGITS)}, {draw.choice(DIGITS)}, over.",
        )
    )


def threes(text: str) -> set[tuple[str, ...]]:
    """All that stands in a text three words in a row."""
    words = re.findall(r"[a-z']+", text.lower())
    return set(zip(words, words[1:], words[2:], strict=False))


def sentences(count: int, seed: int) -> list[tuple[str, str]]:
    """`count` (source, text) pairs: half of them chains, a fifth folklore, the others by rule."""
    draw, out = random.Random(seed), []
    manifest = (CORPUS / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    lines = [json.loads(line) for line in manifest]
    tested = set().union(*(threes(line["text"]) for line in lines if line["source"] == "hard"))
    while len(out) < count:
        kind = draw.choices(("folk", "chain", "repeats", "letters"), (0.2, 0.5, 0.18, 0.12))[0]
        if kind == "folk":
            text = draw.choice(FOLK.split("\n"))
        else:
            text = {"chain": chain, "repeats": repeats, "letters": letters}[kind](draw)
        if not threes(text) & tested:
            out.append((f"twister_{kind}", text[0].upper() + text[1:]))
    return out


def main() -> None:
    """Makes what the command line says, with `make.py`'s own voices."""
    import teacher_voices  # finds the teacher's own scripts
    import texts

    args = teacher_voices.arguments(__doc__, count=900)
    args.mixtures, texts.sentences = MIXTURES, sentences
    teacher_voices.run(args)


if __name__ == "__main__":
    main()
