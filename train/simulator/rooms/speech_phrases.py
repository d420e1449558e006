"""What streamers say: a grammar for each talent, and what they all say, in plain words that a machine speaks well."""

from collections.abc import Mapping

from train.simulator.rooms.grammar import Grammar

COMMON: Grammar = {
    "hello": (
        "Hello everyone, welcome to the stream.",
        "Hey, good to see you all {when}.",
        "Welcome in, make yourselves comfortable.",
    ),
    "goodbye": ("That is all for {when}, thank you for watching.", "I have to go now, see you next time."),
    "when": ("today", "tonight", "this evening"),
    "viewer": ("everyone", "my friends", "all of you", "you in the chat"),
    "wow": ("Wow!", "Oh my goodness!", "Yes!", "Unbelievable!", "Come on!", "Look at that!"),
    "thanks": (
        "Thank you so much for the {gift}.",
        "A {gift}, wow, thank you.",
        "Thank you everyone for all the {gifts}.",
        "I see the {gifts}, you are amazing.",
    ),
    "gift": ("gift", "rocket", "rose", "heart", "crown"),
    "gifts": ("gifts", "roses", "hearts", "rockets"),
    "answer": (
        "Somebody asks {question}, well, {reply}.",
        "Good question, {reply}.",
        "I just read {question}, and {reply}.",
        "To answer you, {reply}.",
        "The chat wants to know {question}, so, {reply}.",
    ),
    "question": (
        "how long I will stay",
        "where I am from",
        "how I started",
        "if I am tired",
        "what comes later",
        "how old I am",
        "if I do this every day",
    ),
    "reply": (
        "I think about that a lot",
        "it took me years to learn",
        "I will tell you a little later",
        "the short answer is yes",
        "not really, but I am getting there",
        "honestly I have no idea",
        "ask me again after the break",
    ),
    "idle": (
        "I will be right back.",
        "Give me one minute, please.",
        "I need a glass of water.",
        "Sorry, the connection is slow.",
        "One moment, somebody is at the door.",
    ),
    "after": (
        "That was {verdict}, what did you think of {thing}?",
        "{Verdict}, right? I enjoyed {thing}.",
        "Let me explain what happened with {thing}.",
        "So that was {thing}, and it was {verdict}.",
    ),
    "verdict": ("a lot of fun", "harder than it looks", "one of my best", "better than last time", "really exciting"),
    "Verdict": ("A lot of fun", "Harder than it looks", "One of my best", "Better than last time"),
    "announce": (
        "In a minute {plan}, so stay with me.",
        "Do not go away, next {plan}.",
        "Very soon {plan}, tell your friends.",
        "Get ready, because {plan} right after this.",
        "I promised it, and now {plan}.",
    ),
    "grow": (
        "It is getting better and better, stay here.",
        "Wait for it, the best part is coming.",
        "We are getting close now, do not leave.",
        "Just a little more and you will see it.",
    ),
}

