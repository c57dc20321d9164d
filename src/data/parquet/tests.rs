//! Files that pyarrow wrote: `python3 tests/hub_parquet.py`.

use super::super::Part;
use super::*;

pub(in crate::data) const HUB: &[u8] = include_bytes!("../../../tests/data/hub.parquet");
const BYTES: &[u8] = include_bytes!("../../../tests/data/bytes.parquet");
const PATH_ONLY: &[u8] = include_bytes!("../../../tests/data/path-only.parquet");
const NO_LABEL: &[u8] = include_bytes!("../../../tests/data/no-label.parquet");

fn written(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

/// The first pixels of the images in some rows.
fn firsts(listing: &Listing, rows: &[usize]) -> Vec<[u8; 3]> {
    let raw = listing.read(Part::Training, rows, None).unwrap();
    raw.pixels.chunks_exact(16 * 16 * 3).map(|image| [image[0], image[1], image[2]]).collect()
}

/// The message about one file, or about the images in it.
fn message(bytes: &[u8], image: &str, label: &str) -> String {
    let folder = written(&[("a.parquet", bytes)]);
    let listing = list(&[folder.path().join("a.parquet")], image, label);
    let all = |listing: Listing| listing.read(Part::Training, &(0..listing.labels.len()).collect::<Vec<_>>(), None);
    listing.and_then(all).map(drop).unwrap_err().to_string().replace(&folder.path().display().to_string(), "F")
}

#[test]
fn any_rows_of_any_row_group_are_read_in_any_order() {
    for bytes in [HUB, BYTES] {
        let folder = written(&[("train-0.parquet", bytes), ("train-1.parquet", bytes), ("README.md", b"")]);
        let listing = list(&[folder.path().to_owned()], "image", "label").unwrap();
        assert_eq!(listing.labels, [0, 1, 0, 1, 0, 1, 0, 0, 1, 0, 1, 0, 1, 0]);
        let all: Vec<usize> = (0..14).collect();
        assert_eq!(firsts(&listing, &all), [0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4, 5, 6].map(|i| [255, i, 0]));
        assert_eq!(firsts(&listing, &[12, 3, 0, 8, 2]), [5, 3, 0, 1, 2].map(|i| [255, i, 0]));
        let raw = listing.read(Part::Training, &[4], None).unwrap();
        assert_eq!(raw.pixels[3..6], [40, 20, 30]);
        assert!(
            listing.place(9).to_string().starts_with("image 2 of `")
                && listing.place(9).to_string().contains("train-1")
        );
        let names = (bytes == HUB).then(|| vec!["cat".to_owned(), "dog".to_owned()]);
        assert_eq!(listing.class_names, names);
        assert_eq!(listing.sizes(2).unwrap(), [[16, 16]; 4]);
    }
}

#[test]
fn mistakes_name_file_column_and_remedy() {
    assert_eq!(
        message(HUB, "img", "label"),
        "`F/a.parquet` has no column `img` of encoded images (bytes, or a struct with `bytes`); its columns are `image.bytes` \
         (BYTE_ARRAY), `image.path` (BYTE_ARRAY), `label` (INT64): name it by `image_column` under `data` in the space"
    );
    assert!(message(HUB, "image", "fine_label").contains("no column `fine_label` of integer labels"));
    assert!(message(HUB, "label", "label").contains("no column `label` of encoded images"));
    assert_eq!(
        message(PATH_ONLY, "image", "label"),
        "`F/a.parquet` has no value in column `image.bytes` of row 2: every row needs an image, stored in the file, and a label; \
         remove the row"
    );
    assert!(message(NO_LABEL, "image", "label").contains("no value in column `label` of row 1"));
    for bytes in [&HUB[..HUB.len() - 1], &HUB[..100], b"", b"PAR1"] {
        let found = message(bytes, "image", "label");
        assert!(
            found.contains("`F/a.parquet` can't be read as Parquet: it is another file, truncated or damaged"),
            "{found}"
        );
    }
}

#[test]
fn an_image_that_cannot_be_decoded_is_named_by_its_row() {
    let mut damaged = HUB.to_vec();
    let at = damaged.windows(4).position(|window| window == b"IDAT").unwrap();
    damaged[at..at + 4].copy_from_slice(b"XDAT");
    let found = message(&damaged, "image", "label");
    assert_eq!(found, "cannot decode image 0 of `F/a.parquet` as a JPEG, PNG or WebP image; replace or remove it");
}
