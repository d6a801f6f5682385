#!/usr/bin/env python3
"""Writes prompts of one kind: a form to be filled in from a sentence, as JSON, with two examples.

usage: scripts/forms.py train|known|test N SEED > FILE

Sentences are made of templates and lists of words, all written for this project. "train" and "known" have the same
templates and words, but no sentence in common. "test" has templates, names, cities, jobs and items that the others do
not have. A line is {"prompt": ..., "reference": ...}; the reference is the right form. The same arguments give the same
lines.
"""
import hashlib
import json
import random
import sys

FIRST = ("Maria Omar Ines Tom Wei Aisha Luca Greta Kofi Nina Paulo Hana Erik Yusuf Clara Ivan Mei Rosa Sam Leila Anton Zoe "
         "Marek Tara Felix Irma Jonas Dalia Hugo Selma Viktor Nadia Pedro Olga Simon Lena Bruno Amira Oscar Paula "
         "Ravi Judith Emil Farah Gustav Helena Karim Lydia Alice Bernard Cecilia Dmitri Esther Fabio Gloria Hamid Isabel Jakob "
         "Katrin Leo Miriam Nils Ottilie Pavel Quentin Renata Stefan Teresa Ulrich Vera Walter Xenia Yara Zita Adam Beatrix "
         "Conrad Diana Edgar Flora George Henrike Igor Joana Kamal Linda Mateo Nora").split()
LAST = ("Lopez Haddad Berg Okafor Chen Rossi Novak Silva Tanaka Meyer Costa Dahl Kaya Petrov Ali Brown Lang Moreau Kim "
        "Nasser Olsen Varga Ruiz Popov Weber Sato Khan Fischer Marino Holm Castro Jansen Nagy Pereira Schmidt Torres "
        "Wagner Yilmaz Bauer Diaz Adler Blanc Clarke Dumont Evans Ferrari Garcia Hansen Ivanov Jovanovic Kowalski Larsen "
        "Martin Novotny Ortega Papadakis Quinn Richter Santos Thomas Ulmer Vogel Walsh Yamada Zimmermann Andersson Becker "
        "Carter Duarte Eriksen Foster Gonzalez Hughes Ito Jones Keller Lindqvist Molina Nilsson Oliveira").split()
CITY = ("Lisbon Oslo Cairo Lyon Prague Quito Delhi Turin Accra Kyoto Bergen Porto Lima Ghent Riga Split Tunis Basel Leeds "
        "Hanoi Graz Nantes Cork Izmir Seville Dublin Warsaw Naples Malmo Zagreb Bristol Toledo Geneva Havana Nairobi "
        "Bruges Vienna Madrid Athens Rome Berlin Paris London Moscow Tokyo Boston Chicago Denver Toronto Sydney Lagos Dakar "
        "Ankara Beirut Mumbai Seoul Manila Jakarta Bogota Santiago Montreal Hamburg Munich Cologne Venice Florence Milan "
        "Marseille Bordeaux Lille Utrecht Rotterdam Antwerp Zurich Salzburg Budapest Bucharest Sofia Belgrade Tallinn "
        "Helsinki Stockholm Gothenburg Copenhagen Edinburgh Belfast Cardiff York Oxford Cambridge Granada "
        "Bilbao Gdansk Trieste Rouen Aarhus Leipzig Tampere Valencia Glasgow Brno").split()
JOB = ("nurse baker pilot teacher welder painter lawyer cook driver writer farmer singer dentist gardener plumber tailor "
       "librarian carpenter journalist doctor").split()
ITEM = ("lamps chairs books towels bottles shirts plates pens tents candles blankets radios baskets mirrors boxes "
        "umbrellas bicycles cushions clocks mugs").split()
DAY = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()

TASK = "Read the last text and answer with one JSON object, as in the examples."

