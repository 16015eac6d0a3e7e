"""Words beside the subjects: those that carry no subject, and how English bends the others."""

FUNCTION = """a an the this that these those my your his her its our their some any no every each all both i you he she it we they me him
us them who what which when where why how is are was were be been am do does did done have has had can could will would should may might
must and or but if because so that as than then while although of in on at by for with from to into over under about after before between
through during without within up down out off near behind above below again once here there very too also just only not n't don't doesn't
isn't can't won't i'm it's there's one more most much many other another such same own please thanks let""".split()

IRREGULAR = {
    "buy": "bought", "sell": "sold", "pay": "paid", "spend": "spent", "lend": "lent", "send": "sent", "get": "got", "break": "broke broken",
    "build": "built", "make": "made", "take": "took taken", "begin": "began begun", "write": "wrote written", "read": "read",
    "learn": "learnt", "teach": "taught", "understand": "understood", "know": "knew known", "think": "thought", "forget": "forgot forgotten",
    "say": "said", "tell": "told", "speak": "spoke spoken", "ring": "rang rung", "meet": "met", "go": "went gone", "fight": "fought",
    "win": "won", "beat": "beaten", "lose": "lost", "run": "ran running", "swim": "swam swum swimming", "sing": "sang sung",
    "drive": "drove driven", "ride": "rode ridden", "fly": "flew flown", "come": "came", "leave": "left", "hide": "hid hidden",
    "find": "found", "seek": "sought", "see": "saw seen", "hear": "heard", "smell": "smelt", "feel": "felt", "eat": "ate eaten",
    "drink": "drank drunk", "cut": "cutting", "sleep": "slept", "wake": "woke woken", "weep": "wept", "choose": "chose chosen",
    "forbid": "forbade forbidden", "grow": "grew grown", "shrink": "shrank shrunk", "fall": "fell fallen", "throw": "threw thrown",
    "catch": "caught", "hold": "held", "give": "gave given", "steal": "stole stolen", "freeze": "froze frozen", "burn": "burnt",
    "feed": "fed", "rise": "rose risen", "light": "lit", "draw": "drew drawn", "blow": "blew blown", "bear": "bore born", "slay": "slain",
    "quit": "quitting", "put": "putting", "set": "setting", "keep": "kept", "lay": "laid", "stand": "stood", "sit": "sat", "wear": "wore worn",
    "child": "children", "man": "men", "woman": "women", "person": "people", "mouse": "mice", "foot": "feet", "tooth": "teeth",
    "wife": "wives", "knife": "knives", "thief": "thieves", "leaf": "leaves", "wolf": "wolves", "shelf": "shelves", "sheep": "sheep",
    "fish": "fish", "aircraft": "aircraft", "goose": "geese", "life": "lives", "loaf": "loaves",
    "good": "better best", "bad": "worse worst", "far": "farther farthest",
}

VOWELS = "aeiou"
# The last letter of these is doubled: a short vowel between consonants at the end, stressed.
DOUBLED = set("""stop plan shop jog hop chop mix rob drag drop grab hug beg rub pin sip nap trim rip tap scan plug flag chat ship skip slip swap snap
 grip wrap travel cancel equip ban fit tip log program refer prefer occur admit commit submit permit wed big hot wet thin slim sad mad fat red""".split()) - {"mix"}


def forms(word, kind):
    """The forms of a word with itself first; of several words, the first verb or the last noun is bent. Kinds: nouns, verbs, others."""
    if " " in word:
        head, rest = (word.split(" ", 1) if kind == "verbs" else word.rsplit(" ", 1))
        if kind == "verbs":
            return [f"{form} {rest}" for form in forms(head, kind)]
        return [f"{head} {form}" for form in forms(rest, kind)] if kind == "nouns" else [word]
    made = [word]
    if kind == "others":
        if word.endswith("y") and len(word) > 3:
            made += [word[:-1] + "ier", word[:-1] + "iest"] if len(word) < 7 else []
        elif len(word) < 6 and not word.endswith("ly"):
            stem = word + word[-1] if word in DOUBLED else word.removesuffix("e")
            made += [stem + "er", stem + "est"]
    else:
        if word.endswith(("s", "x", "z", "ch", "sh")):
            made.append(word + "es")
        elif word.endswith("y") and word[-2:-1] not in VOWELS:
            made.append(word[:-1] + "ies")
        else:
            made.append(word + "s")
    if kind == "verbs":
        stem = word + word[-1] if word in DOUBLED else word
        ing = stem[:-1] if stem.endswith("e") and not stem.endswith(("ee", "ye", "oe")) else stem
        ing = word[:-2] + "y" if word.endswith("ie") else ing
        made.append(ing + "ing")
        if word not in IRREGULAR:
            made.append(stem + "d" if stem.endswith("e") else word[:-1] + "ied" if word.endswith("y") and word[-2] not in VOWELS else stem + "ed")
    made += IRREGULAR.get(word, "").split()
    return made
