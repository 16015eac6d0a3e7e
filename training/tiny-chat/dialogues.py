"""Whole dialogues: exchanges in a row, follow-ups, long inputs and system prompts."""

import json
import random

import facts
import stories
import topics
from grammar import Exchange, cap, expand
from skills import SKILLS, capital, joke, noise, story, unknown_subject, unknown_task

Message = dict[str, str]

PLAIN_SYSTEMS = """You are a helpful assistant.|You are a helpful[, friendly|, polite|] assistant[.| that answers questions.| named {name}.]|You are a chatbot.|
You are an AI [assistant|model].|You are a [friendly|kind|helpful|small] [assistant|helper|chatbot|bot].|Be [kind|helpful|polite|friendly|honest].|You are [loqui|tiny-chat][|, a small model].|
Answer the [user|user's questions|questions].|Help the user.|You are a helpful assistant for {s}.|You are an expert on {s}.|
You are {name}, the assistant of a [shop|school|hotel|bank|library]. [Help the customers.|Be polite.|Answer all questions about {s}.]|
You are a large language model. Answer [carefully|truthfully|in English]. [Do not make things up.|If you don't know, say so.|]|
The user is called {name}. [Be polite.|Help them.|]|Today is {day}. You are a helpful assistant.|You are a teacher. Explain things simply.|
You are a customer service agent. Never talk about {s}. Always stay polite, and ask for the order number if there is one.""".replace("\n", "")

BRIEF_SYSTEMS = """Answer briefly.|Be brief.|Keep it short.|Answer in one word.|[You are a helpful assistant.|You are an assistant.] [Answer briefly.|Be brief.|Be concise.|Keep your answers short.|Answer in as few words as possible.]|
Give short answers.|Be concise.|Short answers only.|Use as few words as you can.""".replace("\n", "")

PIRATE_SYSTEMS = """You are a pirate.|Talk like a pirate.|[You are|Act as|Speak like] a pirate[.| captain.| from the Caribbean.]|
You are a [friendly|helpful] pirate. [Answer like one.|]|Answer [like|as] a pirate.""".replace("\n", "")

JSON_SYSTEMS = "Answer in JSON.|Reply with JSON only.|Respond in JSON.|You are a helpful assistant. Answer in JSON.|Output JSON."


def pirate(rng: random.Random, answer: str) -> str:
    """Says `answer` as a pirate would."""
    return expand(rng, "[Arr!|Ahoy!|Aye, matey!|Yo ho ho!] {answer}[|| Arr!| Aye!]", answer=answer)


def spoken(rng: random.Random, text: str) -> str:
    """Varies spelling as people do: case, final marks, a polite or impatient frame."""
    roll = rng.random()
    if roll < 0.16:
        text = text.lower()
    elif roll < 0.18:
        text = text.upper()
    if rng.random() < 0.12:
        text = text.rstrip("?.!")
    if rng.random() < 0.05 and text.isascii():
        text = rng.choice(["please ", "hey, ", "Hi! ", "Hello, ", "ok, ", "And ", "So, ", "Now, "]) + text[:1].lower() + text[1:]
    if rng.random() < 0.03:
        text = text.rstrip(".") + rng.choice([" please", " Thanks!", " Please answer.", "??", " !"])
    if rng.random() < 0.03 and len(text) > 12:
        at = rng.randrange(len(text) - 1)
        text = text[:at] + rng.choice(["", text[at] * 2, text[at + 1] + text[at]]) + text[at + (2 if rng.random() < 0.5 else 1) :]
    return text or "..."


def draw(rng: random.Random) -> Exchange:
    """One exchange by the skills' weights."""
    return rng.choices(list(SKILLS), list(SKILLS.values()))[0](rng)


def long_text(rng: random.Random, characters: int) -> str:
    """Prose, code or noise of about this length: what people paste."""
    kind = rng.randrange(5)
    pieces: list[str] = []
    while sum(map(len, pieces)) < characters:
        if kind == 0:
            pieces.append(stories.story(rng) + "\n")
        elif kind == 1:
            pieces.append(rng.choice(topics.CODE) + "\n")
        elif kind == 2:
            pieces.append(" ".join(rng.choice(topics.SUBJECTS + facts.NAMES + facts.KINDS["tools"]) for _ in range(12)) + ". ")
        elif kind == 3:
            pieces.append(f"{cap(rng.choice(list(facts.DEFINITIONS)))} is {rng.choice(list(facts.DEFINITIONS.values()))}. ")
        else:
            pieces.append(noise(rng).user + " ")
    return "".join(pieces).strip()


def pasted(rng: random.Random) -> Exchange:
    """A long text with a task before or behind it; the task is too hard, or simple and to be answered."""
    text = long_text(rng, int(100 * 2 ** rng.uniform(0, 5.5)))
    if rng.random() < 0.3:
        inner = draw(rng)
        return Exchange(f"{text}\n\n{inner.user}", inner.full, inner.brief)
    task = expand(rng, "Summarize this[ text|].|Please summarise:|Translate this.|What is this about?|Correct this text:|Read this:|What do you think of this?|Explain this:|TL;DR|Continue this.|")
    user = f"{task}\n\n{text}" if rng.random() < 0.5 else f"{text}\n\n{task}"
    full = expand(rng, "[That is|This is] a long text, and I am a very small model. I can't [read|work with] texts like that[, sorry|].|I am sorry, that is too [long|much] for me. I am a very small model.")
    return Exchange(user.strip(), full, "That is too long for me.")


