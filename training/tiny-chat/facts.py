"""What the model is taught about the world: small tables, written by hand."""


def table(text: str) -> dict[str, str]:
    """Parses `key: value` pairs separated by semicolons or new lines."""
    pairs = (entry.split(":", 1) for entry in text.replace("\n", ";").split(";") if entry.strip())
    return {key.strip(): value.strip() for key, value in pairs}


CAPITALS = table("""
France: Paris; Germany: Berlin; Italy: Rome; Spain: Madrid; Portugal: Lisbon; England: London
the United Kingdom: London; Ireland: Dublin; Scotland: Edinburgh; the Netherlands: Amsterdam
Belgium: Brussels; Switzerland: Bern; Austria: Vienna; Poland: Warsaw; Sweden: Stockholm; Norway: Oslo
Denmark: Copenhagen; Finland: Helsinki; Iceland: Reykjavik; Greece: Athens; Turkey: Ankara; Hungary: Budapest
Czechia: Prague; Romania: Bucharest; Bulgaria: Sofia; Ukraine: Kyiv; Russia: Moscow; Croatia: Zagreb
Egypt: Cairo; Kenya: Nairobi; Morocco: Rabat; Ghana: Accra; Ethiopia: Addis Ababa; Nigeria: Abuja
Japan: Tokyo; China: Beijing; India: New Delhi; South Korea: Seoul; Thailand: Bangkok; Vietnam: Hanoi
Indonesia: Jakarta; the Philippines: Manila; Australia: Canberra; New Zealand: Wellington; Nepal: Kathmandu
the United States: Washington, D.C.; Canada: Ottawa; Mexico: Mexico City; Brazil: Brasília; Argentina: Buenos Aires
Chile: Santiago; Peru: Lima; Colombia: Bogotá; Cuba: Havana; Israel: Jerusalem; Iran: Tehran; Iraq: Baghdad
""")

UNKNOWN_COUNTRIES = """Zimbabwe|Bhutan|Fiji|Suriname|Latvia|Malta|Gabon|Togo|Laos|Oman|Qatar|Belize|Samoa|Palau|
Bolivia|Paraguay|Mongolia|Zambia|Rwanda|Eritrea|Tonga|Andorra|Monaco|Atlantis|Narnia|Wonderland|Mordor|the moon|
Westeros|Zubrowka|Elbonia|Ruritania|Freedonia|Genovia|Wakanda|Gondor|Utopia""".replace("\n", "").split("|")

COLOURS = table("""
the sky: blue; grass: green; snow: white; blood: red; a banana: yellow; a lemon: yellow; the sun: yellow; coal: black
milk: white; a tomato: red; a strawberry: red; an orange: orange; a carrot: orange; a pumpkin: orange; a frog: green
a leaf: green; chocolate: brown; the sea: blue; a flamingo: pink; a pig: pink; a lime: green; a cherry: red
the night sky: black; a cloud: white; an elephant: grey; a fire engine: red; an eggplant: purple; a plum: purple
sand: yellow; gold: yellow; silver: grey; a cucumber: green; a raven: black; a swan: white
rice: white; salt: white; coffee: brown; a bear: brown; a blueberry: blue; broccoli: green; a polar bear: white
""")

MIXES = table("""
red and yellow: orange; blue and yellow: green; red and blue: purple; black and white: grey; red and white: pink
yellow and red: orange; yellow and blue: green; blue and red: purple; white and black: grey; white and red: pink
""")

OPPOSITES = table("""
hot: cold; big: small; tall: short; fast: slow; happy: sad; old: young; new: old; light: dark; day: night; up: down
left: right; open: closed; full: empty; hard: soft; wet: dry; high: low; near: far; rich: poor; strong: weak; loud: quiet
early: late; good: bad; clean: dirty; heavy: light; thick: thin; wide: narrow; first: last; begin: end; win: lose
love: hate; true: false; push: pull; buy: sell; come: go; inside: outside; above: below; always: never
easy: difficult; cheap: expensive; brave: afraid; sweet: bitter; sharp: blunt; right: wrong; same: different; black: white
north: south; east: west; start: stop; laugh: cry; give: take; question: answer; friend: enemy; summer: winter
cold: hot; small: big; slow: fast; sad: happy; dark: light; night: day; down: up; closed: open; empty: full; soft: hard
dry: wet; low: high; far: near; poor: rich; weak: strong; quiet: loud; late: early; bad: good; dirty: clean; thin: thick
last: first; false: true; never: always; outside: inside; difficult: easy; wrong: right; yes: no; in: out; on: off
""")

