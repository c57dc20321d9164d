//! Vector registers: one generic kernel source, compiled for each instruction set and chosen at run time.

/// The instruction sets that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// x86-64 with AVX-512F: 16 lanes.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// x86-64 with AVX2 and FMA: 8 lanes.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// aarch64: 4 lanes.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// Whatever the compiler makes of arrays of 4.
    Portable,
}

impl Level {
    /// The widest instruction set of this machine.
    pub(super) fn best() -> Self {
        Self::available()[0]
    }

    /// All instruction sets that this machine can run, widest first.
    pub(super) fn available() -> Vec<Self> {
        let mut levels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                levels.push(Level::Avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                levels.push(Level::Avx2);
            }
        }
        #[cfg(target_arch = "aarch64")]
        levels.push(Level::Neon);
        levels.push(Level::Portable);
        levels
    }

    /// Output channels that a kernel computes at once: two registers.
    pub(super) fn panel(self) -> usize {
        2 * match self {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => 16,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => 8,
            #[cfg(target_arch = "aarch64")]
            Level::Neon => 4,
            Level::Portable => 4,
        }
    }

    /// Runs `kernel` compiled for this instruction set.
    pub(super) fn run<K: Kernel>(self, kernel: K) {
        // SAFETY: a level of an instruction set is only made by `available`, when the machine has it.
        unsafe {
            match self {
                #[cfg(target_arch = "x86_64")]
                Level::Avx512 => run_avx512(kernel),
                #[cfg(target_arch = "x86_64")]
                Level::Avx2 => run_avx2(kernel),
                #[cfg(target_arch = "aarch64")]
                Level::Neon => kernel.run::<neon::Neon, 8, 8>(),
                Level::Portable => kernel.run::<Portable, 4, 4>(),
            }
        }
    }
}

