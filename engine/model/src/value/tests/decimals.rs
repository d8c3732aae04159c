use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use num_bigint::BigInt;
use proptest::prelude::*;

use super::{number, number_texts};
use crate::value::{Decimal, NumberError};

/// The naive model: every number of the tests as a whole count of 10^-300.
fn units(text: &str) -> BigInt {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let shift = 300 + exponent.parse::<i64>().unwrap() - fraction.len() as i64;
    format!("{integer}{fraction}{}", "0".repeat(shift as usize)).parse().unwrap()
}

fn hash_of(value: &Decimal) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn arithmetic_and_order_agree_with_whole_counts_of_tiny_units(left in number_texts(), right in number_texts()) {
        let (a, b) = (number(&left), number(&right));
        let (x, y) = (units(&left), units(&right));
        prop_assert_eq!(units(&a.to_string()), x.clone());
        prop_assert_eq!(units(&a.checked_add(&b).unwrap().to_string()), &x + &y);
        prop_assert_eq!(units(&a.checked_sub(&b).unwrap().to_string()), &x - &y);
        prop_assert_eq!(units(&a.negated().to_string()), -&x);
        let product = a.checked_mul(&b).unwrap();
        prop_assert_eq!(product.checked_mul(&Decimal::ONE).unwrap(), product.clone());
        prop_assert_eq!(units(&product.to_string()) * BigInt::from(10).pow(300), &x * &y);
        prop_assert_eq!(a.cmp(&b), x.cmp(&y));
        prop_assert_eq!(a == b, x == y);
        if a == b {
            prop_assert_eq!(hash_of(&a), hash_of(&b));
        }
    }

    #[test]
    fn a_number_and_its_text_are_one_to_one(text in number_texts()) {
        let value = number(&text);
        let canonical = value.to_string();
        prop_assert_eq!(number(&canonical), value.clone());
        prop_assert_eq!(number(&canonical).to_string(), canonical);
    }

    #[test]
    fn an_exact_quotient_times_the_divisor_is_the_dividend(left in number_texts(), right in number_texts()) {
        let (a, b) = (number(&left), number(&right));
        match a.checked_div(&b) {
            Ok(quotient) => prop_assert_eq!(quotient.checked_mul(&b).unwrap(), a.clone()),
            Err(NumberError::DivisionByZero) => prop_assert!(b.is_zero()),
            Err(error) => prop_assert_eq!(error, NumberError::Inexact),
        }
        if let (Ok(product), false) = (a.checked_mul(&b), b.is_zero()) {
            prop_assert_eq!(product.checked_div(&b).unwrap(), a);
        }
    }

    #[test]
    fn a_rounded_quotient_is_within_half_a_unit(left in number_texts(), right in number_texts(), places in 0_u8..20) {
        let (a, b) = (number(&left), number(&right));
        prop_assume!(!b.is_zero());
        let quotient = a.divide_rounded(&b, places).unwrap();
        let twice_error = quotient.checked_mul(&b).unwrap().checked_sub(&a).unwrap().absolute().checked_mul(&number("2"));
        let unit = number(&format!("1e-{places}")).checked_mul(&b.absolute()).unwrap();
        prop_assert!(twice_error.unwrap() <= unit);
    }

    #[test]
    fn integers_come_back(wide in any::<i128>(), unsigned in any::<u64>(), signed in any::<i64>()) {
        prop_assert_eq!(Decimal::from(wide).to_i128(), Some(wide));
        prop_assert_eq!(Decimal::from(wide).to_string(), wide.to_string().parse::<Decimal>().unwrap().to_string());
        prop_assert_eq!(Decimal::from(unsigned).to_u64(), Some(unsigned));
        prop_assert_eq!(Decimal::from(signed).to_i64(), Some(signed));
    }
}

#[test]
fn every_number_has_one_text() {
    for (text, canonical) in [
        ("0", "0"),
        ("-0", "0"),
        ("-0.000e7", "0"),
        ("1.0", "1"),
        ("4.50", "4.5"),
        ("100", "100"),
        ("1e2", "100"),
        ("1e37", "10000000000000000000000000000000000000"),
        ("1e38", "1e38"),
        ("-12345678901234567890123456789012345678", "-12345678901234567890123456789012345678"),
        ("0.0000001", "0.0000001"),
        ("0.00000012", "0.00000012"),
        ("0.000000012", "1.2e-8"),
        ("12.5E-3", "0.0125"),
        ("9223372036854775808", "9223372036854775808"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("0.1234567890123456789012345678", "0.1234567890123456789012345678"),
    ] {
        assert_eq!(number(text).to_string(), canonical, "{text}");
    }
}

#[test]
fn only_json_numbers_are_numbers() {
    for text in
        ["", "-", "+1", "01", "-01", ".5", "1.", "1e", "1e+", "0x1", "NaN", " 1", "1 ", "1_000", "1.2.3"]
    {
        assert_eq!(text.parse::<Decimal>(), Err(NumberError::NotANumber(text.to_owned())), "{text:?}");
    }
}

#[test]
fn documents_take_38_digits_and_the_exponents_of_dynamodb() {
    for fits in ["0", "1e-130", "9.9e125", "-12345678901234567890123456789012345678", "1e125", "-1.5e-130"] {
        assert_eq!(number(fits).fits_document(), Ok(()), "{fits}");
    }
    for outside in ["123456789012345678901234567890123456789", "1e126", "9.9e-131", "1e-131", "0.1e-130"] {
        let error = number(outside).fits_document().unwrap_err();
        assert!(matches!(error, NumberError::OutsideDocument(_)), "{outside}");
    }
}

#[test]
fn hostile_exponents_and_lengths_are_refused_without_work() {
    let long = format!("1{}1", "0".repeat(500));
    for text in ["1e1001", "1e-1001", "1e99999999999999999999", "1e-99999999999999999999", &long] {
        assert_eq!(text.parse::<Decimal>(), Err(NumberError::TooWide), "{text}");
    }
    let zeros = format!("1{}", "0".repeat(900));
    assert_eq!(number(&zeros), number("1e900"));
    assert_eq!(number("1e1000").checked_add(&number("1e-1000")), Err(NumberError::TooWide));
    assert_eq!(number("0e99999999999"), Decimal::ZERO);
    assert!(number("1e1000") > number("1e-1000"));
}

#[test]
fn rounding_is_half_to_even() {
    for (left, right, places, expected) in [
        ("1", "8", 2, "0.12"),
        ("3", "8", 2, "0.38"),
        ("-1", "8", 2, "-0.12"),
        ("2", "3", 3, "0.667"),
        ("10", "4", 0, "2"),
    ] {
        assert_eq!(number(left).divide_rounded(&number(right), places).unwrap(), number(expected));
    }
    assert_eq!(number("1").divide_rounded(&Decimal::ZERO, 2), Err(NumberError::DivisionByZero));
}