# Of each form: its keys, its two examples, and templates for training and, after them, for the test.
FORMS = {
    "order": (("name", "number"), [
        ("Anna Koch needs 12 apples.", ("Anna Koch", "12")),
        ("The 40 spoons are for Peter Wolf.", ("Peter Wolf", "40")),
    ], [
        "{name} ordered {number} {item} for the shop in {city}.",
        "We sent {number} {item} to {name} on {day}.",
        "On {day}, {name} bought {number} {item} and paid in cash.",
        "{number} {item} were delivered to {name} in {city}.",
        "{name} from {city} asked us for {number} {item} by {day}.",
        "Please reserve {number} {item} for {name}.",
        "{name} returned {number} {item} last {day}.",
        "The order of {name} is ready: {number} {item}.",
    ], [
        "Could you pack {number} {item}? {name} will pick them up on {day}.",
        "There were {number} {item} in the parcel that {name} opened on {day}.",
        "{name} called from {city} and wants {number} {item}.",
    ]),
    "person": (("name", "city"), [
        ("Anna Koch is a nurse in Bonn.", ("Anna Koch", "Bonn")),
        ("In 1984, Peter Wolf came to Turku as a miner.", ("Peter Wolf", "Turku")),
    ], [
        "{name} moved to {city} in {year} to work as a {job}.",
        "{name}, a {job} from {city}, retired in {year}.",
        "The {job} {name} has lived in {city} since {year}.",
        "Born in {city} in {year}, {name} became a {job}.",
        "After {year}, {name} worked as a {job} in {city}.",
        "{name} is a {job} and lives in {city} with two children.",
        "In {city}, everyone knows {name}, the {job}.",
        "For many years {name} was the only {job} in {city}.",
    ], [
        "{name} has been a {job} in {city} for most of a long life.",
        "When {name} came to {city} in {year}, the town was looking for a {job}, and so the work was found quickly.",
        "The letter is from {name}, who works as a {job} in {city}.",
    ]),
    "trip": (("name", "from", "to"), [
        ("Anna Koch flew from Bonn to Pisa.", ("Anna Koch", "Bonn", "Pisa")),
        ("On the way from Turku to Nice, Peter Wolf slept.", ("Peter Wolf", "Turku", "Nice")),
    ], [
        "{name} took the train from {from} to {to} on {day}.",
        "{name} drove from {from} to {to} in {number} hours.",
        "The flight of {name} from {from} to {to} was late.",
        "{name} travels from {from} to {to} every {day}.",
        "From {from}, {name} walked all the way to {to}.",
        "{name} left {from} on {day} and arrived in {to} at {hour}.",
        "{name} sent the parcel from {from} to {to}.",
        "On {day}, {name} goes from {from} to {to} by bus.",
    ], [
        "{name} had breakfast in {from} and dinner in {to}.",
        "It is far from {from} to {to}, but {name} rides it on a bicycle.",
        "{name} booked a seat from {from} to {to} for {day}.",
    ]),
}


def choice(rng, words, test):
    """Chooses a word: the first third of each list is for training, the rest for the test."""
    third = len(words) // 3
    return rng.choice(words[third:] if test else words[:third])


def filled(keys, values):
    return json.dumps(dict(zip(keys, values)))


def line(rng, test):
    keys, examples, train_templates, test_templates = FORMS[rng.choice(sorted(FORMS))]
    start = end = choice(rng, CITY, test)
    while end == start:
        end = choice(rng, CITY, test)
    values = {
        "name": choice(rng, FIRST, test) + " " + choice(rng, LAST, test),
        "city": start, "from": start, "to": end,
        "job": choice(rng, JOB, test), "item": choice(rng, ITEM, test),
        "day": rng.choice(DAY), "year": str(rng.randint(1950, 2019)), "number": str(rng.randint(2, 400)),
        "hour": f"{rng.randint(1, 12)} o'clock",
    }
    text = rng.choice(test_templates if test else train_templates).format(**values)
    text = text[0].upper() + text[1:]
    shown = "".join(f"Text: {text}\nJSON: {filled(keys, form)}\n\n" for text, form in examples)
    reference = filled(keys, [values[key] for key in keys])
    return {"prompt": f"{TASK}\n\n{shown}Text: {text}\nJSON:", "reference": reference}


def belongs(prompt, part):
    """One of ten sentences with the words of the training is for "known"."""
    return part == "test" or (hashlib.sha256(prompt.encode()).digest()[0] % 10 == 0) == (part == "known")


def main():
    if len(sys.argv) != 4 or sys.argv[1] not in ("train", "known", "test"):
        sys.exit(__doc__)
    part = sys.argv[1]
    rng = random.Random(f"{part} {sys.argv[3]}")
    seen = set()
    while len(seen) < int(sys.argv[2]):
        item = line(rng, part == "test")
        if item["prompt"] not in seen and belongs(item["prompt"], part):
            seen.add(item["prompt"])
            print(json.dumps(item))


if __name__ == "__main__":
    main()
