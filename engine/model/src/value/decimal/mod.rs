//! Exact decimals: a coefficient times a power of ten, never rounded.

mod arithmetic;
mod text;

use std::cmp::Ordering;
use std::hash::Hash;
use std::sync::Arc;

use num_bigint::{BigInt, Sign};

/// An exact decimal number.
///
/// Equality, order and hash follow the value: `1.0` is `1`. A number of a document has at most 38 significant
/// digits ([`Decimal::fits_document`]); on the way there results may have up to [`Decimal::WORKING_DIGITS`], so
/// that sums of document numbers are exact. Whatever would need more is an error, never a rounding.
///
/// Its text is the one canonical form: no exponent for magnitudes from 10⁻⁷ up to 38 integer digits, else one
/// digit, the fraction and the exponent (`1.5e45`); no trailing zeros in the fraction; no `-0`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Decimal(Repr);

/// Each number has exactly one representation, so that equality and hash can be derived: `Small` wherever
/// possible, a fraction without trailing zeros; `Wide` without any trailing zeros.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    /// coefficient × 10^−scale; a coefficient with a scale above zero does not end in 0
    Small {
        coefficient: i64,
        scale: u8,
    },
    Wide(Arc<Wide>),
}

/// coefficient × 10^exponent
#[derive(Clone, PartialEq, Eq, Hash)]
struct Wide {
    coefficient: BigInt,
    exponent: i32,
}

/// Why a number could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    #[error("{0:?} is not a number")]
    NotANumber(String),
    #[error(
        "the number needs more than {} digits or an exponent beyond ±{}",
        Decimal::WORKING_DIGITS,
        Decimal::WORKING_EXPONENT
    )]
    TooWide,
    #[error(
        "a document's number has at most 38 digits and an exponent from -130 to 125, which {0} does not keep to"
    )]
    OutsideDocument(String),
    #[error("division by zero")]
    DivisionByZero,
    #[error("the quotient has no exact decimal form; round it with divide(a, b, places)")]
    Inexact,
}

impl Decimal {
    pub const ZERO: Decimal = Decimal::small(0);
    pub const ONE: Decimal = Decimal::small(1);

    /// Significant digits that a number may have on the way to a document.
    pub const WORKING_DIGITS: u64 = 400;
    /// Bound of the exponent in scientific notation of a number on the way to a document.
    pub const WORKING_EXPONENT: i32 = 1000;

    const fn small(coefficient: i64) -> Decimal {
        Decimal(Repr::Small { coefficient, scale: 0 })
    }

    /// Whether a document can hold this number: at most 38 significant digits and an exponent (in scientific
    /// notation) from −130 to 125, the numbers of DynamoDB.
    pub fn fits_document(&self) -> Result<(), NumberError> {
        let exponent = match &self.0 {
            Repr::Small { scale: 0..=100, .. } => return Ok(()),
            Repr::Small { coefficient: 0, .. } => return Ok(()),
            Repr::Small { coefficient, scale } => {
                coefficient.unsigned_abs().ilog10() as i32 - i32::from(*scale)
            }
            Repr::Wide(wide) if wide.digits() > 38 => i32::MAX,
            Repr::Wide(wide) => wide.scientific_exponent(),
        };
        if (-130..=125).contains(&exponent) {
            Ok(())
        } else {
            Err(NumberError::OutsideDocument(self.to_string()))
        }
    }

    /// The value as an integer, if it is one and fits.
    pub fn to_i64(&self) -> Option<i64> {
        match self.0 {
            Repr::Small { coefficient, scale: 0 } => Some(coefficient),
            _ => None,
        }
    }

    /// The value as an integer, if it is one, not negative, and fits.
    pub fn to_u64(&self) -> Option<u64> {
        match &self.0 {
            Repr::Small { coefficient, scale: 0 } => u64::try_from(*coefficient).ok(),
            Repr::Small { .. } => None,
            Repr::Wide(wide) => wide.to_integer()?.try_into().ok(),
        }
    }

    /// The value as an integer, if it is one and fits.
    pub fn to_i128(&self) -> Option<i128> {
        match &self.0 {
            Repr::Small { coefficient, scale: 0 } => Some(i128::from(*coefficient)),
            Repr::Small { .. } => None,
            Repr::Wide(wide) => wide.to_integer()?.try_into().ok(),
        }
    }

    pub fn is_zero(&self) -> bool {
        *self == Decimal::ZERO
    }

    pub fn is_negative(&self) -> bool {
        self.sign() == Ordering::Less
    }

    pub fn is_integer(&self) -> bool {
        match &self.0 {
            Repr::Small { scale, .. } => *scale == 0,
            Repr::Wide(wide) => wide.exponent >= 0,
        }
    }

