"""Pairs of texts that belong together, and texts that don't, drawn from a seed out of our own lists.

`python corpus.py` shows some of each kind.
"""

import random
import re
from dataclasses import dataclass, field
from pathlib import Path

from words import FUNCTION, forms

HERE = Path(__file__).parent
SETTINGS = {"nouns": 0, "verbs": 1, "others": 2}


def lines_of(name):
    for line in (HERE / name).read_text().splitlines():
        if not line.startswith("#"):
            yield line.strip()


def read_synonyms():
    """[(kind, [terms])]."""
    kind, sets = "nouns", []
    for line in lines_of("synonyms.txt"):
        if line.startswith("["):
            kind = line.strip("[]")
        elif line:
            sets.append((kind, [term.strip() for term in line.split(",")]))
    return sets


def read_topics():
    """[[words]], the first ones those of the subject's name."""
    topics = []
    for line in lines_of("topics.txt"):
        if line:
            name, words = line.split(":")
            topics.append(list(dict.fromkeys([word for word in name.split() if word not in FUNCTION] + words.split())))
    return topics


def read_passages():
    """[(questions, answers)]."""
    groups, group = [], ([], [])
    for line in [*lines_of("passages.txt"), ""]:
        if line.startswith("?"):
            group[0].append(line[1:].strip())
        elif line:
            group[1].append(line)
        elif group[1]:
            groups.append(group)
            group = ([], [])
    return groups


SYNONYMS = read_synonyms()
TOPICS = read_topics()
PASSAGES = read_passages()

#: Sets that a term stands in, by term.
SETS_OF = {}
for index, (_, terms) in enumerate(SYNONYMS):
    for term in terms:
        SETS_OF.setdefault(term, []).append(index)
#: Sets by any form of a single word, for the texts of the passages.
SETS_OF_FORM = {}
for index, (kind, terms) in enumerate(SYNONYMS):
    for term in terms:
        if " " not in term:
            for form in forms(term, kind):
                SETS_OF_FORM.setdefault(form, set()).add(index)
#: Subjects of each set: those that one of its terms is a word of.
TOPICS_OF = {index: [] for index in range(len(SYNONYMS))}
for number, words in enumerate(TOPICS):
    for word in words:
        for index in SETS_OF.get(word, []):
            TOPICS_OF[index].append(number)

BY_KIND = {kind: [i for i, (of, _) in enumerate(SYNONYMS) if of == kind] for kind in SETTINGS}
#: All single words that carry a subject.
CONTENT = sorted({word for words in TOPICS for word in words} | {term for _, terms in SYNONYMS for term in terms if " " not in term})


@dataclass
class Meaning:
    """What a text says: things (sets of nouns or words of a subject), what is done, what it is like."""

    things: list
    act: int | None = None
    quality: int | None = None
    topic: list = field(default_factory=list)


#: By what they need: T and U are things, V an act in its plain form, P in any form, A a quality.
TEMPLATES = {
    "T": ["{T}", "the {T}", "a {T}", "about {T}", "what is a {T}?", "tell me about {T}", "information on {T}", "{T} explained", "which {T}",
          "everything about the {T}", "we talk about {T}", "it is about a {T}", "this is a {T}.", "there is a {T}", "i see a {T}",
          "where is the {T}?", "who has a {T}?", "is that a {T}?", "my {T}", "do you have a {T}?"],
    "TV": ["how do i {V} the {T}?", "how to {V} a {T}", "{V} {T}", "can i {V} the {T}?", "i want to {V} my {T}", "he {P} the {T}.",
           "she {P} a {T}", "they {P} the {T} yesterday", "we need to {V} our {T}", "the {T} was {P}", "please {V} the {T}",
           "what is the best way to {V} a {T}?", "{P} the {T}", "tips to {V} {T}", "is it possible to {V} the {T}?", "somebody {P} the {T}",
           "you should {V} your {T}", "where can i {V} a {T}?", "when did they {V} the {T}?", "to {V} a {T}, do as follows",
           "a guide that shows how one can {V} the {T}", "steps to {V} {T}", "why do people {V} {T}?"],
    "TA": ["the {T} is {A}", "a {A} {T}", "{A} {T}", "i have a {A} {T}", "why is my {T} so {A}?", "it was a very {A} {T}.", "is the {T} {A}?",
           "the {T} looks {A}", "we saw a {A} {T}", "what makes a {T} {A}?", "that {T} seems {A} to me", "the {A} {T} was there"],
    "TU": ["{T} and {U}", "{T} {U}", "the {T} of the {U}", "a {T} with a {U}", "the {U} has a {T}", "{T} for the {U}", "is there a {T} in the {U}?",
           "my {U} and my {T}", "between {T} and {U}", "the {T} near the {U}", "i need a {T} for my {U}", "what has the {T} to do with the {U}?"],
    "TUV": ["how do i {V} the {T} in the {U}?", "{V} {T} {U}", "the {T} {P} the {U}", "he {P} the {T} with the {U}.", "can i {V} a {T} for my {U}?",
            "they {P} a {T} at the {U}", "in the {U} the {T} is {P}", "{P} {T} and {U}", "someone {P} the {T} near the {U}",
            "we want to {V} the {T} and the {U}", "use the {U} to {V} the {T}", "with a {U} you can {V} a {T}"],
    "TUA": ["the {T} of the {U} is {A}", "{A} {T} {U}", "a {A} {T} with a {U}", "the {U} has a {A} {T}", "is the {T} in the {U} {A}?",
            "i like the {A} {T} and the {U}", "the {A} {T} near the {U}"],
}
OPENINGS = ["", "", "", "", "", "hello, ", "please help: ", "i wonder ", "yesterday ", "actually ", "well, ", "as far as i know ", "today ", "in general ",
            "for beginners: ", "note that ", "in my opinion "]


