//! CRC-32C by algebra: what a change at the front of a long message does to its CRC, without reading the
//! rest.
//!
//! A CRC is linear: the CRCs of two messages of one length differ by the CRC of their difference. A difference
//! in front of `n` bytes counts as multiplied by x^(8n), modulo the polynomial P. Powers of x are multiplied
//! up from x^(2^k), which for CRC-32C repeat after 31 steps: P is (x + 1) times a primitive polynomial of
//! degree 31, so x^(2^31) = x mod P. The method is that of zlib's `crc32_combine`.

/// P, bits reversed, without its highest term (RFC 3720, B.4).
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// The polynomial 1, bits reversed.
const ONE: u32 = 1 << 31;
/// x^(2^k) mod P for k = 0 to 30.
const SQUARES: [u32; 31] = squares();
/// x^(8 * d * 16^k) mod P for each hexadecimal digit d of a length.
const DIGITS: [[u32; 16]; 8] = digits();

/// `crc`, moved in front of `length` more bytes: the part that it then has in the CRC of the whole.
pub(super) fn shift(crc: u32, length: usize) -> u32 {
    multiply(power(length), crc)
}

/// x^(8 * length) mod P.
fn power(length: usize) -> u32 {
    let mut product = ONE;
    let mut rest = length;
    for digits in &DIGITS {
        if rest == 0 {
            return product;
        }
        let digit = rest & 15;
        if digit != 0 {
            product = multiply(product, digits[digit]);
        }
        rest >>= 4;
    }
    // Longer than 4 GiB: nothing in Kafka is, but the result is right.
    let mut exponent = 3 + 4 * DIGITS.len();
    while rest != 0 {
        if rest & 1 != 0 {
            product = multiply(product, SQUARES[exponent % SQUARES.len()]);
        }
        rest >>= 1;
        exponent += 1;
    }
    product
}

/// a * b mod P, bits reversed.
const fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut bit = 0;
    while bit < 32 {
        // Without a branch on data: `mask` is all ones where this term of `a` is set.
        let mask = 0u32.wrapping_sub((a >> (31 - bit)) & 1);
        product ^= b & mask;
        let carry = 0u32.wrapping_sub(b & 1);
        b = (b >> 1) ^ (POLYNOMIAL & carry);
        bit += 1;
    }
    product
}

const fn squares() -> [u32; 31] {
    let mut squares = [ONE >> 1; 31];
    let mut k = 1;
    while k < 31 {
        squares[k] = multiply(squares[k - 1], squares[k - 1]);
        k += 1;
    }
    squares
}

const fn digits() -> [[u32; 16]; 8] {
    let squares = squares();
    let mut digits = [[ONE; 16]; 8];
    let mut k = 0;
    while k < 8 {
        // One byte is 2^3 bits; a hexadecimal digit is 4 powers of two.
        let unit = squares[(3 + 4 * k) % 31];
        let mut d = 1;
        while d < 16 {
            digits[k][d] = multiply(digits[k][d - 1], unit);
            d += 1;
        }
        k += 1;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn powers_of_x_repeat_after_31_squarings() {
        assert_eq!(multiply(SQUARES[30], SQUARES[30]), SQUARES[0]);
    }

    proptest! {
        /// Against the CRC of the whole, computed by the library.
        #[test]
        fn a_change_in_front_is_followed(
            old in proptest::array::uniform32(any::<u8>()),
            new in proptest::array::uniform32(any::<u8>()),
            rest in proptest::collection::vec(any::<u8>(), 0..70_000),
        ) {
            let whole = |front: &[u8]| crc32c::crc32c_append(crc32c::crc32c(front), &rest);
            let difference = crc32c::crc32c(&old) ^ crc32c::crc32c(&new);
            prop_assert_eq!(whole(&new), whole(&old) ^ shift(difference, rest.len()));
        }

        /// Against the library's own combination, also where no message of that length could be made.
        #[test]
        fn any_length_is_right(front: u32, back: u32, length in 0usize..(1 << 40)) {
            prop_assert_eq!(
                crc32c::crc32c_combine(front, back, length),
                shift(front, length) ^ back
            );
        }
    }
}
