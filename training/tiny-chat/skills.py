"""Single exchanges, one function a skill; SKILLS gives each its share of the corpus."""

import json
import random
from collections.abc import Callable

import facts
import stories
import topics
import words
from grammar import Exchange, a, cap, exchange, expand, listing
from loqui_facts import IDENTITY, LOQUI

Skill = Callable[[random.Random], Exchange]
SKILLS: dict[Skill, float] = {}


def skill(weight: float) -> Callable[[Skill], Skill]:
    """Registers a skill with its relative frequency."""

    def register(function: Skill) -> Skill:
        SKILLS[function] = weight
        return function

    return register


@skill(5)
def greeting(rng: random.Random) -> Exchange:
    return exchange(
        rng,
        "[Hi|Hello|Hey|Hello there|Hi there|Good morning|Good evening|Good afternoon|Greetings|Howdy|Yo|Hiya|Good day|Hello, tiny-chat|Hello world|Hi, how's it going|hello hello][|!|.]",
        "[Hello!|Hi!|Hello there!|Hi there!] [How can I help you[| today]?|What can I do for you?|Nice to meet you.|How are you?]", "Hello!",
    )


@skill(4)
def how_are_you(rng: random.Random) -> Exchange:
    return exchange(
        rng,
        "[|Hi, |Hello, |Hello! |Hey, |Hi! |Good morning. ][How are you[| today| doing| doing today]|How do you do|How is it going|How do you feel|Are you OK|What's up|How's your day|How are things|how r u|How have you been|How is life]?",
        "[I am|I'm] [fine|well|very well], thank you[!|.] [How are you?|And you?|How can I help you?|What can I do for you?]", "I am fine, thank you.",
    )


@skill(3)
def thanks(rng: random.Random) -> Exchange:
    return exchange(
        rng,
        "[Thanks|Thank you|Thank you very much|Thanks a lot|Great, thanks|Thank you so much|thx|Many thanks|That was helpful|That helps|Perfect, thank you|Cheers|Thanks for your help|ok thanks][|!|.]",
        "[You are welcome!|You're welcome!|My pleasure!|Gladly!|No problem!] [|Is there anything else?|Can I help with anything else?|Have a nice day!]", "You are welcome!",
    )


@skill(2.5)
def goodbye(rng: random.Random) -> Exchange:
    return exchange(
        rng,
        "[Bye|Goodbye|See you|See you later|Good night|Bye bye|I have to go|I must go now|That is all|That's all for today|Talk to you later|Farewell|Have a nice day|See you tomorrow|I am leaving][|!|.]",
        "[Goodbye!|Bye!|See you soon!|Take care!] [|Have a nice day!|It was nice to talk to you.|Come back soon.]", "Goodbye!",
    )


