"""Plain English words for questions that the model must decline; none of them is taught as a fact."""

NOUNS = """accident account actor address advice agreement airport alarm album allergy ambulance anchor angle antenna apartment appointment
archive argument armour army arrow artist ash atom attic audience auction author avenue axis badge bakery balcony ballot banker barrel
battle beam bearing beard belt benchmark billing blanket blender blog blood boiler bolt bond border bottle boundary bowl bracelet brake
branch brick broker brush bucket budget bug bullet bus butcher cable cactus calendar camera campaign canal candidate candle canvas carbon
career cargo carpet castle category cathedral cave ceiling cell cement century ceremony certificate chain chairman champion channel chapter
charger charity chemistry chimney choir circuit citizen clause client cliff climate clinic coach coast code coin colleague college colony
comet comedy committee company compass competitor complaint composer concert conference container contest contract copper corner council
coupon court cousin crane crater creek crew crime crisis crop crystal culture curtain curve customer cyclone dam dashboard database deadline
debate debt decade decree deposit detective device diagram dialect diesel diet diploma discount disease district diver document domain donor
draft drawer driver drought drug duke dust dynasty earthquake editor election elevator email embassy emperor empire employee enzyme engine engineer
envelope episode equation escape estate event evidence exam exhibition expert export fabric factor factory fence ferry festival fever fiction
file filter firewall firm flag flood flour flute folder footnote forecast formula fortress fossil foundation fountain fraction frame franchise
freight fridge frontier fuel function fund funeral fungus galaxy gallery garage gasoline gate gear gene general genre glacier glove goal governor
grammar graph gravel grid guitar gun harbour hardware harvest headline heating helmet herb hero highway hormone horizon hostel hotel household
hurricane idea immigrant import incident income index industry infection injury ink insect inspector insurance interest interview invoice iron
issue jacket jewel journal journey judge jungle jury kernel kettle keyboard kidney kitchen knee knot label laboratory lamp landlord laptop laser
latitude law lawyer leader leather lecture legend lens lever licence lighthouse lime liquid literature loan lobby location lock log lung magazine
magnet mail mall manager manual manuscript marble margin market marriage mask matrix mayor meadow meaning measure medal medicine meeting melody
memo memory merchant metal meteor method microscope mineral minister mirror missile mistake mixture molecule monarch monk monument mortgage motor
movie muscle museum myth nation nerve network newspaper nitrogen nobility novel nurse oak ocean offer office oil option orbit orchestra order
organ outlet oven oxygen package palace panel parade parameter parcel parliament partner passenger passport patch patient payment peninsula pension
percent period permit pharmacy phase philosopher photo phrase pilot pipe pixel plaster plastic plot plug podcast poison policy politician pollution
pond port portrait poster powder prayer predator premium prison prize problem processor producer professor profit project protein protocol province
pump puppet purchase puzzle pyramid quantity quarter query queue quota radar radio railway rank rate ratio reactor receipt recipe
record refund region register regulation rent repair report republic request reservoir resident resource restaurant result review revolution
ridge rifle ritual rival roof root router rumour sail salary sample sandal satellite sauce scandal schedule scheme scholar scientist score screen
script sculpture season secretary section senator sensor sequence series server session settlement shadow shelf shelter shield shipment shirt shuttle
signal signature silk skeleton skin skull slide slogan slope soap socket software soil soldier solution soup source spacecraft species spectrum
speech speed spreadsheet stadium stage stamp statement station statue steel stomach storage storm strategy stream street strike studio style subject
subway suitcase supplier surface surgeon surgery survey sweater switch symbol symptom syndrome system tablet tailor tank tape target tariff tax taxi
team telescope temple tenant tensor terminal territory theatre theory therapy thread ticket tide tile timber tissue title tobacco tournament tower
trade tradition traffic trailer treaty trial tribe trophy truck tunnel turbine tyre umbrella uncle uniform union universe upgrade vaccine valley valve
variable vault vector vendor verdict version vessel victim village violin virus visa vitamin volcano voltage volume vote voyage wage wallet warehouse
warrior watch weapon website wedding weight wheat widget wifi window winner wire wizard wool worker workshop wound yacht yield zone""".split()

VERBS = """accept adjust analyse apply approve arrange assemble attack avoid balance bend block boost borrow break build burn buy cancel carry
catch change charge check choose clean climb collect combine compare compile configure connect control convert cook copy correct cut debug
decode defend delete deliver deploy describe design destroy detect develop disable discover divide download drive drop edit encrypt estimate
evaluate exchange export extract fill find fix follow format freeze generate grow hack hide hire identify improve increase inspect install
interpret invest join kill launch learn lease lift load locate lock manage measure melt merge migrate monitor move negotiate open optimise
order organise paint park patch pay plan polish predict prepare prevent print process produce program protect prove publish pull push rank
reach read rebuild recover recycle reduce refactor remove rename render rent repair replace report reset resize restore review rewrite run
save scan schedule sell send share ship sign simulate solve sort split start steal store study submit summarise survive switch teach test
throw track trade train transfer translate treat trust tune type understand update upgrade use validate verify visit vote wash watch weigh win""".split()

ADJECTIVES = """ancient average best biggest blue broken cheap chemical chronic civil common complex cubic daily deep digital dirty double early
eastern electric famous fast fatal federal final foreign free French frozen general German global hidden historic ideal illegal industrial
international Italian largest late legal local longest magnetic main medical medieval military minimum missing modern monthly musical national
natural new northern nuclear official old oldest online optimal organic original perfect physical plastic political poor popular private public
random rare royal rural safe second secret senior serious sharp simple solar southern special standard strange strong technical third toxic
typical unique urban used virtual western wild wooden wrong yearly young 14th 3rd 19th-century""".split()

PLACES = """Luxembourg Byzantium Persia Texas Siberia Bavaria Scotland Venice Singapore Dubai Chicago Sydney Manhattan Antarctica Patagonia Sicily
Alaska Jupiter Babylon Sparta Tibet Hawaii Florida Ohio Milan Zurich Seattle Boston Toronto Mumbai Shanghai Barcelona Munich Hamburg Lyon Geneva""".split()