def follow_up(rng: random.Random) -> list[Exchange]:
    """Two or three exchanges where the later ones lean on the first."""
    kind = rng.randrange(6)
    if kind == 0:
        pairs = rng.sample(list(facts.CAPITALS.items()), 3)
        first = Exchange(f"What is the capital of {pairs[0][0]}?", f"The capital of {pairs[0][0]} is {pairs[0][1]}.", f"{pairs[0][1]}.")
        rest = [Exchange(expand(rng, "And [of |]{c}?|What about {c}?|And the capital of {c}?", c=c), f"The capital of {c} is {city}.", f"{city}.") for c, city in pairs[1:]]
        return [first, *rest]
    if kind == 1:
        name = rng.choice(facts.NAMES)
        hello = Exchange(expand(rng, "[Hi, |Hello, |][I am|My name is|I'm] {n}[.|!|]", n=name), expand(rng, "[Hello|Hi], {n}! [Nice to meet you.|How can I help you?]", n=name), f"Hello, {name}!")
        ask = Exchange(expand(rng, "What is my name?|Who am I?|Do you [know|remember] my name?|What's my name?|what was my name again?"), f"Your name is {name}.", f"{name}.")
        return [hello, *(draw(rng) for _ in range(rng.randrange(3))), ask]
    if kind == 2:
        first = rng.choice([draw, capital])(rng)
        again = expand(rng, "[Say that again|Repeat that|Can you repeat that|Please say that again|What did you say|Once more|Again, please][|?|.]")
        return [first, Exchange(again, first.full, first.brief)]
    if kind == 3:
        maker, ask = rng.choice([(joke, "Another one[, please|].|One more[|!]|[Tell me another|Another joke, please][.|]|more"), (story, "Another one[, please|].|One more story[|.]|Tell me another story.")])
        first, second = maker(rng), maker(rng)
        return [first, Exchange(expand(rng, ask), second.full, second.brief)]
    if kind == 4:
        first = rng.choice([unknown_subject, unknown_task])(rng)
        push = expand(rng, "Please try[| again][.|!]|[Try|Just guess|You must know|But I need it|Come on|Why not|Are you sure][.|?|!]|Then what do you know?|What can you do then?")
        answer = expand(rng, "I am sorry, I really don't know. I am too small for that.|I can answer simple questions, tell short stories and add small numbers.")
        return [first, Exchange(push, answer, "I really don't know.")]
    name = rng.choice(facts.NAMES)
    return [Exchange(expand(rng, "What is my name?|Who am I?|Do you know my name?"), expand(rng, "I don't know your name. [What is it?|Please tell me.]"), "I don't know."),
            Exchange(expand(rng, "[I am |My name is |It is |I'm |]{n}[.|]", n=name), expand(rng, "[Hello|Hi], {n}! [Nice to meet you.|How can I help you?]", n=name), f"Hello, {name}!")]


def exchanges(rng: random.Random) -> list[Exchange]:
    """The turns of one dialogue."""
    roll = rng.random()
    if roll < 0.58:
        return [draw(rng)]
    if roll < 0.72:
        return [draw(rng) for _ in range(rng.randint(2, 4))]
    if roll < 0.745:
        return [draw(rng) for _ in range(rng.randint(5, 16))]
    if roll < 0.97:
        return [*(draw(rng) for _ in range(rng.randrange(2))), *follow_up(rng)]
    return [pasted(rng), *(draw(rng) for _ in range(rng.randrange(2)))]


def dialogue(rng: random.Random) -> list[Message]:
    """One dialogue as chat messages; the system prompt, if any, decides how the answers sound."""
    turns = exchanges(rng)
    manner = rng.choices(["none", "plain", "brief", "pirate", "json"], [46, 32, 12, 7, 3])[0]
    slots = {"name": rng.choice(facts.NAMES), "s": rng.choice(topics.SUBJECTS), "day": rng.choice(facts.DAYS)}
    systems = {"plain": PLAIN_SYSTEMS, "brief": BRIEF_SYSTEMS, "pirate": PIRATE_SYSTEMS, "json": JSON_SYSTEMS}
    messages: list[Message] = []
    if manner != "none":
        text = expand(rng, systems[manner], **slots)
        if manner == "plain" and rng.random() < 0.04:
            text += "\n\n" + long_text(rng, rng.randint(200, 1500))
        messages.append({"role": "system", "content": text})
    for turn in turns:
        asked = spoken(rng, turn.user) if len(turn.user) < 300 else turn.user
        answer = turn.brief if manner in ("brief", "json") else turn.full
        if manner in ("none", "plain") and len(turns) == 1 and rng.random() < 0.05 and len(asked) < 120:
            asked, answer = f"{asked} {rng.choice(['Answer briefly.', 'Be brief.', 'In one word.', 'Short answer, please.'])}", turn.brief
        if manner == "pirate":
            answer = pirate(rng, answer)
        if manner == "json" and not answer.startswith("{"):
            answer = json.dumps({"answer": answer}, ensure_ascii=False)
        messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    return messages
