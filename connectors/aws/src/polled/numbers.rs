//! Arithmetic of sequence numbers, which are decimal digits of any length without padding.

use foldstream_model::{Position, Result};

/// In front of a record, whatever came before it: between two numbers that follow each other nothing can lie.
pub(crate) fn before(record: &Position) -> Result<Position> {
    predecessor(&record.number()).parse()
}

/// Nothing can lie between a position and the record at the other.
pub(crate) fn is_directly_before(position: &Position, record: &Position) -> bool {
    successor(&position.number()) == record.number()
}

pub(crate) fn successor(number: &str) -> String {
    let mut digits = number.as_bytes().to_vec();
    for digit in digits.iter_mut().rev() {
        match digit {
            b'9' => *digit = b'0',
            _ => {
                *digit += 1;
                return text(&digits);
            }
        }
    }
    format!("1{}", text(&digits))
}

/// Zero has none, and stays.
fn predecessor(number: &str) -> String {
    if number.bytes().all(|digit| digit == b'0') {
        return "0".to_owned();
    }
    let mut digits = number.as_bytes().to_vec();
    for digit in digits.iter_mut().rev() {
        match digit {
            b'0' => *digit = b'9',
            _ => {
                *digit -= 1;
                break;
            }
        }
    }
    let text = text(&digits);
    match text.trim_start_matches('0') {
        "" => "0".to_owned(),
        digits => digits.to_owned(),
    }
}

fn text(digits: &[u8]) -> String {
    digits.iter().copied().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn digits_are_carried() {
        let large = "49590338271490256608559692538361571095921575989136588898";
        assert_eq!(successor(large), "49590338271490256608559692538361571095921575989136588899");
        assert_eq!((successor("0"), successor("999")), ("1".to_owned(), "1000".to_owned()));
        assert_eq!((predecessor("1"), predecessor("1000")), ("0".to_owned(), "999".to_owned()));
        assert_eq!(predecessor("0"), "0");
    }

    proptest! {
        #[test]
        fn a_number_is_directly_behind_the_one_before_it(number in "[1-9][0-9]{0,60}") {
            let record: Position = number.parse().unwrap();
            let before = before(&record).unwrap();
            prop_assert!(before < record && is_directly_before(&before, &record));
            prop_assert!(!is_directly_before(&record, &record));
        }
    }
}