_CHATTING: Grammar = {
    "plan": ("we sit down and talk", "I tell you a story", "we have a long chat"),
    "thing": ("that story", "our talk", "the conversation"),
    "calm": (
        "I was thinking about {topic} {when}.",
        "My {person} told me {claim} about {topic}.",
        "Do you also like {topic}, or is it just me?",
        "Let me tell you a story about {topic}.",
        "When I was younger I never cared about {topic}.",
        "Some people say {topic} is {quality}, but I am not sure.",
    ),
    "peak": (
        "{wow} And then my {person} walked in, can you believe it?",
        "{wow} That is the funniest thing about {topic}.",
        "I am laughing so hard about {topic} right now!",
        "{wow} I have never told anybody this about my {person}!",
    ),
    "topic": ("my old school", "the weather", "my first job", "that new film", "moving house", "my cat", "the weekend"),
    "person": ("mother", "best friend", "brother", "neighbour", "teacher"),
    "claim": ("something strange", "a big secret", "the whole truth", "a funny thing"),
    "quality": ("boring", "great", "the future", "overrated"),
}
_SINGING: Grammar = {
    "plan": ("I sing a new song", "we sing together", "it is time for a song"),
    "thing": ("that song", "the melody", "the high note"),
    "calm": (
        "This next song is about {topic}.",
        "I wrote this melody when I thought of {topic}.",
        "Let me tune the {instrument} first.",
        "Which song do you want to hear, a {style} one or a {style} one?",
        "My voice is a little {state} today, but let us try a {style} song.",
    ),
    "peak": (
        "{wow} Sing it with me, everybody, the {style} part!",
        "{wow} Here comes the high note!",
        "Louder, I want to hear {viewer} sing about {topic}!",
        "{wow} Did you hear that note on the {instrument}?",
    ),
    "lyrics": (
        "Oh {light} over the {place}, carry me {home}.",
        "I will wait by the {place} until the {light} is gone.",
        "Hold my hand, hold my heart, we are almost {home}.",
        "Every {light} in the sky is calling me {home}.",
        "Run with me, run through the {place}, never look back.",
        "And the {light} will fall softly on the {place}.",
        "You said goodbye by the {place}, and I am still {home}.",
        "La la la, the {light} is dancing on the {place}.",
    ),
    "light": ("moon", "morning", "silver star", "candle", "summer rain", "evening sun"),
    "place": ("river", "city", "ocean", "mountain", "garden", "empty road"),
    "home": ("home", "away", "down the line", "through the night"),
    "topic": ("the sea", "a lost friend", "summer nights", "my grandmother", "leaving home"),
    "instrument": ("guitar", "piano", "microphone"),
    "style": ("slow", "sad", "fast", "happy", "old"),
    "state": ("tired", "rough", "warm", "low"),
}
_DANCING: Grammar = {
    "plan": ("I dance for you", "we try the new dance", "the music goes up and I dance"),
    "thing": ("that dance", "the last spin", "the choreography"),
    "calm": (
        "Watch my {part}, it goes {way} on the {beat} beat.",
        "First the {part}, then {way}, nice and slow.",
        "Let me stretch my {part} before we start.",
        "I practised this {move} all week, it goes {way}.",
        "One two three four, {way} and {way}.",
    ),
    "peak": (
        "{wow} Faster now, the {part} and the {move}!",
        "{wow} And the big {move}, {way}!",
        "Turn the music up and dance with me, {way}!",
        "{wow} I nailed the {move} on the {beat} beat!",
    ),
    "part": ("left foot", "right foot", "shoulders", "hips", "arms", "knees"),
    "way": ("to the left", "to the right", "up and down", "forward and back", "all the way around"),
    "beat": ("first", "second", "third", "last"),
    "move": ("spin", "jump", "slide", "wave", "kick"),
}
_PK: Grammar = {
    "plan": ("we start a battle", "I battle another streamer", "a big battle begins"),
    "thing": ("that battle", "the final minute", "our team"),
    "calm": (
        "Our opponent is {state}, and we have {number} minutes left.",
        "We need {number} thousand points to get ahead of the {side} team.",
        "Say hello to the {side} team, they are {state}.",
        "If I lose the battle, I have to {penalty}.",
        "Send your {gifts} to our side, the other team is {state}.",
    ),
    "peak": (
        "{wow} Only {number} seconds left, send everything!",
        "{wow} We are in front, hold the line against the {side} team!",
        "They are catching up, {viewer}, I need {gifts} now!",
        "{wow} We won the round, so they have to {penalty}!",
    ),
    "state": ("very strong", "getting nervous", "far ahead", "a little slow", "really friendly"),
    "number": ("two", "three", "five", "ten", "twenty"),
    "side": ("red", "blue", "other", "northern"),
    "penalty": ("sing a song", "do ten push ups", "eat a lemon", "dance for a minute", "wear the funny hat"),
}
_GAMING: Grammar = {
    "plan": ("we play a game", "we fight the boss", "I start the next level"),
    "thing": ("that fight", "the last level", "the boss"),
    "calm": (
        "I am going to the {place} to find the {item}.",
        "My health is low, so I need the {item}.",
        "There is {enemy} behind the {place}, careful.",
        "The map says the {place} is {way}.",
        "We saved the {item} for the {enemy} in the {place}.",
    ),
    "peak": (
        "{wow} The {enemy} is almost dead, one more hit!",
        "{wow} I got the {item}, did you see that?",
        "Jump, jump, run from the {enemy} in the {place}!",
        "{wow} That was the last {enemy}, we won!",
    ),
    "place": ("castle", "bridge", "forest", "tower", "cave", "village"),
    "item": ("golden key", "big sword", "shield", "potion", "treasure"),
    "enemy": ("a dragon", "the giant", "a wizard", "the robot", "the sniper"),
    "way": ("to the north", "down the river", "very far", "right here"),
}
_EATING: Grammar = {
    "plan": ("we eat the hot noodles", "the food arrives", "I taste something special"),
    "thing": ("that dish", "the hot sauce", "the last bite"),
    "calm": (
        "This {food} is {taste}, with a bit of {extra}.",
        "I cooked the {food} for {number} hours with {extra}.",
        "First I try the {food}, then the {food} with {extra}.",
        "The smell of the {food} is {taste}.",
        "You should eat {food} while it is warm, with {extra}.",
    ),
    "peak": (
        "{wow} The {food} is so hot, my mouth is burning!",
        "{wow} The biggest {food} you have ever seen, in one bite!",
        "I need milk, this {extra} is crazy!",
        "{wow} I finished the whole {food} with {extra}!",
    ),
    "food": ("noodles", "dumplings", "soup", "fried chicken", "rice", "pizza", "seafood"),
    "taste": ("sweet and sour", "very spicy", "so crispy", "rich and soft", "a little salty"),
    "extra": ("garlic", "chili sauce", "lemon", "fresh herbs", "cheese"),
    "number": ("two", "three", "four", "six"),
}
_OUTDOORS: Grammar = {
    "plan": ("we go outside for a walk", "we climb the hill", "I show you the lake"),
    "thing": ("that view", "the climb", "our walk"),
    "calm": (
        "We are walking along the {place}, the air is {air}.",
        "On the left you can see the {place}, and there is {animal}.",
        "It is {number} more miles to the {place}.",
        "This path by the {place} is {air} in the morning.",
        "I met {animal} near the {place} yesterday.",
    ),
    "peak": (
        "{wow} Look at the view from the {place}!",
        "{wow} There is {animal} right in front of us!",
        "We made it to the top, above the {place}!",
        "{wow} The sun comes out over the {place}!",
    ),
    "place": ("river", "mountain", "lake", "forest", "old bridge", "waterfall", "beach"),
    "air": ("fresh", "cold", "quiet", "warm", "windy"),
    "animal": ("a deer", "a fox", "an eagle", "a wild horse", "a big fish"),
    "number": ("two", "three", "four", "six"),
}
_SELLING: Grammar = {
    "plan": ("the big sale starts", "I open the new boxes", "we put new things on the shelf"),
    "thing": ("that offer", "the sale", "the last box"),
    "calm": (
        "This {goods} comes in {color} and {color}.",
        "The {goods} is made of {stuff} and lasts for years.",
        "In the shop the {goods} costs {price} dollars.",
        "Look how soft the {stuff} of this {color} {goods} is.",
        "I use the {color} {goods} myself every day.",
    ),
    "peak": (
        "{wow} Only {price} dollars for the {goods}, right now!",
        "{wow} The last {color} {goods}, three, two, one, go!",
        "Half price, {viewer}, only for the next minute, the {color} {goods}!",
        "{wow} The {goods} is almost sold out, order it now!",
    ),
    "goods": ("jacket", "bag", "lamp", "phone case", "pair of shoes", "blanket", "watch"),
    "color": ("red", "blue", "green", "black", "white"),
    "stuff": ("cotton", "leather", "wood", "steel", "wool"),
    "price": ("ten", "twenty", "thirty", "fifty", "ninety nine"),
}

SPEECH: Mapping[str, Grammar] = {
    "chatting": {**COMMON, **_CHATTING},
    "singing": {**COMMON, **_SINGING},
    "dancing": {**COMMON, **_DANCING},
    "pk": {**COMMON, **_PK},
    "gaming": {**COMMON, **_GAMING},
    "eating": {**COMMON, **_EATING},
    "outdoors": {**COMMON, **_OUTDOORS},
    "selling": {**COMMON, **_SELLING},
}
"""Grammar of each talent; ``calm``, ``peak``, ``plan`` and ``thing`` differ, the other sentences are common."""
