#!/usr/bin/env python3
"""Writes prompts of one kind: commands for the devices of a house, to be turned into JSON, after four examples.

usage: scripts/commands.py train|known|test N SEED > FILE

Sentences are made of templates and lists of words, all written for this project. "train" and "known" have the same
templates and words, but no sentence in common. "test" has templates that the others do not have. A line is
{"prompt": ..., "reference": ...}; the reference is the right form. The same arguments give the same lines.
"""
import hashlib
import json
import random
import sys

ROOMS = ("kitchen bedroom bathroom hall office garage garden cellar library laundry studio gym chapel "
         "cabin shop school clinic museum church lobby").split()
DEVICES = ("lamp tablet radio oven printer speaker camera fridge toaster vacuum computer projector alarm "
           "mixer pump fountain clock piano router display").split()

EXAMPLES = [
    ("Switch on the dryer in the loft.", "dryer", "loft", "on"),
    ("The stove in the shed should be at 7.", "stove", "shed", "7"),
    ("In the pantry, turn the freezer off, please.", "freezer", "pantry", "off"),
    ("Set the boiler in the attic to 50.", "boiler", "attic", "50"),
]

# For each value, templates of training and, after them, of the test.
TEMPLATES = {
    "on": ([
        "Turn on the {device} in the {room}.",
        "Please switch the {device} in the {room} on.",
        "Start the {device} in the {room}, please.",
        "In the {room}, turn the {device} on.",
        "Could you switch on the {device} in the {room}?",
        "I need the {device} in the {room} now, turn it on.",
        "The {device} in the {room} should be on.",
        "The {device} in the {room} must be on.",
    ], [
        "I am in the {room}, please turn on the {device}.",
        "Would you turn the {device} in the {room} on?",
        "Switch on the {device} that is in the {room}.",
    ]),
    "off": ([
        "Turn off the {device} in the {room}.",
        "Please switch the {device} in the {room} off.",
        "Nobody needs the {device} in the {room}, switch it off.",
        "In the {room}, turn the {device} off.",
        "Switch the {device} in the {room} off at once.",
        "Nobody is in the {room}, turn the {device} off.",
        "The {device} in the {room} should be off.",
        "The {device} in the {room} must be off.",
    ], [
        "I am leaving the {room}, please turn off the {device}.",
        "Would you turn the {device} in the {room} off?",
        "Switch off the {device} that is in the {room}.",
    ]),
    "number": ([
        "Set the {device} in the {room} to {number}.",
        "Please set the {device} in the {room} to {number}.",
        "In the {room}, set the {device} to {number}.",
        "Change the {device} in the {room} to {number}.",
        "Could you set the {device} in the {room} to {number}?",
        "The {device} in the {room} should be at {number}.",
        "The {device} in the {room} should be set to {number}.",
        "The {device} in the {room} must be set to {number}.",
    ], [
        "I am in the {room}, please set the {device} to {number}.",
        "Would you set the {device} in the {room} to {number}?",
        "Put the {device} that is in the {room} at {number}.",
    ]),
}


def form(device, room, value):
    return json.dumps({"device": device, "room": room, "set_to": value})


START = "".join(f"{text}\n{form(device, room, value)}\n\n" for text, device, room, value in EXAMPLES)


# So many sentences can be drawn of each part without drawing in vain for long.
MOST = 5000


def line(rng, test):
    kind = rng.choice(sorted(TEMPLATES))
    device, room, number = rng.choice(DEVICES), rng.choice(ROOMS), str(rng.randint(1, 40))
    text = rng.choice(TEMPLATES[kind][test]).format(device=device, room=room, number=number)
    return {"prompt": f"{START}{text}\n", "reference": form(device, room, number if kind == "number" else kind)}


def belongs(prompt, part):
    """One of ten sentences with the templates of the training is for "known"."""
    return part == "test" or (hashlib.sha256(prompt.encode()).digest()[0] % 10 == 0) == (part == "known")


def main():
    if len(sys.argv) != 4 or sys.argv[1] not in ("train", "known", "test"):
        sys.exit(__doc__)
    part = sys.argv[1]
    rng = random.Random(f"{part} {sys.argv[3]}")
    seen = set()
    if int(sys.argv[2]) > MOST:
        sys.exit(f"commands.py: {sys.argv[2]} prompts; expected at most {MOST}")
    while len(seen) < int(sys.argv[2]):
        item = line(rng, part == "test")
        if item["prompt"] not in seen and belongs(item["prompt"], part):
            seen.add(item["prompt"])
            print(json.dumps(item))


if __name__ == "__main__":
    main()
