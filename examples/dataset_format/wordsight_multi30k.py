"""A data-set format for wordsight: Multi30k, whose captions and picture names are parallel text files.

Line i of ``train.en`` is the caption of the picture that line i of ``train_images.txt`` names. Every command
recognizes such a folder, and a configuration reads it: ``[data]  name = "multi30k"  language = "de"``.
"""

from pathlib import Path

from wordsight import CaptionDataset, Captioned

NAMES = "_images.txt"


class Multi30k(CaptionDataset):
    """A folder of Multi30k's task 1; ``language`` is the suffix of the captions: en, de, fr or cs."""

    kind = "Multi30k"

    def __init__(self, path: str, pictures: str | None = None, language: str = "en") -> None:
        super().__init__(path, pictures)
        self.language = language

    @classmethod
    def detect(cls, path: Path) -> bool:
        return path.is_dir() and any(path.glob(f"*{NAMES}"))

    def load(self, source, folder):
        items = []
        for names in sorted(source.glob(f"*{NAMES}")):
            split = names.name.removesuffix(NAMES)
            captions = source / f"{split}.{self.language}"
            lines = zip(names.read_text().splitlines(), captions.read_text().splitlines(), strict=True)
            for number, (name, text) in enumerate(lines, 1):
                place = f"{captions.name} line {number}"
                items.append(Captioned(folder.find(name), name, [text], [place], place, split))
        return items
