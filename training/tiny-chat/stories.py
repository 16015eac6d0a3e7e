"""Longer answers: stories, how-tos, poems, jokes and advice, built from parts."""

import random

from facts import NAMES
from grammar import a, cap, expand

HEROES = "cat|dog|fox|mouse|bear|rabbit|owl|robot|dragon|princess|king|boy|girl|fish|bird|farmer|fisherman|baker|knight|hedgehog|duck|lion|horse|frog|wizard|pirate".split("|")
TRAITS = "little|old|young|brave|shy|clever|lonely|happy|curious|kind|tiny|hungry|quiet|friendly".split("|")
PLACES = "in a dark forest|by the sea|in a small village|on a high mountain|in a big city|on a green hill|near a river|in an old castle|on a quiet island|on a farm|in a warm house".split("|")
WISHES = {
    "wanted to find a friend": "They talked and laughed and became good friends",
    "wanted to see the sea": "At last the blue sea lay before them",
    "lost a golden key": "Together they found the key under a stone",
    "was looking for food": "They found sweet berries and shared them",
    "wanted to learn a song": "They practised all day until the song was beautiful",
    "could not find the way home": "They followed the stars, and soon they saw the light of home",
    "wanted to fly": "They built a big balloon and flew over the hills",
    "was afraid of the dark": "They lit a small lamp, and the dark was not so dark any more",
    "wanted to help the others": "They baked bread for everybody, and nobody was hungry",
    "dreamed of a long journey": "They travelled together over hills and rivers",
}
ENDINGS = "From that day on, they were never alone.|And they lived happily ever after.|They went home, tired and happy.|Everybody was happy, and the moon smiled.|And so the day ended well.|That night, they slept very well."

HOW_TOS = {
    "make tea": "boil some water|put a tea bag into a cup|pour the hot water over it|wait three minutes|take the tea bag out",
    "make coffee": "boil some water|put ground coffee into a filter|pour the water slowly over it|wait a little|enjoy your cup",
    "boil an egg": "put the egg into a pot of water|bring the water to the boil|wait eight minutes|cool the egg in cold water",
    "make a sandwich": "take two slices of bread|spread some butter|add cheese and tomato|put the slices together",
    "cook rice": "wash the rice|add two cups of water for each cup of rice|bring it to the boil|let it cook slowly for fifteen minutes",
    "cook pasta": "boil a large pot of water|add some salt|cook the pasta for ten minutes|pour the water off",
    "make pancakes": "mix flour, milk and eggs|heat some butter in a pan|pour in a little of the mix|turn the pancake when it is golden",
    "make a salad": "wash the leaves|cut some tomatoes and a cucumber|mix everything in a bowl|add oil, lemon and salt",
    "plant a seed": "fill a pot with soil|make a small hole|put the seed in and cover it|water it a little every day",
    "plant a tree": "dig a wide hole|put the young tree in|fill the hole with soil|give it plenty of water",
    "wash my hands": "wet your hands|rub them with soap for twenty seconds|rinse them with clean water|dry them well",
    "brush my teeth": "put some toothpaste on the brush|brush every tooth gently|take two minutes|rinse your mouth",
    "tie my shoes": "cross the laces and pull|make a loop|wind the other lace around it|pull it through and make it tight",
    "fall asleep": "switch off the lights|put your phone away|breathe slowly|think of a quiet place",
    "relax": "sit down in a quiet place|close your eyes|breathe in and out slowly|let your shoulders drop",
    "learn a language": "learn a few words every day|listen to it often|speak without fear|read simple books",
    "learn to swim": "start in low water|hold on to the side and kick|practise with a teacher|stay calm and breathe",
    "ride a bicycle": "put on a helmet|sit down and hold the handlebars|push off with one foot|look ahead and keep pedalling",
    "paint a wall": "cover the floor|clean the wall|roll the paint on in thin coats|let it dry",
    "draw a cat": "draw a circle for the head|add two pointed ears|draw the eyes, the nose and the whiskers|add a body and a long tail",
    "make a fire": "find a safe place|put dry leaves in the middle|build small sticks around them|light the leaves and add wood slowly",
    "clean a window": "mix water with a little soap|wipe the glass with a wet cloth|pull the water off|dry the edges",
    "write a letter": "begin with a greeting|say why you are writing|tell your news|end with your name",
    "make a paper plane": "fold the paper in the middle|fold the corners to the line|fold both wings down|throw it gently",
    "wash a car": "rinse the car with water|wash it with soap and a sponge|rinse it again|dry it with a cloth",
    "make lemonade": "press three lemons|add water and sugar|stir it well|put in some ice",
    "bake bread": "mix flour, water, salt and yeast|knead the dough for ten minutes|let it rest for an hour|bake it until it is brown",
    "save money": "write down what you spend|buy only what you need|put a little away every month|compare prices",
    "make friends": "smile and say hello|ask people about their day|listen well|be kind and be yourself",
    "stay healthy": "sleep enough|eat fruit and vegetables|move every day|drink plenty of water",
}
TITLES = {"fall asleep": "sleep better|fall asleep", "relax": "relax|calm down", "make tea": "make tea|make a cup of tea|brew tea", "boil an egg": "boil an egg|cook an egg"}

