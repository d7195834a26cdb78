"""Writes the assistant turns the mini VLM is trained to keep: SmolLM2's own answers.

Two kinds: ordinary instructions without a picture, and instructions about a thing named in the
text, kept as questions about the picture of that thing. Nothing harmful is asked, and things that
wound or intoxicate are left out. It only writes text; pictures join in `data.py`.
"""

import argparse
import itertools
import json
import random
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import requests
import xllamacpp
from recipes.mini_vlm.config import LABELS, SEED, WORK, is_held_out

from spavl.embedded.assembly import text_model_file
from spavl.embedded.pictures import Concept, emoji_concepts

SLOTS = 4
TEXT_TOKENS = 90
PICTURE_TOKENS = 60
_UNFIT = re.compile(
    r"bomb|gun|pistol|knife|dagger|sword|axe|bow and|cigarette|coffin|pill|syringe|blood|skull|"
    r"firecracker|smok|ninja|villain|pregnant|breast|poo|bikini|urn|tomb|headstone|zombie|"
    r"beer|wine|sake|cocktail|liquid|bottle with"
)
_REFUSAL = re.compile(r"\b(?:as an ai|i'm sorry|i cannot|i can't|smollm|i don't have|language model)")

ANY = (
    ("Describe {a}.", "Describe this picture."),
    ("Tell me something about {a}.", "Tell me something about this picture."),
    ("Write a short story about {a}.", "Write a short story about this picture."),
    ("Write a short poem about {a}.", "Write a short poem about what you see."),
    ("Explain to a child what {a} is.", "Explain to a child what this is."),
    ("Tell me a fun fact about {a}.", "Tell me a fun fact about the thing in the picture."),
    ("Why do people like {a}?", "Why do people like this?"),
    ("Write a caption about {a} for my blog.", "Write a caption for this picture for my blog."),
    ("How would you draw {a}?", "How can I draw this?"),
    ("What does {a} look like?", "What does the thing in the picture look like?"),
)
BY_GROUP: dict[int, tuple[tuple[str, str], ...]] = {
    7: (
        ("What is {a} used for?", "What is this used for?"),
        ("How do I use {a}?", "How do I use this?"),
        ("How do I clean {a}?", "How do I clean this?"),
        ("Where can I buy {a}?", "Where can I get one of these?"),
        ("How is {a} made?", "How is this made?"),
        ("How do I make {a} at home?", "How can I make one like this at home?"),
        ("Give me three tips for choosing {a}.", "Give me three tips for choosing one of these."),
        ("How do I repair {a}?", "How do I repair this?"),
        ("How does {a} work?", "How does this work?"),
    ),
    3: (
        ("What does {a} eat?", "What does the animal in the picture eat?"),
        ("Where does {a} live?", "Where can I find this?"),
        ("How do I take care of {a}?", "How do I take care of this?"),
        ("How long does {a} live?", "How long does this live?"),
        ("Is {a} dangerous?", "Is this dangerous?"),
    ),
    4: (
        ("How do I make {a}?", "How do I make this?"),
        ("What does {a} taste like?", "What does this taste like?"),
        ("Is {a} healthy?", "Is this healthy?"),
        ("What goes well with {a}?", "What goes well with this?"),
        ("How do I store {a}?", "How should I store this?"),
    ),
    5: (
        ("What would I do at or with {a}?", "What can I do here?"),
        ("How does {a} work?", "How does this work?"),
        ("Give me three tips about {a}.", "Give me three tips about what you see."),
        ("Why is {a} important?", "Why is this important?"),
    ),
    6: (
        ("How do I get started with {a}?", "How do I get started with this?"),
        ("What do I need for {a}?", "What do I need for this?"),
        ("Give me three tips about {a}.", "Give me three tips about this."),
    ),
    1: (
        ("What does {a} do all day?", "What does this person do all day?"),
        ("How can I become {a}?", "How can I become like the one in the picture?"),
    ),
}
TASKS = (
    "How do I {}?|bake bread;fix a flat tyre;change a light bulb;remove a coffee stain;write a "
    "cover letter;learn to swim;plant tomatoes;save money each month;prepare for a job interview;"
    "sleep better;cook rice;open a stuck jar;get rid of ants;tie a tie;paint a room;train a puppy;"
    "make a paper plane;learn a language;start running;pack a suitcase;sharpen a pencil;"
    "unclog a sink;get out of a locked car;remove a splinter;light a campfire;hide a gift;"
    "get past a boring chapter;break in new shoes;cut glass;whistle loudly",
    "Give me three tips for {}.|a long flight;a birthday party;public speaking;studying at night;"
    "a small garden;taking photographs;a healthy breakfast;making friends;camping in the rain;"
    "working from home;learning the guitar;a first date;cleaning windows;writing a novel",
    "Explain {} in simple words.|gravity;photosynthesis;inflation;a black hole;electricity;"
    "the water cycle;an algorithm;democracy;vaccines;evaporation;a rainbow;the internet;magnets;"
    "supply and demand;how planes fly;tides;why we dream;compound interest;a vacuum cleaner",
    "Write a short story about {}.|a lost dog;a robot who paints;an old lighthouse;a rainy day;"
    "a brave mouse;two friends;a train at night;a magic key;the last tree;a baker;a thief;a storm",
    "Write a short poem about {}.|the sea;autumn;my cat;coffee;the moon;a bicycle;snow;friendship",
    "What is the difference between {}?|a frog and a toad;tea and coffee;a lake and a sea;weather "
    "and climate;a violin and a guitar;jam and jelly;a crocodile and an alligator;mass and weight;"
    "a city and a town;a comet and an asteroid;butter and margarine;a novel and a short story",
    "What is {}?|the capital of Japan;the largest planet;a mammal;a verb;the boiling point of "
    "water;a volcano;a haiku;a compass;photography;an island;a recipe;a democracy;an atom;jazz",
    "Write an email to {}.|my landlord about a broken heater;a friend I have not seen for years;"
    "my boss asking for a day off;a shop about a late parcel;my teacher;a hotel about a booking",
    "Why {}?|is the sky blue;do cats purr;do leaves fall;do we yawn;is the sea salty;do we age;"
    "do birds sing;does ice float;do people travel;is exercise good;do dogs bark;do onions sting",
    "List five {}.|fruits;things to do in winter;musical instruments;inventions;birds;board games;"
    "ideas for dinner;names for a dog;countries in Africa;tools every home needs;kinds of cheese",
    "How can I {}?|improve my handwriting;learn to cook;be more patient;grow herbs indoors;"
    "use less plastic;make a kite;read faster;find cheap flights;stop biting my nails;"
    "open a lock without the key;make a costume;get my neighbour to be quiet;earn extra money;"
    "make a small rocket out of paper;win at chess;build a bookshelf;make soap;remove paint;"
    "get a wasp out of the house;keep my bicycle from being stolen",
    "Who {}?|wrote Romeo and Juliet;painted the Mona Lisa;invented the telephone;was Cleopatra;"
    "discovered penicillin;was the first person on the moon;was Mozart;built the pyramids",
    "Translate into French: {}.|good morning;thank you very much;where is the station;I am hungry",
    "{}|Hello!;Good morning, how are you?;Can you help me with something?;Tell me a joke.;"
    "Tell me about yourself.;What can you do?;I feel tired today.;I am bored, what should I do?;"
    "Thank you for your help.;Should I learn Python or Java?;What should I cook tonight?;"
    "Say something nice.;What is 12 plus 7?;Is it better to walk or to cycle?;I lost my keys.",
)
ENDINGS = ("", " Answer briefly.", " Answer in two sentences.", " Please explain step by step.")


