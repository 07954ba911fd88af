# What users see, in English. Every key and argument is in he.ftl, too: a test holds them equal.
# Filter words, arguments and examples stay as they are written in a caption.

help =
    I filter photos and find objects in them.

    Send a photo with one of these words as its caption, or reply with it to a photo. Several in a row work, too: blur 5, rotate 90
help-line = { $filter } – { $what }
help-more =
    Send 2–10 photos as an album with concat to put them together. Send a picture as a file to keep its full size.

    Commands: { $commands }
help-blur = soften it; N is the strength
help-contour = edges
help-rotate = turn it
help-salt-and-pepper = white and black dots
help-concat = put an album together
help-segment = black and white
help-gray = shades of gray
help-sharpen = clearer edges
help-sepia = like an old photograph
help-pixelate = large squares; N is their size
help-resize = smaller or larger
help-mirror = left becomes right
help-predict = find objects

command-start = What I can do
command-help = What I can do
command-settings = Language and confidence
command-undo = The picture before the last one
command-cancel = Call off an album that is waiting
command-privacy = What I keep, and how to delete it

echo = Your original message: { $text }
filter-needs-photo = “{ $caption }” needs a photo: send one with that caption, or reply with it to a photo.
error =
    An error has occurred:
    { $what }
    Please try again.
error-caption-unknown = Invalid image action specified: “{ $word }”. Please refer to the 'help' for assistance.
error-caption-nearest = Invalid image action specified: “{ $word }”. Did you mean “{ $nearest }”? Please refer to the 'help' for assistance.
error-caption-argument = { $filter }: { $argument } is “{ $given }”, but may be: { $allowed }. For example: { $example }
error-caption-no-argument = { $filter } takes no argument, but “{ $given }” was given.
error-caption-missing = { $filter }: { $argument } is missing; it may be: { $allowed }. For example: { $example }
error-caption-steps = At most { $most } steps in a row are possible.
error-caption-predict = predict has to be the last step, and only once.
error-caption-concat = concat can be there only once.
error-concat-one = You need to upload more than one image in order to concat.
error-picture-unknown = I cannot read this file. Send a JPEG, PNG, WebP, GIF or BMP picture.
error-picture-heic = I cannot read HEIC and AVIF pictures. Send it as a photo, not as a file, or convert it to JPEG.
error-picture-damaged = This picture is damaged or incomplete.
error-picture-large = This picture has { $width }×{ $height } pixels; I take at most { $most } megapixels and { $side } pixels a side.
error-result-large = The result would have { $width }×{ $height } pixels; at most { $most } megapixels and { $side } pixels a side are possible.
error-result-heavy = The result is larger than { $most } MB, which is the most that Telegram takes. A smaller picture will work.
error-file-large = This file is larger than { $most } MB, which is the most that Telegram lets me fetch.
error-slow = This picture takes too long. A smaller one will work.
error-gone = Telegram does not have this picture any more. Send it again.
error-internal = Something went wrong on our side.
error-not-understood = I understand text, photos, and pictures sent as files – not this.
choose = What shall I do with it?
choose-album = What shall I do with these { $count } photos?
note-scaled = The picture was scaled down to fit into a photo. Send it as a file to get the full size.
note-thin = The picture is too long and thin for a photo, so here it is as a file.
note-lossy = As it was, the file would be larger than the { $most } MB that Telegram takes, so here it is as a JPEG.
note-joined-scaled = The photos had different sizes: the larger ones were scaled down.
note-joined-padded = The photos had different sizes: the smaller ones have white around them.
note-more = Only the first { $most } photos were used.

working = Looking at the picture…
predict-found = Detected objects:
predict-line = { $class }: { $count } ({ $scores })
predict-nothing = I found no object in this picture that I know.
predict-failed-object = The picture got lost on its way. Please send it again.
predict-failed-image = The detector cannot read this picture. Please send another one.
predict-failed-large = This picture is too large for the detector. Please send a smaller one.
predict-failed-internal = The detector failed on this picture. Please try again later.
predict-slow = This takes longer than it should. If the answer still comes, it will appear here; otherwise, please send the picture again.

settings = Language: { $language }
    Confidence: { $confidence } %. I show only objects that I am at least that sure of.
undo-nothing = There is nothing to go back to.
undo-done = The picture before.
cancel-done =
    { $count ->
        [0] No album is waiting.
        [one] Called off one album.
       *[other] Called off { $count } albums.
    }
privacy =
    I keep your settings, the ids of the last { $undo } pictures (Telegram keeps the pictures themselves), and captions for { $hours } hours, so that I answer each once. Of other texts I keep nothing.

    If you ask for “predict”, I keep the photo and the result until whoever runs this bot has them removed by age, and what was found until you delete it.

    The button deletes everything that I keep of this chat, at once.
privacy-button = Delete everything
privacy-done = Everything that I kept of this chat is deleted.
rate-limit = That was a lot in one minute. Please wait a moment.
tap-old = This message is too old. Please send the picture again.

# The 80 classes of the detector.
class-person = Person
class-bicycle = Bicycle
class-car = Car
class-motorcycle = Motorcycle
class-airplane = Airplane
class-bus = Bus
class-train = Train
class-truck = Truck
class-boat = Boat
class-traffic-light = Traffic light
class-fire-hydrant = Fire hydrant
class-stop-sign = Stop sign
class-parking-meter = Parking meter
class-bench = Bench
class-bird = Bird
class-cat = Cat
class-dog = Dog
class-horse = Horse
class-sheep = Sheep
class-cow = Cow
class-elephant = Elephant
class-bear = Bear
class-zebra = Zebra
class-giraffe = Giraffe
class-backpack = Backpack
class-umbrella = Umbrella
class-handbag = Handbag
class-tie = Tie
class-suitcase = Suitcase
class-frisbee = Frisbee
class-skis = Skis
class-snowboard = Snowboard
class-sports-ball = Sports ball
class-kite = Kite
class-baseball-bat = Baseball bat
class-baseball-glove = Baseball glove
class-skateboard = Skateboard
class-surfboard = Surfboard
class-tennis-racket = Tennis racket
class-bottle = Bottle
class-wine-glass = Wine glass
class-cup = Cup
class-fork = Fork
class-knife = Knife
class-spoon = Spoon
class-bowl = Bowl
class-banana = Banana
class-apple = Apple
class-sandwich = Sandwich
class-orange = Orange
class-broccoli = Broccoli
class-carrot = Carrot
class-hot-dog = Hot dog
class-pizza = Pizza
class-donut = Donut
class-cake = Cake
class-chair = Chair
class-couch = Couch
class-potted-plant = Potted plant
class-bed = Bed
class-dining-table = Dining table
class-toilet = Toilet
class-tv = TV
class-laptop = Laptop
class-mouse = Mouse
class-remote = Remote
class-keyboard = Keyboard
class-cell-phone = Cell phone
class-microwave = Microwave
class-oven = Oven
class-toaster = Toaster
class-sink = Sink
class-refrigerator = Refrigerator
class-book = Book
class-clock = Clock
class-vase = Vase
class-scissors = Scissors
class-teddy-bear = Teddy bear
class-hair-drier = Hair drier
class-toothbrush = Toothbrush