class Corpus:
    """Draws texts; the same seed draws the same ones."""

    def __init__(self, seed):
        self.draw = random.Random(seed)

    def meaning(self):
        """Of one subject in most cases, else of any words."""
        draw = self.draw
        things = draw.choices([1, 2], [1, 1.4])[0]
        if draw.random() < 0.75:
            topic = draw.choice(TOPICS)
            chosen = draw.sample(topic, min(len(topic), things))
        else:
            topic = []
            chosen = [draw.choice(SYNONYMS[draw.choice(BY_KIND["nouns"])][1]) for _ in range(things)]
        act = draw.choice(BY_KIND["verbs"]) if draw.random() < 0.55 else None
        quality = draw.choice(BY_KIND["others"]) if act is None and draw.random() < 0.5 else None
        return Meaning([self.thing(word) for word in chosen], act, quality, topic)

    def thing(self, word):
        """A set that the word stands in, or the word itself where it has none."""
        sets = SETS_OF.get(word)
        return self.draw.choice(sets) if sets else word

    def word(self, thing, plain=False):
        """A word for a set, bent in some way."""
        if isinstance(thing, str):
            return thing if plain or self.draw.random() < 0.7 else self.draw.choice(forms(thing, "nouns"))
        kind, terms = SYNONYMS[thing]
        term = terms[0] if self.draw.random() < 0.25 else self.draw.choice(terms)
        return term if plain else self.draw.choice([term, *forms(term, kind)])

    def say(self, meaning):
        """A text of that meaning."""
        draw = self.draw
        shape = "T" + ("U" if len(meaning.things) > 1 else "")
        shape += "V" if meaning.act is not None else "A" if meaning.quality is not None else ""
        things = list(meaning.things)
        if draw.random() < 0.3:
            things.reverse()
        text = draw.choice(TEMPLATES[shape])
        text = text.replace("{T}", self.word(things[0])).replace("{U}", self.word(things[-1]))
        if meaning.act is not None:
            text = text.replace("{V}", self.word(meaning.act, plain=True)).replace("{P}", self.word(meaning.act))
        if meaning.quality is not None:
            text = text.replace("{A}", self.word(meaning.quality))
        return draw.choice(OPENINGS) + text

    def tell(self, meaning):
        """A longer text of that meaning, with more words of its subject."""
        draw = self.draw
        text = self.say(meaning)
        if meaning.topic:
            more = draw.sample(meaning.topic, min(len(meaning.topic), draw.randint(1, 5)))
            joined = draw.choice([" ", ", ", " and ", " with the ", " of the "]).join(self.word(self.thing(w)) for w in more)
            text = draw.choice([f"{text} {joined}", f"{joined}. {text}", f"{text}; {draw.choice(FUNCTION)} {joined}"])
        return text

    def near(self, meaning):
        """Another meaning that shares words with this one: a hard negative."""
        draw = self.draw
        other = self.meaning()
        things = list(other.things)
        things[draw.randrange(len(things))] = draw.choice(meaning.things)
        keep_act = meaning.act is not None and draw.random() < 0.4
        changed = Meaning(things, meaning.act if keep_act else other.act, None if keep_act else other.quality, other.topic)
        if len(things) == 1:
            changed.things = [other.things[0], *changed.things][:2] if other.things[0] != things[0] else [*things, self.meaning().things[0]]
        return changed

    def reword(self, text, share=0.2):
        """A text with some words replaced by others of their sets, some small words left out, a slip of the keyboard now and then."""
        draw = self.draw
        made = []
        for piece in re.findall(r"[A-Za-z']+|[^A-Za-z']+", text):
            low = piece.lower()
            if low in FUNCTION:
                if draw.random() > 0.12:
                    made.append(piece)
                continue
            if draw.random() < share and low in SETS_OF_FORM:
                piece = self.word(draw.choice(sorted(SETS_OF_FORM[low])))
            elif len(piece) > 4 and piece.isalpha() and draw.random() < 0.02:
                piece = self.slip(piece)
            made.append(piece)
        return re.sub(r" +", " ", "".join(made)).strip()

    def slip(self, word):
        at = self.draw.randrange(1, len(word) - 1)
        return self.draw.choice([word[:at] + word[at + 1] + word[at] + word[at + 2 :], word[:at] + word[at + 1 :], word[:at] + word[at] + word[at:]])

    def rare(self):
        """A name or a number that nobody has seen before."""
        draw = self.draw
        if draw.random() < 0.25:
            return draw.choice([str(draw.randint(0, 9)), str(draw.randint(10, 999)), str(draw.randint(1000, 99999))])
        parts = "an ber cor dal el fin gra har in jo kel lor mar nor ol per qui ran sto ter ul vis wan xe ya zor son ton ville berg ski ium ex on".split()
        return "".join(draw.choices(parts, k=draw.randint(2, 3)))

    # Kinds of pairs; each answers (text, what belongs to it, [what doesn't]).

    def made_pair(self):
        meaning = self.meaning()
        second = self.tell(meaning) if self.draw.random() < 0.4 else self.say(meaning)
        return self.say(meaning), second, [self.tell(self.near(meaning)) if self.draw.random() < 0.4 else self.say(self.near(meaning))]

    def synonym_pair(self):
        kind, terms = self.draw.choice(SYNONYMS)
        first, second = self.draw.sample(terms, 2) if len(terms) > 1 else terms * 2
        other = self.draw.choice(self.draw.choice(SYNONYMS)[1])
        return self.draw.choice([first, *forms(first, kind)]), self.draw.choice([second, *forms(second, kind)]), [other]

    def passage_pair(self, number):
        questions, answers = PASSAGES[number]
        draw = self.draw
        texts = questions + answers
        question = draw.choice(questions)
        if draw.random() < 0.3 and len(questions) > 1:
            second = draw.choice([text for text in texts if text != question])
        else:
            second = draw.choice(answers)
        other = PASSAGES[draw.randrange(len(PASSAGES))]
        negative = draw.choice(other[1]) if other is not PASSAGES[number] else self.say(self.meaning())
        return self.reword(question), self.reword(second), [self.reword(negative)]

    def topic_pair(self, number):
        words = list(TOPICS[number])
        self.draw.shuffle(words)
        cut = self.draw.randint(1, 5)
        return self.listing(words[:cut]), self.listing(words[cut : cut + self.draw.randint(2, 7)]), []

    def listing(self, words):
        """A text that has these words, and small ones between."""
        made = []
        for word in words:
            made += self.draw.choices(FUNCTION, k=self.draw.choice([0, 0, 1, 1, 2]))
            made.append(self.draw.choice(forms(word, "nouns")) if self.draw.random() < 0.4 else word)
        return " ".join(made)

    def word_pair(self):
        """Any words in common, rare ones among them: what no list knows has to count too."""
        draw = self.draw
        words = [self.rare() if draw.random() < 0.3 else draw.choice(CONTENT) for _ in range(draw.randint(2, 6))]
        kept = draw.sample(words, max(1, len(words) - draw.randint(0, 2)))
        more = [self.rare() if draw.random() < 0.3 else draw.choice(CONTENT) for _ in range(draw.randint(0, 3))]
        second = kept + more
        draw.shuffle(second)
        shared = draw.sample(words, 1) + [draw.choice(CONTENT) for _ in range(draw.randint(1, 5))]
        return self.listing(words), self.listing(second), [self.listing(shared)]

    def batch(self, size):
        """`size` pairs of one kind, no two of one group or subject. [(text, its match, [hard negatives])]."""
        draw = self.draw
        kind = draw.choices(["made", "passage", "topic", "word", "synonym"], [4, 3, 1.5, 1.5, 1])[0]
        if kind == "passage":
            rows = [self.passage_pair(number) for number in draw.sample(range(len(PASSAGES)), min(size * 2 // 3, len(PASSAGES)))]
            return rows + [self.made_pair() for _ in range(size - len(rows))]
        if kind == "topic":
            rows = [self.topic_pair(number) for number in draw.sample(range(len(TOPICS)), min(size, len(TOPICS)))]
            return rows
        one = {"made": self.made_pair, "word": self.word_pair, "synonym": self.synonym_pair}[kind]
        return [one() for _ in range(size)]


if __name__ == "__main__":
    corpus = Corpus(1)
    for _ in range(12):
        for row in corpus.batch(3):
            print(" | ".join([row[0], row[1], *row[2]]))