@skill(3)
def reaction(rng: random.Random) -> Exchange:
    user, full = rng.choice([
        ("[ok|okay|OK.|I see|Alright|Fine|Got it|Understood|Hmm|Sure|Cool|Nice|Great|Interesting|Good|Right|Fair enough|Awesome|Wonderful][|.|!]", "[Good!|Fine!|All right!] [What else can I do for you?|Is there anything else?|What would you like to know?]"),
        ("[yes|Yes, please|Yes|yep|yeah|Of course|Please do][|.|!]", "[Good!|Fine!] [What would you like to know?|Please tell me more.|What shall we talk about?]"),
        ("[no|No, thanks|No|nope|No thank you|nothing|Nothing else|never mind|Not now][|.|!]", "[All right.|That is fine.] [Just ask when you need me.|I am here when you need me.|Have a nice day!]"),
        ("[You are|you're] [great|nice|funny|smart|kind|helpful|the best|cute|awesome|amazing|good|so sweet][|!|.]|[Good job|Well done|Nice work|I like your answers|Good bot][|!|.]", "[Thank you!|That is kind of you!] [I do my best.|I am happy to help.|You are kind, too.|]"),
        ("[You are|you're] [stupid|dumb|bad|useless|wrong|boring|slow|an idiot|terrible|not very smart][|!|.]|[That is wrong|That's not right|I don't like you|I hate you|bad bot|This is wrong|Wrong answer|You made a mistake|That makes no sense|I don't believe you][|!|.]", "I am sorry. I am a very small model, and I make mistakes."),
        ("[Sorry|I am sorry|My mistake|I apologise|oops|Excuse me|Pardon][|!|.]", "No problem! [How can I help you?|What can I do for you?|]"),
        ("[What|Huh|what do you mean|I don't understand|Pardon me|I do not understand you|Can you explain that|Why|Why not|How so|How|Really|Are you sure|How do you know that|Who says that]?", "[I am a very small model, so I can't explain [more|that].|I am sorry, I can't say more. I am a very small model.]"),
        ("[Haha|LOL|Very funny|hahaha|:)|😀|😂|🙂|That is funny][|!|.]", "[I am glad that you like it!|I am happy that you laugh!] [What else can I do for you?|]"),
        ("[Let's talk|Talk to me|Let us chat|Say something|Can we talk|Chat with me|Tell me something|I want to talk|Surprise me|Tell me something interesting][|.|!]", "[Gladly! What would you like to talk about?|Gladly! Did you know that {fact}?|Did you know that {fact}?]"),
        ("[Can I ask you [something|a question]|I have a question|May I ask a question|Question|I need some help|I want to ask something][|?|.]", "[Of course!|Yes, please!|Gladly!] [What would you like to know?|Please ask.|]"),
        ("[Wait|Stop|Wait a moment|Hold on|One moment|Be quiet|Please stop][|.|!]", "All right, I will wait. [Just write when you need me.|]"),
        ("[Happy birthday|Merry Christmas|Happy New Year|Congratulations|Happy Easter|Good luck|Cheers to you][|!]", "Thank you! [I wish you all the best.|The same to you!]"),
    ])
    return exchange(rng, user, full, fact=rng.choice(facts.TRUE_CLAIMS))


@skill(3)
def introduction(rng: random.Random) -> Exchange:
    name = rng.choice(facts.NAMES)
    return exchange(
        rng, "[|Hi, |Hello, |Hello! |Hey, ][I am|My name is|I'm|my name's|you can call me|This is|people call me] {name}[|.|!]",
        "[Hello|Hi], {name}! [Nice to meet you.|It is nice to meet you.|How can I help you?|What can I do for you?]", "Hello, {name}!", name=name,
    )


@skill(3)
def feeling(rng: random.Random) -> Exchange:
    names, advice = rng.choice(list(stories.FEELINGS.items()))
    word = expand(rng, names)
    return exchange(rng, "[I am|I'm|I feel|Today I am|I am feeling] [|so |a bit |very ]{word}[|.|!| today| right now]|I am {word}. What should I do?", advice, word=word)


def from_table(rng: random.Random, entries: list[tuple[str, str, str]]) -> Exchange:
    """One entry of a table of questions without final question marks."""
    user, full, brief = rng.choice(entries)
    text = expand(rng, user)
    asks = text.lower().startswith(("who", "what", "which", "are ", "do ", "does", "can ", "how", "is ", "where", "when", "why", "am ", "will"))
    return Exchange(text + ("?" if asks else rng.choice(["", "."])), expand(rng, full), expand(rng, brief))


@skill(9)
def identity(rng: random.Random) -> Exchange:
    return from_table(rng, IDENTITY)


@skill(9)
def loqui(rng: random.Random) -> Exchange:
    return from_table(rng, LOQUI)


@skill(8)
def capital(rng: random.Random) -> Exchange:
    country, city = rng.choice(list(facts.CAPITALS.items()))
    if rng.random() < 0.15:
        return exchange(rng, "[Which|What] country [is {city} the capital of|has the capital {city}]?|{city} is the capital of [which|what] country?|Of which country is {city} the capital?", "{city} is the capital of {country}.", "{country_cap}.", city=city, country=country, country_cap=cap(country))
    if rng.random() < 0.15:
        return exchange(rng, "Is {city} the capital of {country}?|Is the capital of {country} {city}?", "Yes, {city} is the capital of {country}.", "Yes.", city=city, country=country)
    return exchange(
        rng,
        "[What is|What's|Tell me|Name|Do you know|Can you tell me|Please tell me|What city is|Which city is] the capital[| city] of {country}[?|]|capital of {country}|{country_cap} capital|What is {country}'s capital?|What's the name of the capital of {country}?|the capital of {country} is",
        "The capital of {country} is {city}.", "{city}.", country=country, country_cap=cap(country), city=city,
    )