    fn sign(&self) -> Ordering {
        match &self.0 {
            Repr::Small { coefficient, .. } => coefficient.cmp(&0),
            Repr::Wide(wide) => match wide.coefficient.sign() {
                Sign::Minus => Ordering::Less,
                Sign::NoSign => Ordering::Equal,
                Sign::Plus => Ordering::Greater,
            },
        }
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        match &self.0 {
            Repr::Small { .. } => 0,
            Repr::Wide(wide) => size_of::<Wide>() + (wide.coefficient.bits() / 8) as usize,
        }
    }

    fn from_i128(coefficient: i128, scale: u32) -> Result<Decimal, NumberError> {
        if let (Ok(coefficient), Ok(scale)) = (coefficient.try_into(), scale.try_into()) {
            return Ok(Decimal::without_trailing_zeros(coefficient, scale));
        }
        let (mut coefficient, mut scale) = (coefficient, scale);
        while scale > 0 && coefficient % 10 == 0 {
            coefficient /= 10;
            scale -= 1;
        }
        match (i64::try_from(coefficient), u8::try_from(scale)) {
            (Ok(coefficient), Ok(scale)) => Ok(Decimal(Repr::Small { coefficient, scale })),
            _ => Decimal::from_big(BigInt::from(coefficient), -(scale as i32)),
        }
    }

    /// In words of 64 bits, which are divided much faster than wider ones.
    fn without_trailing_zeros(mut coefficient: i64, mut scale: u8) -> Decimal {
        while scale > 0 && coefficient % 10 == 0 {
            coefficient /= 10;
            scale -= 1;
        }
        Decimal(Repr::Small { coefficient, scale })
    }

    /// The number coefficient × 10^exponent in its one representation.
    fn from_big(coefficient: BigInt, exponent: i32) -> Result<Decimal, NumberError> {
        if coefficient.sign() == Sign::NoSign {
            return Ok(Decimal::ZERO);
        }
        let digits = coefficient.to_str_radix(10);
        let zeros = digits.len() - digits.trim_end_matches('0').len();
        let coefficient = coefficient / BigInt::from(10).pow(zeros as u32);
        let exponent = exponent.saturating_add(zeros as i32);
        if let Some(small) = small_repr(&coefficient, exponent) {
            return Ok(Decimal(small));
        }
        let wide = Wide { coefficient, exponent };
        if wide.digits() > Decimal::WORKING_DIGITS
            || wide.scientific_exponent().saturating_abs() > Decimal::WORKING_EXPONENT
        {
            return Err(NumberError::TooWide);
        }
        Ok(Decimal(Repr::Wide(Arc::new(wide))))
    }

    /// Coefficient and exponent, whatever the representation.
    fn to_big(&self) -> (BigInt, i32) {
        match &self.0 {
            Repr::Small { coefficient, scale } => (BigInt::from(*coefficient), -i32::from(*scale)),
            Repr::Wide(wide) => (wide.coefficient.clone(), wide.exponent),
        }
    }
}

/// The small representation of a coefficient without trailing zeros, if there is one.
fn small_repr(coefficient: &BigInt, exponent: i32) -> Option<Repr> {
    let coefficient = i64::try_from(coefficient).ok()?;
    if exponent > 0 {
        let power = 10_i64.checked_pow(exponent.unsigned_abs())?;
        return Some(Repr::Small { coefficient: coefficient.checked_mul(power)?, scale: 0 });
    }
    Some(Repr::Small { coefficient, scale: u8::try_from(exponent.unsigned_abs()).ok()? })
}

impl Wide {
    fn digits(&self) -> u64 {
        self.coefficient.magnitude().to_str_radix(10).len() as u64
    }

    fn scientific_exponent(&self) -> i32 {
        self.exponent.saturating_add(self.digits() as i32 - 1)
    }

    fn to_integer(&self) -> Option<BigInt> {
        let exponent = u32::try_from(self.exponent).ok()?;
        Some(&self.coefficient * BigInt::from(10).pow(exponent))
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        if let (Some((left, right)), _) = self.aligned_small(other) {
            return left.cmp(&right);
        }
        self.sign().cmp(&other.sign()).then_with(|| {
            let (left, right, _) = arithmetic::align(self.to_big(), other.to_big());
            left.cmp(&right)
        })
    }
}

impl From<i64> for Decimal {
    fn from(value: i64) -> Self {
        Decimal::small(value)
    }
}

impl From<i32> for Decimal {
    fn from(value: i32) -> Self {
        Decimal::from(i64::from(value))
    }
}

impl From<u64> for Decimal {
    fn from(value: u64) -> Self {
        Decimal::from(i128::from(value))
    }
}

impl From<usize> for Decimal {
    fn from(value: usize) -> Self {
        Decimal::from(value as u64)
    }
}

impl From<i128> for Decimal {
    fn from(value: i128) -> Self {
        Decimal::from_i128(value, 0).expect("39 digits are inside the working width")
    }
}
