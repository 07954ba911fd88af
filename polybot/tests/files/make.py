"""Makes the pictures of this folder: red on the left, blue on the right. Needs Pillow."""

from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
picture = Image.new("RGB", (32, 24), (230, 20, 10))
picture.paste((10, 20, 230), (16, 0, 32, 24))
picture.convert("CMYK").save(HERE / "cmyk.jpg", quality=95)
picture.save(HERE / "progressive.jpg", quality=95, progressive=True)
picture.convert("L").save(HERE / "gray.jpg", quality=95)
picture.quantize(8).save(HERE / "palette.png")
picture.save(HERE / "animated.gif", save_all=True, append_images=[Image.new("RGB", (32, 24), (0, 255, 0))], duration=100)
Image.new("RGB", (1, 1), (1, 2, 3)).save(HERE / "one.png")