/// A piece of work with its operands.
pub(super) trait Kernel {
    /// Does it with registers `S`. `PIXELS` × [`Simd::LANES`] × 2 is the register tile of products of pixels and
    /// weights, `ROWS` × `LANES` × 2 that of products of activations and gradients.
    ///
    /// Implementations must be `#[inline(always)]`, so that they are compiled with the caller's instruction set.
    ///
    /// # Safety
    /// The machine must have the instruction set of `S`.
    unsafe fn run<S: Simd, const PIXELS: usize, const ROWS: usize>(self);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn run_avx512<K: Kernel>(kernel: K) {
    // SAFETY: the function's own target feature.
    unsafe { kernel.run::<avx512::Avx512, 8, 12>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<K: Kernel>(kernel: K) {
    // SAFETY: the function's own target features.
    unsafe { kernel.run::<avx2::Avx2, 4, 6>() }
}

/// A register of `LANES` floats and what kernels do with it.
///
/// # Safety
/// `LANES` must be what [`Simd::load`] reads and [`Simd::store`] writes. All methods need the instruction set; pointers
/// must be valid for `LANES` floats, of any alignment.
pub(super) unsafe trait Simd: Copy {
    /// The register.
    type V: Copy;
    /// Floats per register.
    const LANES: usize;
    /// The same value in all lanes.
    unsafe fn splat(value: f32) -> Self::V;
    /// `LANES` floats from memory.
    unsafe fn load(from: *const f32) -> Self::V;
    /// `LANES` floats to memory.
    unsafe fn store(to: *mut f32, value: Self::V);
    /// `a · b + c`.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `a + b`.
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    /// `a − b`.
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    /// `a · b`.
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// `value`, but 0 where it is negative. NaN stays NaN, so that a diverged training is noticed.
    unsafe fn relu(value: Self::V) -> Self::V;
    /// `value` where `by` > 0, else 0.
    unsafe fn where_positive(value: Self::V, by: Self::V) -> Self::V;
    /// Sum of the lanes.
    unsafe fn sum(value: Self::V) -> f32;
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    #[derive(Clone, Copy)]
    pub(super) struct Avx512;

    // SAFETY: 512 bits are 16 floats.
    unsafe impl super::Simd for Avx512 {
        type V = __m512;
        const LANES: usize = 16;

        #[inline(always)]
        unsafe fn splat(value: f32) -> __m512 {
            // SAFETY: the caller has the instruction set, as `Simd` asks.
            unsafe { _mm512_set1_ps(value) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m512 {
            // SAFETY: the caller has the instruction set, and `LANES` floats are there, as `Simd` asks.
            unsafe { _mm512_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn store(to: *mut f32, value: __m512) {
            // SAFETY: the caller has the instruction set, and `LANES` floats are there, as `Simd` asks.
            unsafe { _mm512_storeu_ps(to, value) }
        }
        #[inline(always)]
        unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
            // SAFETY: the caller has the instruction set, as `Simd` asks.
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn add(a: __m512, b: __m512) -> __m512 {
            // SAFETY: the caller has the instruction set, as `Simd` asks.
            unsafe { _mm512_add_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn sub(a: __m512, b: __m512) -> __m512 {
            // SAFETY: the caller has the instruction set, as `Simd` asks.
            unsafe { _mm512_sub_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn mul(a: __m512, b: __m512) -> __m512 {
            // SAFETY: the caller has the instruction set, as `Simd` asks.
            unsafe { _mm512_mul_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn relu(value: __m512) -> __m512 {
            // The instruction yields its second operand when one is NaN.
            // SAFETY: the caller has the instruction set, as `Simd` asks.
            unsafe { _mm512_max_ps(_mm512_setzero_ps(), value) }
        }
        #[inline(always)]
        unsafe fn where_positive(value: __m512, by: __m512) -> __m512 {
            // SAFETY: the caller has the instruction set, as `Simd` asks.
            unsafe {
                let positive = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(by, _mm512_setzero_ps());
                _mm512_maskz_mov_ps(positive, value)
            }
        }
        #[inline(always)]
        unsafe fn sum(value: __m512) -> f32 {
            // SAFETY: the caller has the instruction set, as `Simd` asks.
            unsafe { _mm512_reduce_add_ps(value) }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    #[derive(Clone, Copy)]
    pub(super) struct Avx2;

    // SAFETY: 256 bits are 8 floats.
    unsafe impl super::Simd for Avx2 {
        type V = __m256;
        const LANES: usize = 8;

        #[inline(always)]
        unsafe fn splat(value: f32) -> __m256 {
            // SAFETY: the caller has the instruction set, as `Simd` asks.
            unsafe { _mm256_set1_ps(value) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m256 {
            // SAFETY: the caller has the instruction set, and `LANES` floats are there, as `Simd` asks.
            unsafe { _mm256_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn store(to: *mut f32, value: __m256) {
            // SAFETY: the caller has the instruction set, and `LANES` floats are there, as `Simd` asks.
            unsafe { _mm256_storeu_ps(to, value) }
        }
        #[inline(always)]
        unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
            // SAFETY: the caller has the instruction set, as `Simd` asks.
            unsafe { _mm256_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn add(a: __m256, b: __m256) -> __m256 {
            // SAFETY: the caller has the instruction set, as `Simd` asks.
            unsafe { _mm256_add_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn sub(a: __m256, b: __m256) -> __m256 {
            // SAFETY: the caller has the instruction set, as `Simd` asks.
            unsafe { _mm256_sub_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn mul(a: __m256, b: __m256) -> __m256 {
            // SAFETY: the caller has the instruction set, as `Simd` asks.
            unsafe { _mm256_mul_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn relu(value: __m256) -> __m256 {
            // The instruction yields its second operand when one is NaN.
            // SAFETY: the caller has the instruction set, as `Simd` asks.
            unsafe { _mm256_max_ps(_mm256_setzero_ps(), value) }
        }
        #[inline(always)]
        unsafe fn where_positive(value: __m256, by: __m256) -> __m256 {
            // SAFETY: the caller has the instruction set, as `Simd` asks.
            unsafe {
                let positive = _mm256_cmp_ps::<_CMP_GT_OQ>(by, _mm256_setzero_ps());
                _mm256_and_ps(value, positive)
            }
        }
        #[inline(always)]
        unsafe fn sum(value: __m256) -> f32 {
            // SAFETY: the caller has the instruction set, as `Simd` asks.
            unsafe {
                let half = _mm_add_ps(_mm256_castps256_ps128(value), _mm256_extractf128_ps::<1>(value));
                let pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
                _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps::<1>(pair, pair)))
            }
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod neon {
    use std::arch::aarch64::*;

    #[derive(Clone, Copy)]
    pub(super) struct Neon;

    // SAFETY: 128 bits are 4 floats; every aarch64 target of the standard library has NEON.
    unsafe impl super::Simd for Neon {
        type V = float32x4_t;
        const LANES: usize = 4;

        #[inline(always)]
        unsafe fn splat(value: f32) -> float32x4_t {
            // SAFETY: the caller has the instruction set, as `Simd` asks.
            unsafe { vdupq_n_f32(value) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> float32x4_t {
            // SAFETY: the caller has the instruction set, and `LANES` floats are there, as `Simd` asks.
            unsafe { vld1q_f32(from) }
        }
        #[inline(always)]
        unsafe fn store(to: *mut f32, value: float32x4_t) {
            // SAFETY: the caller has the instruction set, and `LANES` floats are there, as `Simd` asks.
            unsafe { vst1q_f32(to, value) }
        }
        #[inline(always)]
        unsafe fn fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
            // SAFETY: the caller has the instruction set, as `Simd` asks.
            unsafe { vfmaq_f32(c, a, b) }
        }
        #[inline(always)]
        unsafe fn add(a: float32x4_t, b: float32x4_t) -> float32x4_t {
            // SAFETY: the caller has the instruction set, as `Simd` asks.
            unsafe { vaddq_f32(a, b) }
        }
        #[inline(always)]
        unsafe fn sub(a: float32x4_t, b: float32x4_t) -> float32x4_t {
            // SAFETY: the caller has the instruction set, as `Simd` asks.
            unsafe { vsubq_f32(a, b) }
        }
        #[inline(always)]
        unsafe fn mul(a: float32x4_t, b: float32x4_t) -> float32x4_t {
            // SAFETY: the caller has the instruction set, as `Simd` asks.
            unsafe { vmulq_f32(a, b) }
        }
        #[inline(always)]
        unsafe fn relu(value: float32x4_t) -> float32x4_t {
            // SAFETY: the caller has the instruction set, as `Simd` asks.
            unsafe { vmaxq_f32(value, vdupq_n_f32(0.0)) }
        }
        #[inline(always)]
        unsafe fn where_positive(value: float32x4_t, by: float32x4_t) -> float32x4_t {
            // SAFETY: the caller has the instruction set, as `Simd` asks.
            unsafe {
                let positive = vcgtq_f32(by, vdupq_n_f32(0.0));
                vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(value), positive))
            }
        }
        #[inline(always)]
        unsafe fn sum(value: float32x4_t) -> f32 {
            // SAFETY: the caller has the instruction set, as `Simd` asks.
            unsafe { vaddvq_f32(value) }
        }
    }
}

/// Arrays of 4, for machines without any of the above. Multiplies and adds apart: a fused one would be a library call.
#[derive(Clone, Copy)]
struct Portable;

// SAFETY: arrays of 4 floats.
unsafe impl Simd for Portable {
    type V = [f32; 4];
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn splat(value: f32) -> [f32; 4] {
        [value; 4]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> [f32; 4] {
        // SAFETY: the caller has the instruction set, and `LANES` floats are there, as `Simd` asks.
        unsafe { from.cast::<[f32; 4]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, value: [f32; 4]) {
        // SAFETY: the caller has the instruction set, and `LANES` floats are there, as `Simd` asks.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(value) }
    }
    #[inline(always)]
    unsafe fn fma(a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    unsafe fn add(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    unsafe fn sub(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| a[i] - b[i])
    }
    #[inline(always)]
    unsafe fn mul(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn relu(value: [f32; 4]) -> [f32; 4] {
        value.map(|value| if value < 0.0 { 0.0 } else { value })
    }
    #[inline(always)]
    unsafe fn where_positive(value: [f32; 4], by: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| if by[i] > 0.0 { value[i] } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn sum(value: [f32; 4]) -> f32 {
        (value[0] + value[2]) + (value[1] + value[3])
    }
}