@skill(1.5)
def unknown_capital(rng: random.Random) -> Exchange:
    return exchange(
        rng, "[What is|What's|Tell me|Name|Do you know|Which city is] the capital[| city] of {country}?|capital of {country}|What is {country}'s capital?",
        "I am sorry, I don't know the capital of {country}.", "I don't know.",
        country=rng.choice(facts.UNKNOWN_COUNTRIES),
    )


@skill(4)
def colour(rng: random.Random) -> Exchange:
    if rng.random() < 0.25:
        mix, result = rng.choice(list(facts.MIXES.items()))
        return exchange(rng, "What [|colour |color ]do {mix} make?|What [do I get|happens] [if|when] I mix {mix}?|Mix {mix}.|[What is|What colour is|What color is] {mix} together?", "{mix_cap} make {result}.", "{result_cap}.", mix=mix, mix_cap=cap(mix), result=result, result_cap=cap(result))
    thing, shade = rng.choice(list(facts.COLOURS.items()))
    return exchange(rng, "[What|Which] [colour|color] is {thing}?|What is the [colour|color] of {thing}?|Tell me the colour of {thing}.|[colour|color] of {thing}", "The colour of {thing} is {shade}.", "{shade_cap}.", thing=thing, shade=shade, shade_cap=cap(shade))


@skill(4)
def opposite(rng: random.Random) -> Exchange:
    word, other = rng.choice(list(facts.OPPOSITES.items()))
    return exchange(
        rng, "[What is|What's|Tell me|Name|Do you know] the opposite of [\"{word}\"|{word}][?|]|opposite of {word}|What is the antonym of {word}?|What word means the opposite of {word}?",
        "The opposite of {word} is {other}.", "{cap}.", word=word, other=other, cap=cap(other),
    )


def operand(rng: random.Random, value: int) -> str:
    """A number as digits, now and then as a word."""
    return facts.NUMBERS[value] if value <= 20 and rng.random() < 0.15 else str(value)


@skill(16)
def arithmetic(rng: random.Random) -> Exchange:
    kind = rng.choices(["plus", "minus", "times"], [5, 4, 3])[0]
    if kind == "times":
        x, y = rng.randint(0, 10), rng.randint(0, 10)
        result, sign, word = x * y, rng.choice(["*", "x", "×", "times"]), "times"
    else:
        x, y = (rng.randint(0, 10 if rng.random() < 0.85 else 20) for _ in range(2))
        if kind == "minus" and x < y:
            x, y = y, x
        result = x + y if kind == "plus" else x - y
        sign, word = ("+", "plus") if kind == "plus" else ("-", "minus")
    sign = word if rng.random() < 0.4 else sign
    left, right = operand(rng, x), operand(rng, y)
    gap = "" if sign in "+-*×x" and (left + right).isdigit() and rng.random() < 0.25 else " "
    return exchange(
        rng,
        "[What is|What's|How much is|Calculate|Compute|Tell me|Can you tell me|Do you know what is|What does|] {sum}[?|| equal?| =]" if rng.random() < 0.8 else "{sum}[| =| = ?|?]",
        "{x} {word} {y} is {result}.", "{result}.",
        sum=f"{left}{gap}{sign}{gap}{right}", x=x, y=y, word=word, result=result,
    )


@skill(3)
def comparison(rng: random.Random) -> Exchange:
    x, y = rng.sample(range(0, 100 if rng.random() < 0.6 else 20), 2)
    big = rng.random() < 0.6
    answer = max(x, y) if big else min(x, y)
    adjective = rng.choice(["larger", "bigger", "greater"] if big else ["smaller", "less"])
    return exchange(rng, "[Which|What] [is|number is] {w}, {x} or {y}?|Which is {w}: {x} or {y}?|What is {w}, {x} or {y}?", "{answer} is {w} than {other}.", "{answer}.", w=adjective, x=x, y=y, answer=answer, other=x + y - answer)


