//! What Parquet's metadata is made of, by the numbers of its fields: `parquet.thrift` of the format, version 2.11.

use super::thrift::Shape;
use Shape::{Binary, Bool, I16, I32, I64, List, Struct};

/// `FileMetaData`, but for the schema.
pub(super) const FILE: &[(i64, Shape)] = &[
    (1, I32),
    (3, I64),
    (4, List(&Struct(ROW_GROUP))),
    (5, List(&Struct(KEY_VALUE))),
    (6, Binary),
    (7, List(&Struct(&[]))),
    (8, Struct(&[])),
    (9, Binary),
];

/// `SchemaElement`.
pub(super) const SCHEMA_ELEMENT: &[(i64, Shape)] =
    &[(1, I32), (2, I32), (3, I32), (4, Binary), (5, I32), (6, I32), (7, I32), (8, I32), (9, I32), (10, Struct(&[]))];

const ROW_GROUP: &[(i64, Shape)] = &[
    (1, List(&Struct(COLUMN_CHUNK))),
    (2, I64),
    (3, I64),
    (4, List(&Struct(&[(1, I32), (2, Bool), (3, Bool)]))),
    (5, I64),
    (6, I64),
    (7, I16),
];

const COLUMN_CHUNK: &[(i64, Shape)] = &[
    (1, Binary),
    (2, I64),
    (3, Struct(COLUMN)),
    (4, I64),
    (5, I32),
    (6, I64),
    (7, I32),
    (8, Struct(&[])),
    (9, Binary),
];

const COLUMN: &[(i64, Shape)] = &[
    (1, I32),
    (2, List(&I32)),
    (3, List(&Binary)),
    (4, I32),
    (5, I64),
    (6, I64),
    (7, I64),
    (8, List(&Struct(KEY_VALUE))),
    (9, I64),
    (10, I64),
    (11, I64),
    (12, Struct(STATISTICS)),
    (13, List(&Struct(&[(1, I32), (2, I32), (3, I32)]))),
    (14, I64),
    (15, I32),
    (16, Struct(&[(1, I64), (2, List(&I64)), (3, List(&I64))])),
    (17, Struct(&[])),
];

const KEY_VALUE: &[(i64, Shape)] = &[(1, Binary), (2, Binary)];

const STATISTICS: &[(i64, Shape)] =
    &[(1, Binary), (2, Binary), (3, I64), (4, I64), (5, Binary), (6, Binary), (7, Bool), (8, Bool)];

/// `PageHeader`, but for the headers of its kinds.
pub(super) const PAGE: &[(i64, Shape)] = &[(1, I32), (2, I32), (3, I32), (4, I32), (6, Struct(&[]))];

/// `DataPageHeader`.
pub(super) const DATA_PAGE: &[(i64, Shape)] = &[(1, I32), (2, I32), (3, I32), (4, I32), (5, Struct(STATISTICS))];

/// `DictionaryPageHeader`.
pub(super) const DICTIONARY_PAGE: &[(i64, Shape)] = &[(1, I32), (2, I32), (3, Bool)];

/// `DataPageHeaderV2`.
pub(super) const DATA_PAGE_2: &[(i64, Shape)] =
    &[(1, I32), (2, I32), (3, I32), (4, I32), (5, I32), (6, I32), (7, Bool), (8, Struct(STATISTICS))];