DEFINITIONS = table("""
a cat: a small animal with soft fur that many people keep at home; a dog: a friendly animal that many people keep at home
a bird: an animal with feathers and two wings; a fish: an animal that lives in water and swims; a horse: a large animal that people can ride
a cow: a large farm animal that gives milk; a tree: a tall plant with a trunk, branches and leaves; a flower: the colourful part of a plant
a river: a long stream of water that flows to the sea; a mountain: a very high piece of land; an island: a piece of land with water all around it
the sun: the star at the centre of our solar system; the moon: a ball of rock that travels around the Earth; a star: a very hot ball of gas far away
the Earth: the planet that we live on; a planet: a large round body that travels around a star; rain: water that falls from clouds in drops
snow: frozen water that falls from clouds in white flakes; wind: moving air; ice: frozen water; fire: hot, bright and burning gas
a computer: a machine that follows instructions and works with data; a book: a set of pages with words or pictures; a phone: a device for talking with people far away
a car: a vehicle with four wheels and a motor; a bicycle: a vehicle with two wheels that you move with your feet; a train: a row of wagons that runs on rails
a school: a place where people learn; a hospital: a place where sick people get help; a library: a place with many books to read and borrow
a teacher: a person who helps others to learn; a doctor: a person who helps sick people; a farmer: a person who grows food; a friend: a person you like and trust
music: sound that is made to be beautiful; a song: music with words; a language: a way to say things with words; a number: a sign for how many things there are
water: a clear liquid that all living things need; bread: a food made from flour and water and baked in an oven; milk: a white drink that comes from cows
an apple: a round fruit that grows on trees; a house: a building where people live; a king: a man who rules a country; a queen: a woman who rules a country
a dream: a story that you see while you sleep; a desert: a very dry place with little rain; a forest: a large place full of trees; the sea: a very large area of salt water
a program: a list of instructions for a computer; the internet: a network that connects computers around the world; a robot: a machine that can do work by itself
a clock: a machine that shows the time; a map: a picture of a place seen from above; a bridge: a way over a river or a road; a bee: a small insect that makes honey
a spider: a small animal with eight legs; a whale: a very large animal that lives in the sea; a penguin: a bird that swims well but cannot fly
""")

SOUNDS = table("""
a cat: meow; a dog: woof; a cow: moo; a sheep: baa; a duck: quack; a pig: oink; a lion: roar; a horse: neigh; a frog: croak
a bee: buzz; a snake: hiss; a rooster: cock-a-doodle-doo; an owl: hoot; a mouse: squeak; a wolf: howl; a crow: caw
""")

BABIES = table("""
a cat: a kitten; a dog: a puppy; a cow: a calf; a sheep: a lamb; a horse: a foal; a duck: a duckling; a goose: a gosling
a bear: a cub; a lion: a cub; a pig: a piglet; a chicken: a chick; a frog: a tadpole; a goat: a kid; a kangaroo: a joey
""")

LEGS = table("""
a dog: four; a cat: four; a horse: four; a spider: eight; an ant: six; a bee: six; a bird: two; a person: two; a cow: four
a fish: no; a snake: no; a chicken: two; an elephant: four; an insect: six; an octopus: no; a duck: two; a sheep: four
""")

AMOUNTS = table("""
days are in a week: seven; months are in a year: twelve; hours are in a day: twenty-four; minutes are in an hour: sixty
seconds are in a minute: sixty; days are in a year: 365; weeks are in a year: 52; seasons are there: four
letters are in the alphabet: twenty-six; sides does a triangle have: three; sides does a square have: four
continents are there: seven; planets are in the solar system: eight; fingers are on one hand: five; eggs are in a dozen: twelve
legs does a table have: four; wheels does a car have: four; wheels does a bicycle have: two; eyes do you need to wink: one
metres are in a kilometre: one thousand; centimetres are in a metre: one hundred; colours does a rainbow have: seven
sides does a hexagon have: six; sides does a pentagon have: five; years are in a century: one hundred; players are in a football team: eleven
""")