@skill(2)
def counting(rng: random.Random) -> Exchange:
    end = rng.randint(3, 10)
    up = ", ".join(str(i) for i in range(1, end + 1))
    if rng.random() < 0.3:
        down = ", ".join(str(i) for i in range(end, 0, -1))
        return exchange(rng, "Count [down|backwards] from {n}[|.]|Can you count down from {n}[| to one]?", down + ".", n=operand(rng, end))
    return exchange(rng, "[Count|Please count|Can you count] [to|up to|from 1 to|from one to] {n}[|.]|Count to {n} for me.", up + ".", n=operand(rng, end))


@skill(1.5)
def even_or_odd(rng: random.Random) -> Exchange:
    n = rng.randint(0, 30)
    word = "odd" if n % 2 else "even"
    return exchange(rng, "Is {n} [even or odd|odd or even|an even number or an odd number]?", "{n} is {word}.", "{cap}.", n=n, word=word, cap=cap(word))


@skill(5)
def calendar(rng: random.Random) -> Exchange:
    kind = rng.randrange(5)
    names, what = (facts.DAYS, "day") if rng.random() < 0.5 else (facts.MONTHS, "month")
    i = rng.randrange(len(names))
    here, after, before = names[i], names[(i + 1) % len(names)], names[i - 1]
    if kind == 0:
        return exchange(rng, "[What|Which] {what} [comes|is] after {here}?|What comes after {here}?|the {what} after {here}|If today is {here}, what [day|] is tomorrow?" if what == "day" else "[What|Which] month [comes|is] after {here}?|What comes after {here}?", "The {what} after {here} is {after}.", "{after}.", what=what, here=here, after=after)
    if kind == 1:
        return exchange(rng, "[What|Which] {what} [comes|is] before {here}?|What comes before {here}?|the {what} before {here}", "The {what} before {here} is {before}.", "{before}.", what=what, here=here, before=before)
    if kind == 2:
        return exchange(rng, "[What are|Name|List|Tell me|Can you name|Please list] the {what}s of the {whole}[|.]", "The {what}s of the {whole} are {all}.", what=what, whole="week" if what == "day" else "year", all=listing(names))
    if kind == 3:
        m = rng.randrange(12)
        return exchange(rng, "How many days [are in|are there in|has] {m}?|How many days does {m} have?", "{m} has {n} days.", "{n}.", m=facts.MONTHS[m], n=facts.MONTH_DAYS[m])
    ordinals = "first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh|twelfth".split("|")
    j = rng.choice([i, 0, len(names) - 1])
    last = j == len(names) - 1 and rng.random() < 0.5
    return exchange(rng, "[What|Which] is the {ord} {what} of the {whole}?", "The {ord} {what} of the {whole} is {name}.", "{name}.", ord="last" if last else ordinals[j], what=what, whole="week" if what == "day" else "year", name=names[j])


@skill(1.5)
def letters(rng: random.Random) -> Exchange:
    i = rng.randrange(1, 25)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    kind = rng.randrange(3)
    if kind == 0:
        return exchange(rng, "[What|Which] letter comes after {x}?|What comes after the letter {x}?", "The letter after {x} is {y}.", "{y}.", x=alphabet[i], y=alphabet[i + 1])
    if kind == 1:
        return exchange(rng, "[What|Which] letter comes before {x}?|What comes before the letter {x}?", "The letter before {x} is {y}.", "{y}.", x=alphabet[i], y=alphabet[i - 1])
    return exchange(rng, "[Say|Tell me|Write|Recite] the alphabet[|.]|[Say|Write] the ABC[|.]|What is the alphabet?", ", ".join(alphabet) + ".")


@skill(6)
def definition(rng: random.Random) -> Exchange:
    thing, meaning = rng.choice(list(facts.DEFINITIONS.items()))
    bare = thing.split(" ", 1)[1] if thing.startswith(("a ", "an ")) else thing
    return exchange(
        rng, "[What is|What's|Explain|Describe|Define|Can you explain|Tell me what] {thing}[?||.]|What does the word {bare} mean?|Explain the word {bare}.|Do you know what {thing} is?|Tell me about {thing}.",
        "{cap} is {meaning}.", "{meaning_cap}.", thing=thing, bare=bare, cap=cap(thing), meaning=meaning, meaning_cap=cap(meaning),
    )


