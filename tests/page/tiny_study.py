#!/usr/bin/env python3
"""Writes a space and a budget whose study takes seconds.

    python3 tests/page/tiny_study.py FOLDER [--images N] [--evaluations N]

FOLDER/budget.yaml is then what `privynet optimize` takes. The images are noise of four brightnesses; the weights are the
repository's own.
"""

import argparse
import random
import struct
from pathlib import Path

SIDE = 16
WEIGHTS = Path(__file__).resolve().parents[2] / "spaces/fashion-mnist-vgg16/vgg16-conv1_1-conv3_3.f16.safetensors"


def idx(sizes, data):
    return struct.pack(f">HBB{len(sizes)}I", 0, 8, len(sizes), *sizes) + bytes(data)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--images", type=int, default=240, metavar="N", help="training images")
    parser.add_argument("--evaluations", type=int, default=3, metavar="N", help="designs that are measured")
    arguments = parser.parse_args()
    folder = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    noise = random.Random(1)
    for part, count in (("training", arguments.images), ("validation", 32), ("evaluation", 32)):
        labels = [i % 4 for i in range(count)]
        pixels = [noise.randrange(128) + 30 * label for label in labels for _ in range(SIDE * SIDE)]
        (folder / f"{part}-images").write_bytes(idx([count, SIDE, SIDE], pixels))
        (folder / f"{part}-labels").write_bytes(idx([count], labels))
    parts = "".join(
        f"  {part}: {{images: {part}-images, labels: {part}-labels}}\n" for part in ("training", "validation", "evaluation")
    )
    (folder / "space.yaml").write_text(
        f"backbone: {{architecture: vgg16, weights: '{WEIGHTS}'}}\n"
        "splits:\n  conv1_2: [4, 8]\n  conv2_1: [4]\n"
        "selections: {first: true, fisher: true}\n"
        f"data:\n  format: idx\n{parts}"
    )
    (folder / "budget.yaml").write_text(
        "space: space.yaml\nname: tiny\nseed: 1\ncompute: 30 MMAC\nstorage: 300 KiB\n"
        "privacy:\n  psnr: {mean: 95 dB}\n  confidence: 0.9\n"
        f"effort: {{evaluations: {arguments.evaluations}}}\n"
    )


if __name__ == "__main__":
    main()