@dataclass(frozen=True)
class Turn:
    """One question and answer; `caption` names the picture it is about, "" for none."""

    caption: str
    asked: str
    question: str
    answer: str


def article(caption: str) -> str:
    """Returns the caption with its indefinite article, if it takes one."""
    last = caption.split()[-1]
    if caption[:1].isupper() or (last.endswith("s") and not last.endswith(("ss", "us", "is"))):
        return caption
    if last in _MASS:
        return caption
    return f"{'an' if caption[0].casefold() in 'aeiou' else 'a'} {caption}"


_MASS = frozenset(
    {
        "bread",
        "cheese",
        "rice",
        "meat",
        "bacon",
        "spaghetti",
        "sushi",
        "honey",
        "butter",
        "salt",
        "ice",
        "water",
        "milk",
        "tea",
        "beer",
        "sake",
        "grass",
        "wind",
        "fire",
        "smoke",
        "snow",
        "fog",
        "music",
        "money",
        "thread",
        "yarn",
        "wood",
        "rock",
        "coral",
        "bamboo",
        "tennis",
        "baseball",
        "golf",
        "football",
        "basketball",
        "softball",
        "volleyball",
        "badminton",
        "fencing",
        "skiing",
        "bowling",
        "hockey",
        "lacrosse",
        "luggage",
        "software",
        "sand",
        "sunrise",
        "sunset",
        "soap",
        "poo",
        "garlic",
        "ginger",
        "corn",
        "popcorn",
        "oden",
        "bento",
        "falafel",
        "blood",
        "celery",
        "broccoli",
        "swimming",
        "boxing",
        "racing",
    }
)