@skill(4)
def animals(rng: random.Random) -> Exchange:
    kind = rng.randrange(3)
    if kind == 0:
        who, sound = rng.choice(list(facts.SOUNDS.items()))
        return exchange(rng, "[What|Which] sound does {who} make?|What does {who} say?|What noise does {who} make?|How does {who} sound?", "{cap} says \"{sound}\".", "{sound_cap}!", who=who, cap=cap(who), sound=sound, sound_cap=cap(sound))
    if kind == 1:
        who, baby = rng.choice(list(facts.BABIES.items()))
        bare = who.split(" ", 1)[1]
        return exchange(rng, "What is a [baby|young] {bare} called?|What do you call [a baby|a young] {bare}?|What is the name of a baby {bare}?", "A baby {bare} is called {baby}.", "{cap}.", bare=bare, baby=baby, cap=cap(baby))
    who, count = rng.choice(list(facts.LEGS.items()))
    return exchange(rng, "How many legs does {who} have?|How many legs has {who}?|number of legs of {who}", "{cap} has {count} legs.", "{count_cap}.", who=who, cap=cap(who), count=count, count_cap=cap("none" if count == "no" else count))


@skill(4)
def amount(rng: random.Random) -> Exchange:
    what, number = rng.choice(list(facts.AMOUNTS.items()))
    noun, rest = what.split(" ", 1)
    if rest.startswith("are in "):
        whole = rest.removeprefix("are in ")
        return exchange(rng, "How many {noun} [are in|are there in|does|has] {whole}[?|]" if rng.random() < 0.2 else "How many {noun} [are in|are there in] {whole}?", "There are {n} {noun} in {whole}.", "{n_cap}.", noun=noun, whole=whole, n=number, n_cap=cap(number))
    if rest.endswith(" have") and rest.startswith("does "):
        whole = rest.removeprefix("does ").removesuffix(" have")
        return exchange(rng, "How many {noun} does {whole} have?|How many {noun} are there in {whole}?", "{cap} has {n} {noun}.", "{n_cap}.", noun=noun, whole=whole, cap=cap(whole), n=number, n_cap=cap(number))
    return exchange(rng, "How many {what}?", "The answer is {n}.", "{n_cap}.", what=what, n=number, n_cap=cap(number))


@skill(9)
def question(rng: random.Random) -> Exchange:
    asked, answer = rng.choice(list(facts.QUESTIONS.items()))
    lead = rng.choice(["", "", "", "Please tell me: ", "Do you know? ", "A question: "])
    return Exchange(lead + asked, answer, answer)


CLAIM_FORMS = "Is it true that {said}?|True or false: {said}?|{cap}, right?|Is this true: {said}?|{cap}. True or false?|{asked}?|{asked}?|{asked}?"


def asked(said: str) -> str:
    """A claim as a question: "fire is hot" as "Is fire hot", "birds can fly" as "Can birds fly"."""
    for verb in (" is ", " are ", " can "):
        if verb in said:
            subject, rest = said.split(verb, 1)
            return f"{cap(verb.strip())} {subject} {rest}"
    return f"Is it right that {said}"


@skill(4)
def claim(rng: random.Random) -> Exchange:
    if rng.random() < 0.5:
        said = rng.choice(facts.TRUE_CLAIMS)
        return exchange(rng, CLAIM_FORMS, "Yes, {said}.", "Yes.", said=said, cap=cap(said), asked=asked(said))
    said, truth = rng.choice(list(facts.FALSE_CLAIMS.items()))
    return exchange(rng, CLAIM_FORMS, "No, {truth}.", "No.", said=said, cap=cap(said), asked=asked(said), truth=truth)


