# מה שהמשתמשים רואים, בעברית. אותם מפתחות וארגומנטים כמו ב־en.ftl.

help =
    אני מעבד תמונות ומוצא בהן עצמים.

    שלחו תמונה עם אחת המילים האלה בכיתוב, או השיבו בה לתמונה. אפשר גם כמה ברצף: blur 5, rotate 90
# The mark makes the line run from right to left: its beginning is a filter's name.
help-line = {"\u200F"}{ $filter } – { $what }
help-more =
    שלחו 2–10 תמונות כאלבום עם concat כדי לחבר אותן. תמונה שנשלחת כקובץ נשארת בגודלה המלא.

    פקודות: { $commands }
help-blur = טשטוש; N הוא העוצמה
help-contour = קווי מתאר
help-rotate = סיבוב
help-salt-and-pepper = נקודות לבנות ושחורות
help-concat = חיבור אלבום לתמונה אחת
help-segment = שחור ולבן
help-gray = גוני אפור
help-sharpen = קצוות חדים יותר
help-sepia = כמו תצלום ישן
help-pixelate = ריבועים גדולים; N הוא גודלם
help-resize = הקטנה או הגדלה
help-mirror = שמאל הופך לימין
help-predict = מציאת עצמים

command-start = מה אני יודע לעשות
command-help = מה אני יודע לעשות
command-settings = שפה ורמת ביטחון
command-undo = התמונה שלפני האחרונה
command-cancel = ביטול אלבום שממתין
command-privacy = מה נשמר, ואיך מוחקים

echo = ההודעה המקורית שלך: { $text }
filter-needs-photo = „{ $caption }” צריך תמונה: שלחו תמונה עם הכיתוב הזה, או השיבו בו לתמונה.
error =
    אירעה שגיאה:
    { $what }
    נסו שוב בבקשה.
error-caption-unknown = פעולה לא מוכרת: „{ $word }”. שלחו help לעזרה.
error-caption-nearest = פעולה לא מוכרת: „{ $word }”. האם התכוונתם ל־„{ $nearest }”? שלחו help לעזרה.
error-caption-argument = { $filter }: { $argument } הוא „{ $given }”, אבל מותר: { $allowed }. לדוגמה: { $example }
error-caption-no-argument = { $filter } אינו מקבל ארגומנט, אבל ניתן „{ $given }”.
error-caption-missing = { $filter }: חסר { $argument }; מותר: { $allowed }. לדוגמה: { $example }
error-caption-steps = אפשר לכל היותר { $most } שלבים ברצף.
error-caption-predict = predict חייב להיות השלב האחרון, ופעם אחת בלבד.
error-caption-concat = concat יכול להופיע פעם אחת בלבד.
error-concat-one = צריך להעלות יותר מתמונה אחת כדי לחבר.
error-picture-unknown = אי אפשר לקרוא את הקובץ. שלחו תמונת JPEG, ‏PNG, ‏WebP, ‏GIF או BMP.
error-picture-heic = אי אפשר לקרוא תמונות HEIC ו־AVIF. שלחו כתמונה ולא כקובץ, או המירו ל־JPEG.
error-picture-damaged = התמונה פגומה או חלקית.
error-picture-large = בתמונה { $width }×{ $height } פיקסלים; אפשר לכל היותר { $most } מגה־פיקסלים ו־{ $side } פיקסלים לצלע.
error-result-large = בתוצאה יהיו { $width }×{ $height } פיקסלים; אפשר לכל היותר { $most } מגה־פיקסלים ו־{ $side } פיקסלים לצלע.
error-result-heavy = התוצאה גדולה מ־{ $most } MB, המרב שטלגרם מקבל. תמונה קטנה יותר תעבוד.
error-file-large = הקובץ גדול מ־{ $most } MB, המרב שטלגרם מאפשר לי להוריד.
error-slow = העיבוד של התמונה ארוך מדי. תמונה קטנה יותר תעבוד.
error-gone = התמונה כבר לא נמצאת בטלגרם. שלחו אותה שוב.
error-internal = משהו השתבש אצלנו.
error-not-understood = אני מבין טקסט, תמונות ותמונות שנשלחו כקובץ – אבל לא את זה.
choose = מה לעשות עם התמונה?
choose-album = מה לעשות עם { $count } התמונות?
note-scaled = התמונה הוקטנה כדי להישלח כתמונה. שלחו אותה כקובץ כדי לקבל את הגודל המלא.
note-thin = התמונה ארוכה וצרה מדי, ולכן היא נשלחת כקובץ.
note-lossy = כפי שהיה, הקובץ היה גדול מ־{ $most } MB, המרב שטלגרם מקבל, ולכן הוא נשלח כ־JPEG.
note-joined-scaled = התמונות היו בגדלים שונים: הגדולות הוקטנו.
note-joined-padded = התמונות היו בגדלים שונים: סביב הקטנות יש לבן.
note-more = נעשה שימוש רק ב־{ $most } התמונות הראשונות.

