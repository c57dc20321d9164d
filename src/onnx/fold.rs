//! What exporters compute from constants alone: shapes and paddings, in a few integers.

use super::constant::Constant;

/// Most values that are computed: these are shapes, not weights.
const MOST: usize = 1 << 10;

/// The output of an operation on constants; `None` where it isn't known. `attribute` gives integer attributes.
pub(super) fn fold(
    kind: &str,
    inputs: &[Option<&Constant>],
    attribute: &dyn Fn(&str) -> Option<i64>,
) -> Option<Constant> {
    let constant = |at: usize| inputs.get(at).copied().flatten();
    let integers = |at: usize| constant(at)?.integers.as_deref().filter(|values| values.len() <= MOST);
    let first = integers(0);
    match kind {
        "Shape" => {
            let dims = &constant(0)?.dims;
            // One of unknown values has an unknown shape, too.
            let known = constant(0)?.values.len() == dims.iter().product::<usize>() && !constant(0)?.values.is_empty();
            known.then(|| Constant::integers(vec![dims.len()], dims.iter().map(|&dim| dim as i64).collect()))
        }
        "ConstantOfShape" => {
            let count = first?.iter().try_fold(1usize, |n, &dim| n.checked_mul(usize::try_from(dim).ok()?))?;
            let dims = first?.iter().filter_map(|&dim| usize::try_from(dim).ok()).collect();
            let dims: Vec<usize> = dims;
            let sound = count <= MOST && (count > 0 || dims.iter().all(|&dim| dim <= 1));
            sound.then(|| Constant::integers(dims, vec![0; count]))
        }
        "Concat" => {
            let parts: Option<Vec<&[i64]>> = (0..inputs.len()).map(integers).collect();
            let all = parts?.concat();
            (attribute("axis") == Some(0)).then(|| Constant::integers(vec![all.len()], all))
        }
        "Unsqueeze" => Some(Constant::integers(vec![first?.len()], first?.to_vec())),
        "Reshape" => {
            let (values, target) = (first?, integers(1)?);
            let mut fixed_dims = target.iter().filter(|&&dim| dim > 0);
            let fixed = fixed_dims.try_fold(1i64, |product, &dim| product.checked_mul(dim))?;
            let dim = |&dim: &i64| usize::try_from(if dim < 0 { values.len() as i64 / fixed.max(1) } else { dim }).ok();
            let dims: Vec<usize> = target.iter().map(dim).collect::<Option<_>>()?;
            let fits = dims.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim)) == Some(values.len());
            (fits && !values.is_empty()).then(|| Constant::integers(dims, values.to_vec()))
        }
        "Transpose" => {
            let [rows, columns] = constant(0)?.dims[..] else {
                return None;
            };
            let values = first.filter(|values| values.len() == rows * columns)?;
            let turned = (0..columns).flat_map(|c| (0..rows).map(move |r| values[r * columns + c])).collect();
            Some(Constant::integers(vec![columns, rows], turned))
        }
        "Gather" => {
            let at = |&index: &i64| {
                let index = if index < 0 { index + first?.len() as i64 } else { index };
                first?.get(usize::try_from(index).ok()?).copied()
            };
            let found: Vec<i64> = integers(1)?.iter().map(at).collect::<Option<_>>()?;
            (constant(0)?.dims.len() == 1)
                .then(|| Constant::integers(constant(1).map_or(vec![], |c| c.dims.clone()), found))
        }
        "Slice" => slice(constant(0)?, [integers(1)?, integers(2)?], [integers(3), integers(4)]),
        "Add" | "Sub" | "Mul" | "Div" => {
            let (a, b) = (first?, integers(1)?);
            let (n, m) = (a.len(), b.len());
            if n == 0 || m == 0 || n != m && n != 1 && m != 1 {
                return None;
            }
            let apply = |i: usize| {
                let (a, b) = (a[i % n], b[i % m]);
                match kind {
                    "Add" => a.checked_add(b),
                    "Sub" => a.checked_sub(b),
                    "Mul" => a.checked_mul(b),
                    _ => a.checked_div(b),
                }
            };
            let values: Vec<i64> = (0..n.max(m)).map(apply).collect::<Option<_>>()?;
            let dims = constant(usize::from(m > n))?.dims.clone();
            Some(Constant::integers(dims, values))
        }
        _ => None,
    }
}

/// Every `step`th row of a vector or matrix, backwards too.
fn slice(value: &Constant, [starts, ends]: [&[i64]; 2], [axes, steps]: [Option<&[i64]>; 2]) -> Option<Constant> {
    let values = value.integers.as_deref().filter(|values| values.len() <= MOST)?;
    let (&[start], &[end]) = (starts, ends) else {
        return None;
    };
    if axes.is_some_and(|axes| axes != [0]) {
        return None;
    }
    let step = *steps.unwrap_or(&[1]).first()?;
    let rows = *value.dims.first()? as i64;
    let width = values.len().checked_div(usize::try_from(rows).ok()?)?;
    let (least, most) = if step > 0 { (0, rows) } else { (-1, rows - 1) };
    let place = |at: i64| if at < 0 { at.saturating_add(rows) } else { at }.clamp(least, most);
    let (mut at, end) = (place(start), place(end));
    let mut rows = Vec::new();
    while step != 0 && (step > 0 && at < end || step < 0 && at > end) {
        rows.push(usize::try_from(at).ok()?);
        at = at.checked_add(step)?;
    }
    let mut dims = value.dims.clone();
    *dims.first_mut()? = rows.len();
    let found = rows.into_iter().flat_map(|row| values[row * width..(row + 1) * width].iter().copied()).collect();
    Some(Constant::integers(dims, found))
}