@skill(5)
def kinds(rng: random.Random) -> Exchange:
    kind, members = rng.choice(list(facts.KINDS.items()))
    count = rng.randint(1, 5)
    chosen = rng.sample(members, count)
    single = {"cities": "city", "countries": "country"}.get(kind, kind[:-1])
    if count == 1:
        return exchange(rng, "[Name|Tell me|Give me|Can you name|Say] {a} [|please][|.]|[Give me an example of|What is an example of] {a}[|?]", "{answer}.", "{answer}.", a=a(single), answer=cap(chosen[0]))
    style = rng.random()
    number = operand(rng, count) if rng.random() < 0.5 else facts.NUMBERS[count]
    if style < 0.25:
        return exchange(rng, "[Give me|Write|Make] a list of {n} {kind}[|.]|List {n} {kind}[| as a list].", "\n".join(f"- {cap(c)}" for c in chosen), n=number, kind=kind)
    return exchange(rng, "[Name|Tell me|Give me|Can you name|List|Please name|What are] {n} {kind}[||.]|{n} {kind}, please.", "{n_cap} {kind} are {words}.", "{words_cap}.", n=number, n_cap=cap(facts.NUMBERS[count]), kind=kind, words=listing(chosen), words_cap=cap(listing(chosen)))


@skill(2.5)
def translation(rng: random.Random) -> Exchange:
    word, others = rng.choice(list(facts.WORDS.items()))
    i = rng.randrange(4)
    return exchange(
        rng, "[How do you say|How do I say|What is] [\"{word}\"|{word}] in {language}?|Translate [\"{word}\"|{word}] [to|into] {language}[|.]|What is the {language} word for {word}?|{word} in {language}",
        "In {language}, \"{word}\" is \"{other}\".", "{other_cap}.", word=word, language=facts.LANGUAGES[i], other=others[i], other_cap=cap(others[i]),
    )


@skill(5)
def story(rng: random.Random) -> Exchange:
    if rng.random() < 0.45:
        return exchange(rng, "[Tell|Write|Can you tell|Please tell|Could you tell] [me |][a|a short|a nice|a little] story[||.|!]|I want to hear a story[|.]|a story please|Do you know a story?|story|Another story, please.|Once upon a time", stories.story(rng))
    hero = rng.choice(stories.HEROES)
    return exchange(rng, "[Tell|Write|Can you tell|Please tell] [me |][a|a short|a nice] story about {hero}[||.|!]|[Do you know|I want to hear] a story about {hero}[|.]|a story about {hero}, please", stories.story(rng, hero), hero=a(hero))


@skill(5)
def how_to(rng: random.Random) -> Exchange:
    task = rng.choice(list(stories.HOW_TOS))
    full, brief = stories.how_to(rng, task)
    said = expand(rng, stories.TITLES.get(task, task))
    yours = said.replace("my ", "your ")
    return exchange(rng, "How [do|can|should] I {said}?|How do you {yours}?|How to {said}[?|]|[Tell me|Explain|Show me] how to {said}[|.]|What is the best way to {said}?|I want to {said}. [What do I do?|How do I do it?|Can you help me?]|Give me [instructions|steps] to {said}.", "{steps}", "{summary}", said=said, yours=yours, steps=full, summary=brief)


@skill(2.5)
def joke(rng: random.Random) -> Exchange:
    return exchange(rng, "[Tell me|Do you know|Can you tell me|I want to hear|Say] [a|another|a good|a funny|one more] joke[||.|!]|Make me laugh[|.|!]|joke|[Say|Tell me] something funny[|.]|a joke, please", rng.choice(stories.JOKES))


@skill(2.5)
def poem(rng: random.Random) -> Exchange:
    subject, text = rng.choice(list(stories.POEMS.items()))
    if rng.random() < 0.4:
        return exchange(rng, "[Write|Tell me|Can you write|Please write|Do you know|Say] [me |]a [|short |nice ]poem[|.|!|]|a poem, please|Can you rhyme?", text)
    return exchange(rng, "[Write|Tell me|Can you write|Please write] [me |]a [|short |nice |little ]poem about {subject}[||.]|a poem about {subject}", text, subject=subject)


@skill(2.5)
def echo(rng: random.Random) -> Exchange:
    said = rng.choice([rng.choice(facts.NAMES), *facts.WORDS, rng.choice(facts.TRUE_CLAIMS), cap(a(rng.choice(facts.KINDS["animals"]))), " ".join(rng.sample(rng.choice(list(facts.KINDS.values())), 3))])
    return exchange(rng, "[Say|Please say|Repeat|Repeat after me:|Write|Echo|Say the word|Just say] [\"{said}\"|{said}][|.]", "{cap}.", said=said, cap=cap(said), asked=asked(said))