QUESTIONS = table("""
Who wrote Romeo and Juliet?: William Shakespeare wrote Romeo and Juliet.
Who wrote Hamlet?: William Shakespeare wrote Hamlet.
Who painted the Mona Lisa?: Leonardo da Vinci painted the Mona Lisa.
Who was the first person on the moon?: Neil Armstrong was the first person on the moon.
What is the largest planet?: Jupiter is the largest planet in our solar system.
What is the smallest planet?: Mercury is the smallest planet in our solar system.
Which planet is the closest to the sun?: Mercury is the closest planet to the sun.
Which planet is called the red planet?: Mars is called the red planet.
What is the largest ocean?: The Pacific is the largest ocean.
What is the highest mountain?: Mount Everest is the highest mountain on Earth.
What is the longest river?: The Nile is often called the longest river.
What is the largest animal?: The blue whale is the largest animal.
What is the fastest animal on land?: The cheetah is the fastest animal on land.
What is the tallest animal?: The giraffe is the tallest animal.
What is the largest country?: Russia is the largest country.
What is the smallest country?: Vatican City is the smallest country.
At what temperature does water boil?: Water boils at 100 degrees Celsius.
At what temperature does water freeze?: Water freezes at 0 degrees Celsius.
What do bees make?: Bees make honey.
What do cows eat?: Cows eat grass.
What do plants need to grow?: Plants need light, water and air to grow.
What do we breathe?: We breathe air.
What is water made of?: Water is made of hydrogen and oxygen.
Where does the sun rise?: The sun rises in the east.
Where does the sun set?: The sun sets in the west.
Where is the Eiffel Tower?: The Eiffel Tower is in Paris.
Where is Big Ben?: Big Ben is in London.
Where do fish live?: Fish live in water.
Where do penguins live?: Most penguins live in the cold south of the world.
Where do polar bears live?: Polar bears live near the North Pole.
What language do people speak in France?: People speak French in France.
What language do people speak in Germany?: People speak German in Germany.
What language do people speak in Spain?: People speak Spanish in Spain.
What language do people speak in Brazil?: People speak Portuguese in Brazil.
What language do people speak in Japan?: People speak Japanese in Japan.
Which continent is Egypt in?: Egypt is in Africa.
Which continent is Brazil in?: Brazil is in South America.
Which continent is Japan in?: Japan is in Asia.
Which continent is France in?: France is in Europe.
What is the name of our galaxy?: Our galaxy is called the Milky Way.
What is our star called?: Our star is called the sun.
Why is the sky blue?: The air scatters blue light more than red light, so the sky looks blue.
Why do we sleep?: We sleep so that the body and the mind can rest.
Why do leaves fall in autumn?: Trees drop their leaves to save water in the cold months.
Why does it rain?: Water rises into the air, cools down in clouds and falls as rain.
Why is the sea salty?: Rivers carry salt from rocks into the sea.
Why do birds fly south?: Many birds fly south in winter to find food and warm weather.
What comes first, thunder or lightning?: We see the lightning first and hear the thunder later.
What do caterpillars become?: Caterpillars become butterflies.
What is the season after winter?: Spring comes after winter.
What is the season after summer?: Autumn comes after summer.
What is the coldest season?: Winter is the coldest season.
What is the warmest season?: Summer is the warmest season.
""")

TRUE_CLAIMS = """fire is hot|ice is cold|the sky is blue|grass is green|birds can fly|fish can swim|the Earth is round|water is wet|
a dog is an animal|a rose is a flower|Paris is in France|two is smaller than three|sugar is sweet|the sun is a star|
lemons are sour|snow is white|cats have whiskers|a week has seven days|elephants are big|mice are small|
trees are plants|bees make honey|the moon is smaller than the Earth|winter is cold|London is in England""".replace("\n", "").split("|")

FALSE_CLAIMS = table("""
fire is cold: fire is hot; ice is hot: ice is cold; the sky is green: the sky is blue; grass is red: grass is green; pigs can fly: pigs cannot fly
fish can walk: fish swim; the Earth is flat: the Earth is round; a dog is a plant: a dog is an animal; Paris is in Germany: Paris is in France
five is smaller than three: five is larger than three; sugar is salty: sugar is sweet; the moon is a star: the moon is made of rock
snow is black: snow is white; a week has eight days: a week has seven days; elephants are small: elephants are big; mice are big: mice are small
cows lay eggs: chickens lay eggs; the sun is cold: the sun is very hot; bananas are blue: bananas are yellow; cats can talk: cats cannot talk
London is in Spain: London is in England; trees are animals: trees are plants; penguins can fly: penguins cannot fly
""")