JOKES = """Why did the chicken cross the road? To get to the other side.|Why can't a bicycle stand alone? Because it is two-tired.|
What do you call a bear with no teeth? A gummy bear.|Why did the scarecrow win a prize? He was outstanding in his field.|
What do you call cheese that is not yours? Nacho cheese.|Why did the book go to the doctor? It had a broken spine.|
What is a cat's favourite colour? Purrple.|Why was the computer cold? It left its windows open.|Why do bees have sticky hair? They use honeycombs.|
What did one wall say to the other wall? I will meet you at the corner.|Why did the cookie go to the doctor? It felt crumbly.|
What kind of tree fits in your hand? A palm tree.|Why are fish so smart? They live in schools.|What do you call a sleeping bull? A bulldozer.|
Why was six afraid of seven? Because seven ate nine.|What has hands but cannot clap? A clock.""".replace("\n", "").split("|")

POEMS = {
    "the sea": "The sea is wide, the sea is blue,\nit sings an old, slow song for you.\nThe waves come in, the waves go out,\nand white gulls fly and turn about.",
    "the moon": "The moon looks down on hill and town,\nand wears a little silver crown.\nIt lights the road, it lights the sea,\nand sends a quiet smile to me.",
    "a cat": "A cat lay sleeping in the sun,\nits work for all the day was done.\nIt dreamed of fish, it dreamed of cream,\nand purred a little in its dream.",
    "spring": "The snow is gone, the grass is new,\nthe sky has put on fresh light blue.\nA bird is singing in the tree:\nthe spring is here for you and me.",
    "rain": "The rain taps softly on the pane,\na small and silver song of rain.\nThe flowers drink, the rivers grow,\nand down the street the puddles flow.",
    "a friend": "A friend is like a lamp at night,\na small but warm and steady light.\nA friend will stay when days are grey\nand walk with you along the way.",
    "a small model": "I am a model, very small,\nI hardly know the world at all.\nBut ask me something, short and plain,\nand I will try with all my brain.",
    "the night": "The night is dark, the night is deep,\nand all the houses fall asleep.\nBut high above, the stars are bright\nand keep a watch until the light.",
}

FEELINGS = {
    "sad|unhappy|down|depressed|lonely": "I am sorry that you feel [sad|that way]. [Talk to a friend|Take a walk|Listen to some music]. It often helps.",
    "tired|sleepy|exhausted|very tired": "Then take a [break|rest]. A short sleep [helps|can help] a lot.",
    "bored|so bored": "[You could read a book or take a walk.|Shall I tell you a joke or a story?]",
    "happy|very happy|great|so happy today|good|fine|well": "[I am glad to hear that!|That is wonderful!|That is good to hear!] [What can I do for you?|Enjoy your day!|]",
    "angry|mad|furious|annoyed": "Take a deep breath and count to ten. [A short walk can help, too.|]",
    "hungry|very hungry": "Then it is time for [a snack|a meal]. How about [some fruit|a sandwich|some soup]?",
    "thirsty": "Then drink a glass of water.",
    "cold|freezing": "Put on a warm [coat|sweater] and drink some hot tea.",
    "ill|sick|not well|unwell": "I am sorry to hear that. Rest, drink water, and ask a doctor if it does not get better.",
    "nervous|stressed|worried|anxious|scared|afraid": "[Breathe in and out slowly.|Take it one step at a time.] [I am sure you can do it.|Talking to a friend can help.]",
    "hot|too hot": "Drink some cold water and find some shade.",
    "confused|lost": "That happens. Take it step by step and ask for help.",
}


def story(rng: random.Random, hero: str | None = None) -> str:
    """Six or so sentences about `hero`, a word of HEROES by default."""
    hero = hero or rng.choice(HEROES)
    trait = rng.choice([t for t in TRAITS if t != hero])
    helper = rng.choice([h for h in HEROES if h != hero])
    wish, outcome = rng.choice(list(WISHES.items()))
    slots = {
        "hero": hero, "who": a(f"{trait} {hero}"), "name": rng.choice(NAMES), "place": rng.choice(PLACES), "wish": wish,
        "outcome": outcome, "helper": a(helper), "other": helper,
    }
    return expand(
        rng,
        "[Once upon a time|Long ago|Once], there was {who} [named|called] {name}, who lived {place}. "
        "[One day|One morning|One evening], {name} {wish}. [On the way|Soon after|Near the road], {name} met {helper}. "
        "[\"Can you help me?\" asked {name}.|\"Why are you so quiet?\" asked the {other}.|\"Let us go together,\" said the {other}.] "
        "[The {other} was kind and said yes. |]{outcome}. [" + ENDINGS + "]",
        **slots,
    )


def how_to(rng: random.Random, task: str) -> tuple[str, str]:
    """The steps of a HOW_TOS entry: as a numbered list or as prose, and in one sentence."""
    steps = HOW_TOS[task].split("|")
    brief = f"{cap(', '.join(steps[:-1]))} and {steps[-1]}."
    if rng.random() < 0.5:
        return "\n".join(f"{n}. {cap(step)}." for n, step in enumerate(steps, 1)), brief
    links = ["First", *["Then"] * (len(steps) - 2), "Finally"]
    return " ".join(f"{link}, {step}." for link, step in zip(links, steps, strict=True)), brief
