"""Name what a folder holds beside the images that are used, and find images without classes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath

from lucency.dataset.entry import Ignored, NotUsed, counted, listed, natural
from lucency.dataset.walk import HELPER, NO_IMAGE, Walk, walk_folder

_SHOWN = 20  # folders that are named in one sentence


def images_below(folder: Path) -> tuple[list[Path], tuple[str, ...]]:
    """Find the images to predict in a folder, as the folder of a data set is searched.

    Symbolic links are followed; hidden files and what programs made for their own use are not read.

    Args:
        folder: Any folder; classes and splits make no difference.

    Returns:
        The images in the order of their paths, unreadable ones among them; and sentences on what
        is not used.

    Raises:
        DataError: The folder, or one below it, cannot be read.
    """
    walk = walk_folder(folder, follow=True)
    for error in walk.locked.values():
        raise error
    files = sorted(folder / file for file in (*walk.files, *walk.unusable))
    return files, (*unused_sentences(unused_images(walk)), *ignored_sentences(walk.ignored))


def unused_images(walk: Walk) -> tuple[NotUsed, ...]:
    """Return the images of a walk that are not used, by folder and reason."""
    found = [NotUsed(folder, images, reason) for (folder, reason), images in walk.unused.items()]
    return tuple(sorted(found, key=lambda each: natural(each.folder)))


def unused_sentences(not_used: tuple[NotUsed, ...]) -> list[str]:
    """Return a sentence for each reason, with the folders and the number of images."""
    sentences = []
    for reason in dict.fromkeys(each.reason for each in not_used):
        folders = [each for each in not_used if each.reason == reason]
        names = [
            f"{'the data folder itself' if each.folder == '.' else each.folder} "
            f"({counted(each.images, 'image')})"
            for each in folders
        ]
        rest = folders[_SHOWN:]
        more = f" and {counted(sum(x.images for x in rest), 'image')} elsewhere" if rest else ""
        sentences.append(f"Not used: {', '.join(names[:_SHOWN])}{more}: {reason}.")
    return sentences


def ignored_sentences(ignored: list[Ignored]) -> tuple[str, ...]:
    """Return a sentence on the folders of programs, and one on the kinds of other files."""
    sentences = []
    if helpers := [each for each in ignored if each.reason == HELPER]:
        n = sum(each.files for each in helpers)
        what = "file or folder" if n == 1 else "files and folders"
        sentences.append(
            f"Ignored: {n:,} {what} that programs made for their own use "
            f"({listed([each.file for each in helpers])})."
        )
    kinds: Counter[str] = Counter()
    for each in ignored:
        if each.reason.startswith(NO_IMAGE):
            kinds[PurePosixPath(each.file).suffix.lower() or "no suffix"] += each.files
    if kinds:
        shown = listed([f"{kind}: {n:,}" for kind, n in kinds.most_common()], limit=5)
        n = kinds.total()
        what = "1 file that is no image" if n == 1 else f"{n:,} files, no images"
        sentences.append(f"Ignored: {what} ({shown}).")
    return tuple(sentences)