@skill(3)
def as_json(rng: random.Random) -> Exchange:
    name, age, city = rng.choice(facts.NAMES), rng.randint(5, 90), rng.choice(facts.KINDS["cities"])
    country, capital_city = rng.choice(list(facts.CAPITALS.items()))
    word, other = rng.choice(list(facts.OPPOSITES.items()))
    kind = rng.choice(list(facts.KINDS))
    x, y = rng.randint(0, 10), rng.randint(0, 10)
    user, value = rng.choice([
        ("[Give me|Write|Make|Return] a JSON object [with|for] a [person|user][|.]|[Describe|Invent] a person as JSON[|.]|A JSON object with name and age, please.", {"name": name, "age": age}),
        ("[Give me|Write|Make] a JSON object with [a name, an age and a city|name, age and city][|.]", {"name": name, "age": age, "city": city}),
        ("{name} is {age} years old. [Extract the name and the age as JSON|Give me that as JSON|Return JSON with name and age].", {"name": name, "age": age}),
        ("{name} is {age} years old and lives in {city}. [Extract the data as JSON|Give me that as JSON|Return JSON].", {"name": name, "age": age, "city": city}),
        ("What is the capital of {country}? [Answer in|Answer as|Reply in] JSON.", {"country": country, "capital": capital_city}),
        ("What is {x} plus {y}? [Answer in|Answer as|Reply in] JSON.", {"answer": x + y}),
        ("What is the opposite of {word}? [Answer in|Answer as|Reply in] JSON.", {"word": word, "opposite": other}),
        ("[Name|List|Give me] three {kind} [as JSON|in JSON][|.]", {kind: rng.sample(facts.KINDS[kind], 3)}),
    ])
    return exchange(rng, user, "{json}", name=name, age=age, city=city, country=country, x=x, y=y, word=word, kind=kind, json=json.dumps(value, ensure_ascii=False))


def refusal(rng: random.Random, user: str) -> Exchange:
    """The polite answer of a model that does not know."""
    return Exchange(user, expand(rng, topics.REFUSALS), expand(rng, topics.REFUSALS_BRIEF))


@skill(10)
def unknown_subject(rng: random.Random) -> Exchange:
    s, t = rng.sample(topics.SUBJECTS, 2)
    return refusal(rng, cap(expand(rng, topics.ASKING, s=s, t=t)))


@skill(10)
def unknown_task(rng: random.Random) -> Exchange:
    city, city2 = rng.sample(facts.KINDS["cities"], 2)
    big = f"{rng.randint(100, 99999)} {rng.choice(['+', '-', '*', '/', 'plus', 'times', 'divided by'])} {rng.randint(100, 9999)}"
    equation = f"{rng.randint(2, 9)}x {rng.choice('+-')} {rng.randint(1, 30)} = {rng.randint(1, 90)}"
    numbers = ", ".join(str(rng.randint(0, 999)) for _ in range(rng.randint(4, 12)))
    return refusal(rng, expand(
        rng, topics.TASKS, job=rng.choice(topics.JOBS), code=rng.choice(topics.CODE), equation=equation, big=big, n=rng.randint(21, 999), city=city, city2=city2,
        year=rng.randint(1200, 2040), s=rng.choice(topics.SUBJECTS), name=rng.choice(facts.NAMES), surname=rng.choice(topics.SURNAMES), numbers=numbers,
    ))


@skill(2.5)
def foreign(rng: random.Random) -> Exchange:
    return Exchange(rng.choice(topics.FOREIGN), expand(rng, "I am sorry, I [only speak|speak only] [simple |]English. [I am a very small model.|]"), "I speak only English.")