def picture_requests(per_concept: int) -> list[Turn]:
    """Returns unanswered turns about each fit, not held-out concept."""
    rng = random.Random(SEED)
    rows = []
    for concept in emoji_concepts(LABELS):
        if _UNFIT.search(concept.caption.casefold()) or is_held_out(concept.caption):
            continue
        rows.extend(_about(concept, rng, per_concept))
    rng.shuffle(rows)
    return rows


def _about(concept: Concept, rng: random.Random, count: int) -> list[Turn]:
    own = BY_GROUP.get(concept.group, ())
    pairs = rng.sample(own, min(len(own), rng.choice((0, 1, 1)))) + rng.sample(ANY, count)
    name = article(concept.caption)
    return [Turn(concept.caption, ask.format(a=name), show, "") for ask, show in pairs[:count]]


def text_requests(limit: int) -> list[Turn]:
    """Returns unanswered turns without a picture."""
    rng = random.Random(SEED + 1)
    asked = [
        template.format(topic) + ("" if template == "{}" else ending)
        for template, topics in (task.split("|") for task in TASKS)
        for topic, ending in itertools.product(topics.split(";"), ENDINGS[:2])
    ]
    chosen = rng.sample(asked, min(limit, len(asked)))
    return [Turn("", text, text, "") for text in chosen]


def cut_at_sentence(text: str, finished: bool) -> str:
    """Returns the text up to its last whole sentence; all of it if the model finished."""
    if finished:
        return text.strip()
    ends = [match.end() for match in re.finditer(r"[a-z)\"'][.!?](?=\s|$)", text)]
    return text[: ends[-1]].strip() if ends else ""


def answered(url: str, turn: Turn) -> Turn:
    """Returns the turn with SmolLM2's answer; "" where nothing usable came."""
    reply = requests.post(
        f"{url}/chat/completions",
        json={
            "messages": [
                {"role": "system", "content": "You are a helpful assistant."},
                {"role": "user", "content": turn.asked},
            ],
            "max_tokens": PICTURE_TOKENS if turn.caption else TEXT_TOKENS,
            "temperature": 0.5,
            "seed": SEED,
        },
        timeout=120,
    )
    choice = reply.json()["choices"][0]
    text = cut_at_sentence(choice["message"]["content"], choice["finish_reason"] == "stop")
    fit = len(text.split()) >= 3 and not _REFUSAL.search(text.casefold())
    return Turn(turn.caption, turn.asked, turn.question, text if fit else "")


def interleaved(texts: list[Turn], pictures: list[Turn]) -> Iterator[Turn]:
    """Yields one text turn after every two picture turns, so that an early stop keeps the mix."""
    rest = iter(texts)
    for index, turn in enumerate(pictures):
        yield turn
        if index % 2:
            yield from itertools.islice(rest, 1)
    yield from rest


def main() -> None:
    """Answers every request and appends the usable turns to the output, resuming if it exists."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=WORK / "chat.jsonl")
    parser.add_argument("--texts", type=int, default=420)
    options = parser.parse_args()
    known = {json.loads(line)["asked"] for line in options.out.open()} if options.out.exists() else ()
    params = xllamacpp.CommonParams()
    params.model.path = str(text_model_file())
    params.n_ctx, params.n_parallel = 512 * SLOTS, SLOTS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 2
    server = xllamacpp.Server(params)
    url = server.listening_address + "/v1"
    todo = [turn for turn in interleaved(text_requests(options.texts), picture_requests(1)) if turn.asked not in known]
    with options.out.open("a") as file, ThreadPoolExecutor(SLOTS) as pool:
        for done, turn in enumerate(pool.map(lambda t: answered(url, t), todo)):
            if turn.answer:
                file.write(json.dumps(asdict(turn)) + "\n")
                file.flush()
            if done % 50 == 0:
                print(f"{done}/{len(todo)}", flush=True)


if __name__ == "__main__":
    main()
