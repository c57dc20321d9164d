//! Protobuf messages, from what they hold.

use half::f16;

use crate::onnx::proto::{
    Attribute, Dimension, Property, TensorMessage, TensorShape, TensorType, TypeMessage, ValueInfo, attribute_type,
    data_type,
};

fn tensor(name: &str, dims: &[usize], kind: i32, raw: Vec<u8>) -> TensorMessage {
    TensorMessage {
        name: Some(name.to_owned()),
        dims: dims.iter().map(|&dim| dim as i64).collect(),
        data_type: Some(kind),
        raw_data: Some(raw),
        ..TensorMessage::default()
    }
}

/// Numbers of single precision.
pub(super) fn floats(name: &str, dims: &[usize], values: &[f32]) -> TensorMessage {
    let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    tensor(name, dims, data_type::FLOAT, raw)
}

/// The nearest numbers of half precision.
pub(super) fn halves(name: &str, dims: &[usize], values: &[f32]) -> TensorMessage {
    let raw = values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect();
    tensor(name, dims, data_type::FLOAT16, raw)
}

/// Eight-bit integers.
pub(super) fn bytes(name: &str, dims: &[usize], values: &[i8]) -> TensorMessage {
    let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    tensor(name, dims, data_type::INT8, raw)
}

/// A vector of indices or sizes.
pub(super) fn integers(name: &str, values: &[i64]) -> TensorMessage {
    let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    tensor(name, &[values.len()], data_type::INT64, raw)
}

/// An attribute of one integer.
pub(super) fn int(name: &str, value: usize) -> Attribute {
    let (name, i) = (Some(name.to_owned()), Some(value as i64));
    Attribute { name, i, kind: Some(attribute_type::INT), ..Attribute::default() }
}

/// An attribute of several integers.
pub(super) fn ints(name: &str, values: &[usize]) -> Attribute {
    let ints = values.iter().map(|&value| value as i64).collect();
    Attribute { name: Some(name.to_owned()), ints, kind: Some(attribute_type::INTS), ..Attribute::default() }
}

/// An attribute of one number.
pub(super) fn float(name: &str, value: f32) -> Attribute {
    let (name, f) = (Some(name.to_owned()), Some(value));
    Attribute { name, f, kind: Some(attribute_type::FLOAT), ..Attribute::default() }
}

/// An attribute of text.
pub(super) fn text(name: &str, value: &str) -> Attribute {
    let (name, s) = (Some(name.to_owned()), Some(value.as_bytes().to_vec()));
    Attribute { name, s, kind: Some(attribute_type::STRING), ..Attribute::default() }
}

/// A remark.
pub(super) fn property(key: &str, value: &str) -> Property {
    Property { key: Some(key.as_bytes().to_vec()), value: Some(value.as_bytes().to_vec()) }
}

/// An input or output of this element type; a dimension that is open is `N`.
pub(super) fn value_info(name: &str, kind: i32, dims: &[Option<usize>]) -> ValueInfo {
    let dimension = |dim: &Option<usize>| match dim {
        Some(size) => Dimension { dim_value: Some(*size as i64), dim_param: None },
        None => Dimension { dim_value: None, dim_param: Some("N".to_owned()) },
    };
    let shape = Some(TensorShape { dim: dims.iter().map(dimension).collect() });
    let tensor_type = Some(TensorType { elem_type: Some(kind), shape });
    ValueInfo { name: Some(name.to_owned()), r#type: Some(TypeMessage { tensor_type }) }
}
