use super::*;

/// A file of pages, metadata and its length.
fn open(pages: &[u8], metadata: &[u8]) -> Result<ParquetFile> {
    let mut file = tempfile::tempfile().unwrap();
    let bytes = [pages, metadata, &(metadata.len() as u32).to_le_bytes(), b"PAR1"].concat();
    std::io::Write::write_all(&mut file, &bytes).unwrap();
    ParquetFile::open(file)
}

fn message(pages: &[u8], metadata: &[u8]) -> String {
    open(pages, metadata).map(drop).unwrap_err().to_string()
}

/// A number as thrift writes it.
fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn pages(header: &[u8], body: usize) -> String {
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, &[header, &vec![0; body]].concat()).unwrap();
    check_pages(&file, 0, (header.len() + body) as u64).map_or_else(|error| error.to_string(), |()| "sound".to_owned())
}

/// A page header: its kind, what it unpacks to and its length.
fn header(unpacked: i64, packed: i64) -> Vec<u8> {
    let number = |value: i64| [vec![0x15], varint(((value << 1) ^ (value >> 63)).cast_unsigned())].concat();
    [number(0), number(unpacked), number(packed), vec![0]].concat()
}

#[test]
fn a_page_that_would_unpack_to_too_much_is_refused_before_memory_is_asked_for() {
    assert_eq!(pages(&header(MOST_PAGE, 5), 5), "sound");
    assert!(pages(&header(MOST_PAGE + 1, 5), 5).contains("unpack to 268435457 bytes"));
    assert!(pages(&header(i64::from(i32::MAX), 5), 5).contains("unpack to 2147483647 bytes"));
    assert!(pages(&header(-1, 5), 5).contains("unpack to -1 bytes"));
    assert!(pages(&header(10, 6), 5).contains("6 bytes long where there are 5"));
    assert!(pages(&header(10, -6), 5).contains("-6 bytes long"));
}

#[test]
fn fields_of_another_kind_are_refused_for_the_crate_goes_by_their_numbers() {
    // What the page unpacks to as a number of 64 bits, a dictionary's header as a list, and field 2 as number 65538.
    for (header, why) in [
        (&[0x15, 0, 0x16, 0x80, 0x80, 0x80, 0x80, 0x08, 0x15, 0, 0][..], "another kind"),
        (&[0x15, 4, 0x15, 0, 0x15, 0, 0x49, 0x05, 0], "another kind"),
        (&[0x05, 0x84, 0x80, 0x08, 0x02, 0], "a field of number 65538"),
        (&[0x15, 0, 0x15, 0, 0x15, 0, 0x2c, 0x15, 0, 0x18, 0, 0, 0], "another kind"),
    ] {
        let refused = pages(header, 0);
        assert!(refused.contains(why), "{header:?}: {refused}");
    }
}

#[test]
fn lists_in_a_pages_header_are_refused() {
    let sound = header(5, 5);
    let before_its_end = &sound[..sound.len() - 1];
    // Field 3 was the last; field 9 is a list of two booleans, or of none.
    let with = |list: &[u8]| pages(&[before_its_end, &[0x69], list, &[0]].concat(), 5);
    assert_eq!(with(&[0x02]), "sound");
    let refused = with(&[0x22, 1, 1]);
    assert!(refused.contains("a list of 2 values"), "{refused}");
}

#[test]
fn a_dictionary_of_too_many_values_is_refused() {
    // Field 7 of the header, a struct whose field 1 is the number of values.
    let dictionary = |count: u64| {
        let start = header(10, 5);
        let inner = [vec![0x4c, 0x15], varint(count << 1), vec![0]].concat();
        [&start[..start.len() - 1], &inner, &[0]].concat()
    };
    assert_eq!(pages(&dictionary(MOST_WORDS as u64), 5), "sound");
    assert!(pages(&dictionary(1 << 31), 5).contains("would hold 2147483648 values"));
}

#[test]
fn statistics_longer_than_their_page_are_refused() {
    // Field 15, which is unknown, a binary of 2^40 bytes.
    let long = [vec![0xf8], varint(1 << 40)].concat();
    assert!(pages(&long, 5).contains("cut short"));
}

#[test]
fn a_schema_nested_too_deep_is_refused_before_anybody_walks_it() {
    // 100,000 groups, each the only child of the one before: field 5, one child, end.
    let groups = 100_000;
    let elements = [0x55, 2, 0].repeat(groups);
    let metadata = [vec![0x29, 0xfc], varint(groups as u64), elements, vec![0]].concat();
    assert!(message(&[], &metadata).contains("nested deeper than 32 levels"));
}

#[test]
fn lists_longer_than_the_metadata_are_refused() {
    for count in [1 << 20, 1 << 31, u64::MAX] {
        let metadata = [vec![0x49, 0xfc], varint(count), vec![0; 100]].concat();
        assert!(message(&[], &metadata).contains(&format!("a list of {count} values")), "{count}");
    }
    // Lists of lists of lists, in an unknown field.
    assert!(message(&[], &[0xf9].into_iter().chain([0x19; 1000]).collect::<Vec<u8>>()).contains("nested deeper"));
}

#[test]
fn footers_that_lie_are_refused() {
    assert!(message(b"", b"").contains("cut short"));
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, &[&u32::MAX.to_le_bytes()[..], b"PAR1"].concat()).unwrap();
    let error = ParquetFile::open(file).map(drop).unwrap_err().to_string();
    assert!(error.contains("would be 4294967295 bytes long"), "{error}");
}

#[test]
fn offsets_outside_the_file_are_refused() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/hub.parquet");
    let bytes = std::fs::read(path).unwrap();
    let whole = |bytes: &[u8]| {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, bytes).unwrap();
        let opened = ParquetFile::open(file)?;
        let groups = opened.metadata().num_row_groups();
        (0..groups).try_for_each(|group| (0..3).try_for_each(|column| opened.column(group, column).map(drop)))
    };
    whole(&bytes).unwrap();
    // Every byte of the metadata, with its highest bits changed: an error or none, never a panic.
    let end = bytes.len() - 8;
    let size = u32::from_le_bytes(bytes[end..end + 4].try_into().unwrap()) as usize;
    let mut refused = 0;
    for at in end - size..end {
        for bit in [1, 0x40, 0x80] {
            let mut changed = bytes.clone();
            changed[at] ^= bit;
            refused += usize::from(whole(&changed).is_err());
        }
    }
    assert!(refused > size / 2, "{refused} of {size} bytes");
}