working = מסתכל על התמונה…
predict-found = עצמים שנמצאו:
# The mark makes the line run from right to left: its words are all isolated, so none of them would.
predict-line = {"\u200F"}{ $class }: { $count } ({ $scores })
predict-nothing = לא מצאתי בתמונה עצם שאני מכיר.
predict-failed-object = התמונה אבדה בדרך. שלחו אותה שוב בבקשה.
predict-failed-image = הגלאי אינו יכול לקרוא את התמונה. שלחו תמונה אחרת בבקשה.
predict-failed-large = התמונה גדולה מדי לגלאי. שלחו תמונה קטנה יותר בבקשה.
predict-failed-internal = הגלאי נכשל בתמונה הזאת. נסו שוב מאוחר יותר בבקשה.
predict-slow = זה לוקח יותר מהרגיל. אם התשובה עוד תגיע, היא תופיע כאן; אם לא, שלחו את התמונה שוב בבקשה.

settings = שפה: { $language }
    ביטחון: { $confidence } %. אציג רק עצמים שאני בטוח בהם לפחות במידה הזאת.
undo-nothing = אין לאן לחזור.
undo-done = התמונה הקודמת.
cancel-done =
    { $count ->
        [0] אין אלבום שממתין.
        [one] בוטל אלבום אחד.
       *[other] בוטלו { $count } אלבומים.
    }
privacy =
    אני שומר את ההגדרות, את המזהים של { $undo } התמונות האחרונות (התמונות עצמן נשמרות בטלגרם), וכיתובים במשך { $hours } שעות, כדי לענות לכל אחד פעם אחת. מטקסטים אחרים איני שומר דבר.

    אם ביקשתם „predict”, אני שומר את התמונה ואת התוצאה עד שמי שמפעיל את הבוט מסיר אותן לפי גילן, ואת מה שנמצא עד שתמחקו אותו.

    הכפתור מוחק מייד את כל מה שנשמר על הצ׳אט הזה.
privacy-button = מחיקת הכול
privacy-done = כל מה שנשמר על הצ׳אט הזה נמחק.
rate-limit = זה היה הרבה לדקה אחת. חכו רגע בבקשה.
tap-old = ההודעה ישנה מדי. שלחו את התמונה שוב בבקשה.

# The 80 classes of the detector.
class-person = אדם
class-bicycle = אופניים
class-car = מכונית
class-motorcycle = אופנוע
class-airplane = מטוס
class-bus = אוטובוס
class-train = רכבת
class-truck = משאית
class-boat = סירה
class-traffic-light = רמזור
class-fire-hydrant = ברז כיבוי
class-stop-sign = תמרור עצור
class-parking-meter = מדחן
class-bench = ספסל
class-bird = ציפור
class-cat = חתול
class-dog = כלב
class-horse = סוס
class-sheep = כבשה
class-cow = פרה
class-elephant = פיל
class-bear = דוב
class-zebra = זברה
class-giraffe = ג׳ירפה
class-backpack = תרמיל
class-umbrella = מטרייה
class-handbag = תיק יד
class-tie = עניבה
class-suitcase = מזוודה
class-frisbee = צלחת מעופפת
class-skis = מגלשיים
class-snowboard = סנובורד
class-sports-ball = כדור
class-kite = עפיפון
class-baseball-bat = מחבט בייסבול
class-baseball-glove = כפפת בייסבול
class-skateboard = סקייטבורד
class-surfboard = גלשן
class-tennis-racket = מחבט טניס
class-bottle = בקבוק
class-wine-glass = כוס יין
class-cup = ספל
class-fork = מזלג
class-knife = סכין
class-spoon = כף
class-bowl = קערה
class-banana = בננה
class-apple = תפוח
class-sandwich = כריך
class-orange = תפוז
class-broccoli = ברוקולי
class-carrot = גזר
class-hot-dog = נקניקייה בלחמנייה
class-pizza = פיצה
class-donut = סופגנייה
class-cake = עוגה
class-chair = כיסא
class-couch = ספה
class-potted-plant = עציץ
class-bed = מיטה
class-dining-table = שולחן אוכל
class-toilet = אסלה
class-tv = טלוויזיה
class-laptop = מחשב נייד
class-mouse = עכבר
class-remote = שלט רחוק
class-keyboard = מקלדת
class-cell-phone = טלפון נייד
class-microwave = מיקרוגל
class-oven = תנור
class-toaster = מצנם
class-sink = כיור
class-refrigerator = מקרר
class-book = ספר
class-clock = שעון
class-vase = אגרטל
class-scissors = מספריים
class-teddy-bear = דובון
class-hair-drier = מייבש שיער
class-toothbrush = מברשת שיניים