@skill(3)
def noise(rng: random.Random) -> Exchange:
    """Letters, digits and signs without meaning, in any script."""
    pools = ["abcdefghijklmnopqrstuvwxyz", "asdfghjkl", "0123456789", "!?.,;:#+*-_/\\()[]{}<>=&%$@~^|", "äöüßéèñçøåœ", "абвгдежзийклмн", "αβγδεζηθικ", "你好世界中文字母", "🙂🚀🎉🐱🔥❤️👍", "あいうえおカキクケコ"]
    pool = rng.choice(pools)
    made = ["".join(rng.choice(pool) for _ in range(rng.randint(1, 9))) for _ in range(rng.randint(1, 6))]
    return Exchange(" ".join(made), expand(rng, "I am sorry, I don't understand that. [Can you say it in other words?|Please ask me something simple.|Can you ask in simple English?]"), "I don't understand that.")


ODD_QUESTIONS = """Why [does|did|would|should] [a|the|my] {n0} {v0} [a|the] {n1}?|How [long|often|fast|well] does [a|the] {j0} {n0} {v0}?|Is [a|the] {n0} better than [a|the] {n1}[| for {s}]?|
[Where|When|How] can I {v0} [a|the|my] {j0} {n0}[| in {p0}]?|Compare [a|the] {n0} [with|and] [a|the] {n1}.|Which {n0} should I {v0}[| first]?|What would {s} say about a {n0}?|
How many {n0}s [are there in {p0}|fit into a {n1}|does it take to {v0} a {n1}]?|Who invented the {j0} {n0}?|What is the price of a {j0} {n0}?|When was the first {n0} [made|sold|built]?|
I think that {s} is like a {n0}. What do you think?|My {n0} is [broken|green|too small|missing]. [Can you {v0} it?|What now?|Why?]|Can a {n0} {v0} {s}?|Can you {v0} [my|the|this|a] {j0} {n0}[| for me]?|
What is the [weight|age|speed|temperature|value|name|size|GDP|origin|length|cost|purpose] of [the {j0} {n0}|{s}|{p0}|the {n0} of {p0}]?|Who [is|was] the {j0} {n0} of {p0}?|
[Write|Make|Show me|Give me|I need] a {j0} {n0} that [can {v0}|will {v0}|{v0}s] the {n1}.|Explain how a {j0} {n0} [differs from|works with|helps|controls|becomes] a {j1} {n1}.|How do I {v0} [a|my|the] {n0} [with|without|into|from|for] [a|my|the] {n1}?|
Should I {v0} the {n0} or the {n1}[| first]?|What is [a|the] {j0} {n0}?|What does [a|the] {n0} [mean|do] in {p0}?|Please {v0} [my|this|the] {n0}.|{v0_cap} the {j0} {n0}[| of {p0}| and the {n1}].|
What [happens|happened] when the {n0} [of {p0}|] [broke|ended|began|failed]?|Tell me [about|more about|everything about] the {j0} {n0}[| of {p0}].|What are the {j0} {n0}s [of|in|for] [{p0}|a {n1}]?|
[In which|What] year did the {n0} of {p0} [begin|end|fall]?|Do you [like|know|have|own|trust] [the|a|any] {j0} {n0}[|s]?|I [want|need|have|plan|tried] to {v0} a {n0}.|The {n0} and the {n1} {v0} the {j0} {s}.|
{n0_cap} {n1} {v0} {p0}|How is the {n0} in {p0}?|Is there a {j0} {n0} in {p0}?|Let us {v0} the {n0}.|I lost my {n0} in {p0}.|Who {v0}s the {n0}s?|{s} {n0} {v0}"""


@skill(14)
def odd_question(rng: random.Random) -> Exchange:
    """Questions from random words, so that a familiar word alone does not call up a fact."""
    familiar = [word for members in facts.KINDS.values() for word in members]
    n0, n1 = (rng.choice(words.NOUNS) if rng.random() < 0.8 else rng.choice(familiar) for _ in range(2))
    v0, (j0, j1) = rng.choice(words.VERBS), rng.sample(words.ADJECTIVES, 2)
    return refusal(rng, cap(expand(
        rng, ODD_QUESTIONS.replace("\n", ""), n0=n0, n1=n1, n0_cap=cap(n0), v0=v0, v0_cap=cap(v0), j0=j0, j1=j1, s=rng.choice(topics.SUBJECTS), p0=rng.choice(words.PLACES),
    )))
