"""Words that name COCO's 80 categories in captions: the names, their synonyms and their plurals.

A caption says "man" or "skier" where COCO's boxes say "person". The table lists for each category the words
and phrases that people use for it in captions; the plural of each counts too, regular or irregular. Words
that mostly mean something else ("table" for "dining table" is in, "orange" is in, "play" is not) were judged
by hand. A name of several words stands at its last word: "hydrant" of "fire hydrant".

Categories: Lin et al., "Microsoft COCO", ECCV 2014. The synonyms are this project's own choice.
"""

from collections.abc import Iterator

from wordsight.inflection import plural

SYNONYMS: dict[str, str] = {  # separated by commas, without plurals
    "person": "man, woman, boy, girl, child, kid, lady, guy, gentleman, baby, toddler, people, player, "
    "rider, skier, surfer, skateboarder, snowboarder, cyclist, bicyclist, biker, motorcyclist, pedestrian, "
    "couple, crowd, audience, batter, catcher, pitcher, umpire, officer, policeman, worker, chef, "
    "male, female, adult, teenager, teen, bride, groom, student, spectator, driver, passenger, family, "
    "group of people",
    "bicycle": "bike",
    "car": "automobile, vehicle, sedan, suv, taxi, cab, minivan",
    "motorcycle": "motorbike, motor bike, motor cycle, bike, moped, scooter",
    "airplane": "plane, aeroplane, jet, aircraft, airliner, jetliner, biplane",
    "bus": "double decker, doubledecker",
    "train": "locomotive, tram, subway, trolley",
    "truck": "pickup, pickup truck, pick up truck, lorry",
    "boat": "ship, canoe, kayak, sailboat, ferry, yacht, raft, gondola",
    "traffic light": "stoplight, stop light, traffic signal, street light signal",
    "fire hydrant": "hydrant, fireplug",
    "stop sign": "stopsign",
    "parking meter": "meter",
    "bench": "park bench",
    "bird": "duck, goose, seagull, gull, pigeon, parrot, swan, owl, ostrich, eagle, hawk, hummingbird, "
    "flamingo, pelican, chicken, rooster, penguin, crow",
    "cat": "kitten, kitty",
    "dog": "puppy, pup, doggy, poodle, labrador, terrier, dachshund, bulldog",
    "horse": "pony, foal, colt, mare, stallion",
    "sheep": "lamb, ram, ewe",
    "cow": "cattle, bull, calf, ox, steer",
    "elephant": "",
    "bear": "polar bear, grizzly, grizzly bear, brown bear, black bear, cub",
    "zebra": "",
    "giraffe": "",
    "backpack": "back pack, rucksack, knapsack",
    "umbrella": "parasol",
    "handbag": "purse, hand bag, tote",
    "tie": "necktie, bow tie, neck tie",
    "suitcase": "luggage, suit case, briefcase",
    "frisbee": "disc",
    "skis": "ski",
    "snowboard": "snow board",
    "sports ball": "ball, baseball, soccer ball, tennis ball, basketball, football, volleyball",
    "kite": "",
    "baseball bat": "bat",
    "baseball glove": "glove, mitt, catcher's mitt",
    "skateboard": "skate board",
    "surfboard": "surf board",
    "tennis racket": "racket, racquet, tennis racquet",
    "bottle": "wine bottle, beer bottle, water bottle",
    "wine glass": "glass, wineglass, goblet",
    "cup": "mug, coffee cup, glass, coffee mug",
    "fork": "",
    "knife": "",
    "spoon": "",
    "bowl": "",
    "banana": "",
    "apple": "",
    "sandwich": "burger, hamburger, panini, sub, wrap",
    "orange": "",
    "broccoli": "",
    "carrot": "",
    "hot dog": "hotdog, frankfurter",
    "pizza": "",
    "donut": "doughnut",
    "cake": "cupcake, birthday cake, wedding cake, cheesecake",
    "chair": "armchair, seat, stool, lounge chair, recliner",
    "couch": "sofa, loveseat, futon",
    "potted plant": "plant, houseplant, flower pot, pot plant",
    "bed": "",
    "dining table": "table, desk",
    "toilet": "urinal, toilet bowl, commode",
    "tv": "television, tv screen, tv set, monitor, tv monitor",
    "laptop": "computer, laptop computer, notebook computer, macbook",
    "mouse": "computer mouse",
    "remote": "remote control, controller, wii remote, wiimote, game controller, wii controller",
    "keyboard": "computer keyboard",
    "cell phone": "phone, cellphone, smartphone, mobile phone, iphone, smart phone, telephone",
    "microwave": "microwave oven",
    "oven": "stove, range",
    "toaster": "toaster oven",
    "sink": "wash basin, basin, washbasin",
    "refrigerator": "fridge, freezer",
    "book": "novel, textbook",
    "clock": "clock tower, clock face, alarm clock",
    "vase": "",
    "scissors": "scissor, shears",
    "teddy bear": "teddy, stuffed bear, stuffed animal, bear",
    "hair drier": "hair dryer, blow dryer, hairdryer, blow drier",
    "toothbrush": "tooth brush",
}


def spellings(category: str) -> Iterator[tuple[str, ...]]:
    """The phrases that name a category in captions, each as its lower-case words.

    A category that is not COCO's has its own name and the plural of that.
    """
    others = SYNONYMS.get(category, "").split(",")
    for phrase in (category, *others):
        words = phrase.lower().split()
        if words:
            yield tuple(words)
            yield (*words[:-1], plural(words[-1]))