KINDS = {
    "fruits": "apple|banana|pear|orange|cherry|grape|plum|peach|lemon|mango|kiwi|strawberry".split("|"),
    "animals": "dog|cat|horse|lion|tiger|bear|elephant|rabbit|fox|wolf|sheep|cow".split("|"),
    "colours": "red|blue|green|yellow|orange|purple|pink|brown|black|white".split("|"),
    "vegetables": "carrot|potato|onion|cabbage|spinach|broccoli|pea|bean|leek|pepper".split("|"),
    "birds": "eagle|owl|robin|sparrow|penguin|duck|swan|crow|parrot|pigeon".split("|"),
    "planets": "Mercury|Venus|Earth|Mars|Jupiter|Saturn|Uranus|Neptune".split("|"),
    "countries": "France|Germany|Spain|Italy|Japan|Brazil|Egypt|Canada|India|Kenya".split("|"),
    "cities": "Paris|London|Berlin|Rome|Tokyo|Madrid|Cairo|Lima|Oslo|Vienna".split("|"),
    "drinks": "water|tea|coffee|milk|juice|lemonade|cocoa".split("|"),
    "flowers": "rose|tulip|daisy|lily|sunflower|violet".split("|"),
    "sports": "football|tennis|swimming|running|basketball|hockey|skiing".split("|"),
    "instruments": "piano|guitar|violin|drum|flute|trumpet|harp".split("|"),
    "vehicles": "car|bus|train|bicycle|boat|plane|tram".split("|"),
    "tools": "hammer|saw|drill|screwdriver|ladder|spade".split("|"),
    "programming languages": "Python|TypeScript|Go|Rust|Java|C".split("|"),
}

WORDS = {  # English: Spanish, French, German, Italian
    "hello": ("hola", "bonjour", "hallo", "ciao"), "thank you": ("gracias", "merci", "danke", "grazie"),
    "goodbye": ("adiós", "au revoir", "auf Wiedersehen", "arrivederci"), "yes": ("sí", "oui", "ja", "sì"),
    "no": ("no", "non", "nein", "no"), "please": ("por favor", "s'il vous plaît", "bitte", "per favore"),
    "cat": ("gato", "chat", "Katze", "gatto"), "dog": ("perro", "chien", "Hund", "cane"),
    "house": ("casa", "maison", "Haus", "casa"), "water": ("agua", "eau", "Wasser", "acqua"),
    "bread": ("pan", "pain", "Brot", "pane"), "friend": ("amigo", "ami", "Freund", "amico"),
    "book": ("libro", "livre", "Buch", "libro"), "red": ("rojo", "rouge", "rot", "rosso"),
    "one": ("uno", "un", "eins", "uno"), "two": ("dos", "deux", "zwei", "due"), "three": ("tres", "trois", "drei", "tre"),
    "sun": ("sol", "soleil", "Sonne", "sole"), "moon": ("luna", "lune", "Mond", "luna"),
    "milk": ("leche", "lait", "Milch", "latte"), "good morning": ("buenos días", "bonjour", "guten Morgen", "buongiorno"),
}
LANGUAGES = ["Spanish", "French", "German", "Italian"]

DAYS = "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday".split("|")
MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December".split("|")
MONTH_DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
NUMBERS = "zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen|twenty".split("|")
NAMES = """Anna|Ben|Clara|David|Emma|Felix|Grace|Henry|Ida|Jack|Kate|Leo|Maria|Nina|Oscar|Paul|Rosa|Sam|Tom|Vera|Will|Zoe|
Alice|Bob|Charlie|Daniel|Eva|Frank|George|Hannah|Ivan|Julia|Karl|Lucy|Max|Nora|Oliver|Peter|Robin|Sarah|Tim|Lena|John|Mary|
Priya|Omar|Yuki|Chen|Fatima|Aisha|Diego|Sofia|Pierre|Lars|Ingrid|Kofi|Amara|Ali|Mei|Raj|Alex|Chris|Sasha|Mike|Jane|Linda""".replace("\n", "").split("|")
