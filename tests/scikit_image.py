"""PSNR and SSIM of `privynet score` against scikit-image, on random pairs of images.

    cargo build --release --locked
    python3 tests/scikit_image.py target/release/privynet        (needs numpy, Pillow and scikit-image)

Pairs range from noise to near-identical, grey and coloured, 16 to 64 pixels wide. Exit code 1 where any figure differs by more
than 1e-4.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

PAIRS = 200
TOLERANCE = 1e-4


def pair(rng):
    """An original and a reconstruction, bytes of one shape."""
    height, width = rng.integers(16, 65, size=2)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(rng.uniform(0, 1) * x + rng.uniform(0, 1) * y + rng.uniform(0, 6)) for _ in range(3)]
    image = 0.5 + 0.4 * np.stack(waves if rng.random() < 0.7 else waves[:1] * 3, axis=-1)
    image += rng.normal(0, rng.uniform(0, 0.2), image.shape)
    noise = rng.normal(0, 10 ** rng.uniform(-2.5, 0), image.shape)
    blend = rng.uniform(0, 1) if rng.random() < 0.5 else 0
    other = (1 - blend) * image + blend * image.mean() + noise
    return [(np.clip(values, 0, 1) * 255).round().astype(np.uint8) for values in (image, other)]


def expected(original, reconstruction):
    original, reconstruction = original / 255.0, reconstruction / 255.0
    ssim = [
        structural_similarity(
            original[..., c],
            reconstruction[..., c],
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            win_size=11,
            data_range=1,
            full=True,
        )[1][5:-5, 5:-5].mean()
        for c in range(3)
    ]
    return peak_signal_noise_ratio(original, reconstruction, data_range=1), float(np.mean(ssim))


def main(program):
    rng = np.random.default_rng(1709_06161)
    with tempfile.TemporaryDirectory() as folder:
        folders = [Path(folder) / name for name in ("originals", "reconstructions")]
        truth = {}
        for each in folders:
            each.mkdir()
        for number in range(PAIRS):
            images = pair(rng)
            name = f"pair{number:03}"
            for each, image in zip(folders, images):
                Image.fromarray(image).save(each / f"{name}.png")
            truth[name] = expected(*images)
        lines = subprocess.run(
            [program, "score", *map(str, folders), "--json"], check=True, capture_output=True, text=True
        ).stdout.splitlines()
    found = {row["name"]: (row["psnr"], row["ssim"]) for row in map(json.loads, lines)}
    assert found.keys() == truth.keys(), "another set of pairs came back"
    differences = np.array([np.abs(np.subtract(found[name], truth[name])) for name in truth])
    spans = np.array(list(truth.values()))
    for column, metric in enumerate(("PSNR", "SSIM")):
        low, high = spans[:, column].min(), spans[:, column].max()
        worst = differences[:, column].max()
        print(f"{metric}: {len(truth)} pairs from {low:.3f} to {high:.3f}, largest difference {worst:.1e}")
    return int(not (differences <= TOLERANCE).all())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
