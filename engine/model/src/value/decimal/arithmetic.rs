//! Sums, products and quotients. Two small numbers meet in `i128`; everything else in big integers.

use num_bigint::{BigInt, Sign};

use super::{Decimal, NumberError, Repr};

impl Decimal {
    pub fn checked_add(&self, other: &Decimal) -> Result<Decimal, NumberError> {
        if let (Some((left, right)), scale) = self.aligned_small(other) {
            return Decimal::from_i128(left + right, scale);
        }
        let (left, right, exponent) = align(self.to_big(), other.to_big());
        Decimal::from_big(left + right, exponent)
    }

    pub fn checked_sub(&self, other: &Decimal) -> Result<Decimal, NumberError> {
        self.checked_add(&other.negated())
    }

    pub fn checked_mul(&self, other: &Decimal) -> Result<Decimal, NumberError> {
        if let (
            Repr::Small { coefficient: left, scale: left_scale },
            Repr::Small { coefficient: right, scale: right_scale },
        ) = (&self.0, &other.0)
        {
            let product = i128::from(*left) * i128::from(*right);
            return Decimal::from_i128(product, u32::from(*left_scale) + u32::from(*right_scale));
        }
        let ((left, left_exponent), (right, right_exponent)) = (self.to_big(), other.to_big());
        Decimal::from_big(left * right, left_exponent + right_exponent)
    }

    /// The exact quotient; [`NumberError::Inexact`] if it has no finite decimal form.
    pub fn checked_div(&self, other: &Decimal) -> Result<Decimal, NumberError> {
        let ((numerator, left_exponent), (denominator, right_exponent)) = (self.to_big(), other.to_big());
        if denominator.sign() == Sign::NoSign {
            return Err(NumberError::DivisionByZero);
        }
        // A quotient of n by d that ends does so within log2(d) places.
        let places = u32::try_from(denominator.bits()).map_err(|_| NumberError::TooWide)?;
        let scaled = numerator * BigInt::from(10).pow(places);
        if (&scaled % &denominator).sign() != Sign::NoSign {
            return Err(NumberError::Inexact);
        }
        Decimal::from_big(scaled / denominator, left_exponent - right_exponent - places as i32)
    }

    /// The quotient rounded half to even at `places` digits after the point.
    pub fn divide_rounded(&self, other: &Decimal, places: u8) -> Result<Decimal, NumberError> {
        let ((numerator, left_exponent), (denominator, right_exponent)) = (self.to_big(), other.to_big());
        if denominator.sign() == Sign::NoSign {
            return Err(NumberError::DivisionByZero);
        }
        let shift = left_exponent - right_exponent + i32::from(places);
        let power = BigInt::from(10).pow(shift.unsigned_abs());
        let (numerator, denominator) =
            if shift >= 0 { (numerator * power, denominator) } else { (numerator, denominator * power) };
        Decimal::from_big(rounded_half_even(&numerator, &denominator), -i32::from(places))
    }

    pub fn negated(&self) -> Decimal {
        if let Repr::Small { coefficient, scale } = self.0
            && let Some(coefficient) = coefficient.checked_neg()
        {
            return Decimal(Repr::Small { coefficient, scale });
        }
        let (coefficient, exponent) = self.to_big();
        Decimal::from_big(-coefficient, exponent).expect("a number is as wide as its negative")
    }

    pub fn absolute(&self) -> Decimal {
        if self.is_negative() { self.negated() } else { self.clone() }
    }

    /// Both coefficients at the larger scale, if both are small and the scales are near.
    pub(super) fn aligned_small(&self, other: &Decimal) -> (Option<(i128, i128)>, u32) {
        let (
            Repr::Small { coefficient: left, scale: left_scale },
            Repr::Small { coefficient: right, scale: right_scale },
        ) = (&self.0, &other.0)
        else {
            return (None, 0);
        };
        let (left, right) = (i128::from(*left), i128::from(*right));
        let (left_scale, right_scale) = (u32::from(*left_scale), u32::from(*right_scale));
        if left_scale == right_scale {
            return (Some((left, right)), left_scale);
        }
        // 10^18 times an i64 is below 2^123: neither it nor the sum of two can overflow.
        if left_scale.abs_diff(right_scale) > 18 {
            return (None, 0);
        }
        let scale = left_scale.max(right_scale);
        let at = |coefficient: i128, own: u32| coefficient * 10_i128.pow(scale - own);
        (Some((at(left, left_scale), at(right, right_scale))), scale)
    }
}

/// Both coefficients at the smaller exponent.
pub(super) fn align(left: (BigInt, i32), right: (BigInt, i32)) -> (BigInt, BigInt, i32) {
    let exponent = left.1.min(right.1);
    let at = |(coefficient, own): (BigInt, i32)| {
        coefficient * BigInt::from(10).pow((own - exponent).unsigned_abs())
    };
    (at(left), at(right), exponent)
}

fn rounded_half_even(numerator: &BigInt, denominator: &BigInt) -> BigInt {
    let quotient = numerator / denominator;
    let remainder = numerator % denominator;
    let half = (remainder.magnitude() * 2_u32).cmp(denominator.magnitude());
    let is_odd = (&quotient % BigInt::from(2)).sign() != Sign::NoSign;
    if half.is_lt() || (half.is_eq() && !is_odd) {
        return quotient;
    }
    let away = if numerator.sign() == denominator.sign() { 1 } else { -1 };
    quotient + BigInt::from(away)
}
